"""How many CPUs may be used, from the files of a container, and what runs on them."""

import os
from pathlib import Path

import ctranslate2
import pytest

from serve_app.cpus import available_cpus
from serve_app.engine.hardware import (
    available_memory,
    bind_to_numa_node,
    numa_nodes,
    pick_compute_type,
    pick_device,
)
from serve_app.errors import NotReady

CPUS = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

LINUX_ONLY = pytest.mark.skipif(
    not hasattr(os, "sched_setaffinity"), reason="this system has no affinity"
)


def cgroup_v1(root: Path, quota: str, period: str) -> Path:
    (root / "cpu").mkdir()
    (root / "cpu" / "cpu.cfs_quota_us").write_text(quota)
    (root / "cpu" / "cpu.cfs_period_us").write_text(period)
    return root


@pytest.mark.parametrize(
    ("cpu_max", "expected"),
    [
        ("max 100000\n", CPUS),
        ("100000 100000\n", 1),
        ("50000 100000\n", 1),  # half a CPU is still one worker
        ("199999 100000\n", 1),
        ("200000 100000\n", min(2, CPUS)),
        ("6400000 100000\n", min(64, CPUS)),
        ("100000 50000\n", min(2, CPUS)),
    ],
)
def test_a_v2_quota_cuts_the_affinity(tmp_path: Path, cpu_max: str, expected: int) -> None:
    (tmp_path / "cpu.max").write_text(cpu_max)
    assert available_cpus(tmp_path) == expected


@pytest.mark.parametrize(
    ("quota", "expected"), [("-1\n", CPUS), ("100000\n", 1), ("200000\n", min(2, CPUS))]
)
def test_a_v1_quota_cuts_the_affinity(tmp_path: Path, quota: str, expected: int) -> None:
    assert available_cpus(cgroup_v1(tmp_path, quota, "100000\n")) == expected


def test_v2_wins_where_both_are_mounted(tmp_path: Path) -> None:
    (tmp_path / "cpu.max").write_text("100000 100000\n")
    assert available_cpus(cgroup_v1(tmp_path, "-1\n", "100000\n")) == 1


@pytest.mark.parametrize("text", ["", "rubbish\n", "100000\n", "many 100000\n"])
def test_a_file_that_says_nothing_limits_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "cpu.max").write_text(text)
    assert available_cpus(tmp_path) == CPUS


def test_a_period_of_zero_limits_nothing(tmp_path: Path) -> None:
    assert available_cpus(cgroup_v1(tmp_path, "100000\n", "0\n")) == CPUS


def test_without_a_cgroup_the_affinity_counts(tmp_path: Path) -> None:
    assert available_cpus(tmp_path / "absent") == CPUS


@LINUX_ONLY
def test_a_process_bound_to_one_cpu_has_one(tmp_path: Path) -> None:
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        assert available_cpus(tmp_path) == 1
    finally:
        os.sched_setaffinity(0, before)


def test_the_devices_own_types_are_picked() -> None:
    has_gpu = ctranslate2.get_cuda_device_count() > 0
    device = pick_device("auto")
    assert device == ("cuda" if has_gpu else "cpu")
    assert pick_compute_type("auto", device) in ctranslate2.get_supported_compute_types(device)


@pytest.mark.parametrize(("n_gpus", "picked"), [(0, "cpu"), (1, "cuda")])
def test_a_gpu_is_used_where_there_is_one(
    monkeypatch: pytest.MonkeyPatch, n_gpus: int, picked: str
) -> None:
    monkeypatch.setattr(ctranslate2, "get_cuda_device_count", lambda: n_gpus)
    assert (pick_device("auto"), pick_device("cpu")) == (picked, "cpu")


def test_a_gpu_that_is_asked_for_and_not_there_is_no_reason_to_take_the_cpu(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ctranslate2, "get_cuda_device_count", lambda: 0)
    with pytest.raises(NotReady, match=r"engine\.device is cuda.*nvidia-smi.*--gpus all"):
        pick_device("cuda")


def test_a_compute_type_that_was_asked_for_is_taken() -> None:
    assert pick_compute_type("float32", "cpu") == "float32"


def test_int8_is_the_cpus_default() -> None:
    assert pick_compute_type("auto", "cpu") == "int8"


def sysfs(root: Path, *cpu_lists: str) -> Path:
    for number, cpus in enumerate(cpu_lists):
        (root / f"node{number}").mkdir()
        (root / f"node{number}" / "cpulist").write_text(f"{cpus}\n")
    return root


@LINUX_ONLY
@pytest.mark.parametrize("others", ["", "2000-2003,2010", "2000"])
def test_only_nodes_with_usable_cpus_count(tmp_path: Path, others: str) -> None:
    mine = os.sched_getaffinity(0)
    root = sysfs(tmp_path, others, ",".join(map(str, mine)))
    assert numa_nodes(root) == [mine]


@LINUX_ONLY
@pytest.mark.skipif(CPUS < 2, reason="one CPU is one node")
def test_cpus_are_told_apart_by_node(tmp_path: Path) -> None:
    first, *others = sorted(os.sched_getaffinity(0))
    root = sysfs(tmp_path, str(first), f"{others[0]}-{others[-1]}")
    assert numa_nodes(root) == [{first}, set(others)]


@LINUX_ONLY
def test_without_numa_every_cpu_is_of_one_node(tmp_path: Path) -> None:
    assert numa_nodes(tmp_path) == [os.sched_getaffinity(0)]


@LINUX_ONLY
def test_a_replica_is_bound_to_its_node_only_where_there_are_several() -> None:
    before, nodes = os.sched_getaffinity(0), numa_nodes()
    try:
        bind_to_numa_node(len(nodes) + 1)
        expected = nodes[1] if len(nodes) > 1 else before
        assert os.sched_getaffinity(0) == expected
    finally:
        os.sched_setaffinity(0, before)


@pytest.mark.parametrize(
    ("file", "text", "expected"),
    [
        ("memory.max", "max\n", None),
        ("memory.max", "1073741824\n", 2**30),
        ("memory/memory.limit_in_bytes", "1073741824\n", 2**30),
        ("memory/memory.limit_in_bytes", "9223372036854771712\n", None),
    ],
)
def test_a_containers_limit_cuts_the_memory(
    tmp_path: Path, file: str, text: str, expected: int | None
) -> None:
    machine = available_memory(tmp_path)
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_text(text)
    assert available_memory(tmp_path) == (expected or machine)
