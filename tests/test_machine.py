"""How many cores a process may use: those that it sees, unless its cgroups limit their time."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from authorid import machine
from authorid.machine import available_cores, visible_cores

ROOT = Path(__file__).resolve().parents[1]

V2 = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate"
V1 = "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct"
UNRELATED = "27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard"


@pytest.fixture
def on_a_machine(tmp_path, monkeypatch):
    """Makes a file tree with /proc and /sys for this process and returns the cores of 64 that it may use."""
    monkeypatch.setattr(machine, "visible_cores", lambda: 64)
    monkeypatch.setattr(machine, "_ROOT", tmp_path)

    def cores(groups: str, mounts: str, files: dict[str, str]) -> int:
        contents = {"proc/self/cgroup": groups + "\n", "proc/self/mountinfo": f"{UNRELATED}\n{mounts}\n"}
        for name, text in (contents | {f"sys/fs/cgroup/{name}": text for name, text in files.items()}).items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)
        return available_cores()

    return cores


@pytest.mark.parametrize(
    ("limit", "cores"),
    [
        ("50000 100000", 1),
        ("100000 100000", 1),
        ("199999 100000", 1),
        ("250000 100000", 2),
        ("1000 500", 2),
        ("99999999 100000", 64),
        ("max 100000", 64),
    ],
)
def test_a_limit_is_rounded_down_to_whole_cores_and_at_least_one(on_a_machine, limit, cores):
    assert on_a_machine("0::/job", V2, {"job/cpu.max": limit + "\n"}) == cores


@pytest.mark.parametrize("limit", ["", "max", "\n", "100000", "100000 0", "-1 100000", "1e5 2", "1 2 3", "9" * 5000])
def test_what_is_no_limit_is_ignored(on_a_machine, limit):
    assert on_a_machine("0::/job", V2, {"job/cpu.max": limit}) == 64


def test_the_lowest_limit_of_a_group_and_its_parents_counts(on_a_machine):
    files = {"cpu.max": "1600000 100000", "a/cpu.max": "300000 100000", "a/b c/cpu.max": "800000 100000"}
    assert on_a_machine("0::/a/b c", V2, files) == 3
    assert on_a_machine("0::/a/b c (deleted)", V2, files) == 3
    assert on_a_machine("0::/", V2, files) == 16


def test_in_a_container_the_groups_above_its_own_are_out_of_sight(on_a_machine):
    own = V2.replace(" / /sys", " /docker/my\\040job /sys")
    files = {"cpu.max": "200000 100000", "inner/cpu.max": "900000 100000"}
    assert on_a_machine("0::/docker/my job", own, files) == 2
    assert on_a_machine("0::/docker/my job/inner", own, files) == 2
    assert on_a_machine("0::/docker/another", own, files) == 64


def quota(limit: str, period: str = "100000") -> dict[str, str]:
    return {"cpu.cfs_quota_us": limit + "\n", "cpu.cfs_period_us": period + "\n"}


@pytest.mark.parametrize(
    ("limits", "cores"), [(quota("50000"), 1), (quota("300000"), 3), (quota("-1"), 64), (quota("200000", "0"), 64)]
)
def test_limits_of_the_first_version_of_cgroups(on_a_machine, limits, cores):
    groups = "9:name=systemd:/elsewhere\n4:cpuset:/elsewhere\n1:cpu,cpuacct:/job\n0::/"
    files = {f"cpu,cpuacct/job/{name}": text for name, text in limits.items()}
    assert on_a_machine(groups, V1, files) == cores


def test_with_both_versions_the_lower_limit_counts(on_a_machine):
    unified = V2.replace("/sys/fs/cgroup", "/sys/fs/cgroup/unified")
    files = {f"cpu,cpuacct/job/{name}": text for name, text in quota("500000").items()}
    assert on_a_machine("1:cpu,cpuacct:/job\n0::/", f"{unified}\n{V1}", files) == 5
    files["unified/cpu.max"] = "400000 100000"
    assert on_a_machine("1:cpu,cpuacct:/job\n0::/", f"{unified}\n{V1}", files) == 4


@pytest.mark.parametrize("groups", ["", "nonsense", "0::", "0::relative", "::::", "0::/..", "0::/\0"])
@pytest.mark.parametrize("mounts", ["", " - ", "a b - cgroup2", V2.replace("/sys/fs/cgroup", "\\000"), V2[:30]])
def test_whatever_the_files_hold_there_is_a_number(on_a_machine, groups, mounts):
    assert on_a_machine(groups, mounts, {}) == 64


def test_without_these_files_all_cores_that_the_process_sees_are_available(tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "_ROOT", tmp_path / "nothing")
    assert available_cores() == visible_cores() == len(os.sched_getaffinity(0))


def test_a_process_on_one_core_has_one(tmp_path):
    one = {min(os.sched_getaffinity(0))}
    assert cores_of_a_child(lambda: os.sched_setaffinity(0, one)) == 1


def cores_of_a_child(before) -> int:
    """What a Python process gets that calls `before` first."""
    code = "from authorid.machine import available_cores; print(available_cores())"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, preexec_fn=before, capture_output=True, text=True, check=True
    )
    return int(done.stdout)


@pytest.fixture
def half_a_core() -> Iterator[Path]:
    """A real cgroup that may use half a core; skips the test where none can be made."""
    problem = "no hierarchy of cgroups for CPU time is mounted"
    for kind, _, mount_point in machine._cgroup_mounts(Path("/")):
        group = Path(mount_point) / f"authorid-test-{os.getpid()}"
        try:
            group.mkdir()
        except OSError as error:
            problem = str(error)
            continue
        try:
            if kind == "v2":
                (group / "cpu.max").write_text("50000 100000")
            else:
                (group / "cpu.cfs_period_us").write_text("100000")
                (group / "cpu.cfs_quota_us").write_text("50000")
        except OSError as error:
            problem = str(error)
            group.rmdir()
            continue
        try:
            yield group
        finally:
            group.rmdir()
        return
    pytest.skip(f"no cgroup can be made here: {problem}")


def test_in_a_real_cgroup_with_half_a_core_there_is_one(half_a_core):
    assert cores_of_a_child(lambda: (half_a_core / "cgroup.procs").write_text(str(os.getpid()))) == 1
