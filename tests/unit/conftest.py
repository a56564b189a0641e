"""What all unit tests share."""

from __future__ import annotations

import pytest
from threadpoolctl import threadpool_limits


@pytest.fixture(scope="session", autouse=True)
def _one_thread_of_arithmetic():
    """Keep BLAS and OpenMP to one thread: on tables this small more only wait for each other.

    With the cores busy elsewhere, a fit of milliseconds took seconds.
    """
    with threadpool_limits(1):
        yield
