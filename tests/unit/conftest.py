"""What all unit tests share."""

from __future__ import annotations

import os

import pytest
from threadpoolctl import threadpool_limits

# Workers side by side share a GPU, where there is one, only if none takes all of it.
os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")


def pytest_itemcollected(item: pytest.Item) -> None:
    """Call every unit test fast that is not called slow: `make test` spreads these over cores."""
    if not item.get_closest_marker("slow"):
        item.add_marker("fast")


#: Modules that take minutes: workers begin with them, so that none is left alone at the end.
_LONGEST = ("test_matrix", "test_grading", "test_packaging", "test_own_reader", "test_backends")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests of the longest modules first; the others stay in their order."""
    items.sort(key=lambda item: item.path.stem not in _LONGEST)


@pytest.fixture(scope="session", autouse=True)
def _one_thread_of_arithmetic():
    """Keep BLAS and OpenMP to one thread: on tables this small more only wait for each other.

    With the cores busy elsewhere, a fit of milliseconds took seconds.
    """
    with threadpool_limits(1):
        yield
