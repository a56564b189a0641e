"""A process for programs of others: what it may take, see and reach, and how it ends."""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import os
import resource
import signal
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import psutil

_FORK = multiprocessing.get_context("fork")


def start(target: Callable, end: Connection, *given: Any) -> multiprocessing.Process:
    """Fork a process that has this end of a pipe, and that ends with this process."""

    def run() -> None:
        ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)  # PR_SET_PDEATHSIG
        target(end, *given)

    process = _FORK.Process(target=run)
    process.start()
    end.close()
    return process


def end(process: multiprocessing.Process) -> None:
    """End a process and all that it started."""
    with contextlib.suppress(psutil.NoSuchProcess):
        for one in (*psutil.Process(process.pid).children(recursive=True), process):
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()
    process.join()


def patience() -> float:
    """Return how much longer all takes than on a quiet machine, which costs no student points."""
    return min(max(os.getloadavg()[0] / (os.cpu_count() or 1), 1), 10)


def restrict(memory: float) -> None:
    """Limit what this process may take: memory beyond what it has, in GiB, and files."""
    used = psutil.Process().memory_info().vms
    for kind, limit in (
        (resource.RLIMIT_AS, used + int(memory * 2**30)),
        (resource.RLIMIT_FSIZE, 2**28),
        (resource.RLIMIT_NOFILE, 512),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(kind, (limit, limit))


class _MountAttributes(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint64) for name in ("set", "clear", "spread", "users")]


def shut_in(folder: str, hidden: list[str]) -> str:
    """Take network, files and other processes away; return what the system does not allow."""
    libc = ctypes.CDLL(None, use_errno=True)
    mounts, users, processes, network = 0x00020000, 0x10000000, 0x20000000, 0x40000000
    user, group = os.getuid(), os.getgid()
    if libc.unshare(users | processes | network | mounts) != 0:
        return "the network, files outside its folder, the chapters with their solutions"
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"{user} {user} 1"),
        ("gid_map", f"{group} {group} 1"),
    ):
        with contextlib.suppress(OSError):
            Path("/proc/self", name).write_text(text)
    resource.setrlimit(resource.RLIMIT_NPROC, (256, 256))  # counted in here, not for the user
    read_only = _MountAttributes(set=1)
    size = ctypes.sizeof(read_only)
    done = libc.mount(b"none", b"/", None, 0x44000, None) == 0  # MS_PRIVATE, MS_REC
    # mount_setattr, which has no function in libc, with AT_FDCWD and AT_RECURSIVE
    done &= libc.syscall(442, -100, b"/", 0x8000, ctypes.byref(read_only), size) == 0
    for place in (*hidden, "/dev/shm", folder):
        if os.path.isfile(place):
            done &= libc.mount(b"/dev/null", os.fsencode(place), None, 0x1000, None) == 0  # MS_BIND
        else:
            done &= libc.mount(b"tmpfs", os.fsencode(place), b"tmpfs", 0, b"size=256m") == 0
    libc.unshare(users | mounts)  # again: what was mounted before cannot be undone in there
    if child := os.fork():
        # The first process with numbers of its own: all others in there end with it.
        os.waitpid(child, 0)
        os._exit(0)
    libc.prctl(1, signal.SIGKILL, 0, 0, 0)
    return "" if done else "some files outside its folder"
