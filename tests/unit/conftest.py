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


@pytest.fixture(scope="session", autouse=True)
def _one_thread_of_arithmetic():
    """Keep BLAS and OpenMP to one thread: on tables this small more only wait for each other.

    With the cores busy elsewhere, a fit of milliseconds took seconds.
    """
    with threadpool_limits(1):
        yield
