"""Facts about the machine: cores, processor, memory in use."""

from __future__ import annotations

import functools
import os
import platform
import re
import sys
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

__all__ = ["available_cores", "cpu_flags", "cpu_name", "peak_rss_mb", "visible_cores"]

_ROOT = Path("/")
"""Where ``proc`` and ``sys`` are."""


def available_cores() -> int:
    """Number of cores whose time this process may use: `visible_cores`, or fewer where a cgroup limits it.

    A container's limit is a share of the time of all cores; half a core counts as one, and 2.5 cores as two. Read anew
    on every call, because limits can be changed while a process runs.
    """
    return max(1, min(visible_cores(), _cpu_quota(_ROOT)))


def visible_cores() -> int:
    """Number of cores that this process may run on. Libraries that know of no limits start as many threads."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _cpu_quota(root: Path) -> int:
    """The lowest limit of this process's cgroups and their parents, in whole cores: at least 0, or `sys.maxsize`.

    It is found as in Rust's ``std::thread::available_parallelism``: the groups in /proc/self/cgroup, and
    the place of each in /proc/self/mountinfo. A file that is missing sets no limit.
    """
    quota = sys.maxsize
    groups = _own_groups(root)
    for kind, mount_root, mount_point in _cgroup_mounts(root):
        group = groups.get(kind)
        if group is None or not PurePosixPath(group).is_relative_to(mount_root):
            continue  # the mount shows groups that are not ours
        top = root / mount_point.lstrip("/")
        directory = top / PurePosixPath(group).relative_to(mount_root)
        for place in (directory, *directory.parents):
            quota = min(quota, _limit(place, kind))
            if place == top:
                break
    return quota


def _own_groups(root: Path) -> dict[str, str]:
    """The path of this process's group in the hierarchy of version 2 (``v2``), and in that for CPU time (``v1``)."""
    groups = {}
    for line in _lines(root / "proc/self/cgroup"):
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        if path and (not controllers or "cpu" in controllers.split(",")):
            groups["v1" if controllers else "v2"] = path
    return groups


def _cgroup_mounts(root: Path) -> Iterator[tuple[str, str, str]]:
    """For each mount with limits: the hierarchy, the group that is its root, and the directory where it is."""
    for line in _lines(root / "proc/self/mountinfo"):
        place, _, source = line.partition(" - ")
        fields, (file_system, _, options) = place.split(" "), [*source.split(" ", 2), "", "", ""][:3]
        if len(fields) > 4 and (file_system == "cgroup2" or (file_system == "cgroup" and "cpu" in options.split(","))):
            kind = "v2" if file_system == "cgroup2" else "v1"
            yield kind, _unescaped(fields[3]), _unescaped(fields[4])


def _limit(group: Path, kind: str) -> int:
    """The limit of one group, in whole cores; `sys.maxsize` when it has none."""
    names = ("cpu.max",) if kind == "v2" else ("cpu.cfs_quota_us", "cpu.cfs_period_us")
    words = [word for name in names for line in _lines(group / name) for word in line.split()]
    try:
        quota, period = (int(word) for word in words)
    except ValueError:  # no such file, or "max"
        return sys.maxsize
    return quota // period if quota >= 0 < period else sys.maxsize


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text("utf-8", "surrogateescape").split("\n")
    except (OSError, ValueError):  # the second for a path that cannot be one
        return []


def _unescaped(field: str) -> str:
    """A path of /proc/self/mountinfo, where white space is written as octal numbers."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), field)


def cpu_name() -> str:
    """The processor's name as the operating system reports it."""
    return _cpuinfo("model name") or platform.processor() or platform.machine()


def cpu_flags() -> frozenset[str]:
    """Instruction sets by their Linux names (``avx512_vnni``, ``amx_int8``); empty where /proc/cpuinfo lists none."""
    return frozenset(_cpuinfo("flags").split())


@functools.cache
def _cpuinfo(name: str) -> str:
    """The first value of the field `name` in /proc/cpuinfo, or an empty string."""
    try:
        with Path("/proc/cpuinfo").open(encoding="utf-8") as lines:
            for line in lines:
                if line.partition(":")[0].strip() == name:
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return ""


def peak_rss_mb() -> float | None:
    """Peak resident memory of this process so far, in MiB; None where the system does not tell."""
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (1024 * 1024 if sys.platform == "darwin" else 1024), 1)
