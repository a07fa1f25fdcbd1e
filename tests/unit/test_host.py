"""What this machine has free, from files in the form of Linux's."""

from __future__ import annotations

from pathlib import Path

from edgedeploy.host import available_memory_bytes


def machine(root: Path, *, limit: str | None = None) -> Path:
    (root / "proc").mkdir()
    (root / "proc/meminfo").write_text("MemTotal:       8000 kB\nMemFree:         100 kB\nMemAvailable:   4000 kB\n")
    if limit is not None:
        (root / "sys/fs/cgroup").mkdir(parents=True)
        (root / "sys/fs/cgroup/memory.max").write_text(f"{limit}\n")
        (root / "sys/fs/cgroup/memory.current").write_text("1000000\n")
    return root


def test_the_kernel_s_estimate(tmp_path: Path) -> None:
    assert available_memory_bytes(machine(tmp_path)) == 4000 * 1024


def test_a_container_s_limit_where_it_is_less(tmp_path: Path) -> None:
    assert available_memory_bytes(machine(tmp_path, limit="3000000")) == 2_000_000


def test_a_container_without_a_limit(tmp_path: Path) -> None:
    assert available_memory_bytes(machine(tmp_path, limit="max")) == 4000 * 1024


def test_no_such_files(tmp_path: Path) -> None:
    assert available_memory_bytes(tmp_path) is None
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/meminfo").write_text("MemTotal: 1 kB\n")
    assert available_memory_bytes(tmp_path) is None
