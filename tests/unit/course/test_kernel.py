"""Folders and settings of kernels; nothing here starts one."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from helpers.course import kernel


@pytest.fixture
def temporary(monkeypatch):
    """A folder of temporary files whose path is short enough for sockets."""
    with tempfile.TemporaryDirectory(prefix="t-", dir="/tmp") as folder:
        monkeypatch.setattr(tempfile, "tempdir", folder)
        yield Path(folder)


def test_each_kernel_has_a_folder_of_its_own(temporary):
    one, other = kernel.CourseKernelManager(), kernel.CourseKernelManager()
    assert one.transport == other.transport == "ipc"
    assert one.folder != other.folder
    for manager in (one, other):
        assert manager.folder.parent == temporary
        assert Path(manager.ip).parent == manager.folder
        assert manager.folder.stat().st_mode & 0o777 == 0o700
        manager.cleanup_connection_file()
    assert list(temporary.iterdir()) == []


def test_the_path_of_a_socket_is_never_too_long(tmp_path, monkeypatch):
    long = tmp_path / ("x" * 100)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    manager = kernel.CourseKernelManager()
    assert len(os.fsencode(f"{manager.ip}-5")) <= 103  # macOS; Linux has 107
    manager.cleanup_connection_file()


def test_without_unix_sockets_there_are_ports(temporary, monkeypatch):
    monkeypatch.delattr(kernel.socket, "AF_UNIX")
    manager = kernel.CourseKernelManager()
    assert manager.transport == "tcp"
    assert manager.ip == "127.0.0.1"
    manager.cleanup_connection_file()
    assert list(temporary.iterdir()) == []


def test_folders_of_killed_runs_are_removed_and_no_others(temporary, monkeypatch):
    monkeypatch.setattr(kernel.psutil, "pid_exists", lambda process: process != 4711)
    names = ("course-kernel-4711-a", "course-kernel-4712-a", "course-kernel-b", "mine-4711-a")
    for name in names:
        (temporary / name).mkdir()
        (temporary / name / "k-1").touch()
    kernel.CourseKernelManager().cleanup_connection_file()
    assert sorted(path.name for path in temporary.iterdir()) == sorted(names[1:])


def test_chapters_share_a_gpu_unless_told_otherwise(tmp_path, monkeypatch):
    for name in kernel.SHARED_GPU:
        monkeypatch.delenv(name, raising=False)
    variables = kernel.environment(tmp_path, tmp_path)
    assert variables["TF_FORCE_GPU_ALLOW_GROWTH"] == "true"
    assert variables["XLA_PYTHON_CLIENT_PREALLOCATE"] == "false"
    monkeypatch.setenv("XLA_PYTHON_CLIENT_PREALLOCATE", "true")
    assert kernel.environment(tmp_path, tmp_path)["XLA_PYTHON_CLIENT_PREALLOCATE"] == "true"
