"""Facts about the machine: cores, processor, memory in use."""

from __future__ import annotations

import functools
import os
import platform
import resource
import sys
from pathlib import Path

__all__ = ["available_cores", "cpu_flags", "cpu_name", "peak_rss_mb"]


def available_cores() -> int:
    """Number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


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


def peak_rss_mb() -> float:
    """Peak resident memory of this process so far, in MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (1024 * 1024 if sys.platform == "darwin" else 1024), 1)
