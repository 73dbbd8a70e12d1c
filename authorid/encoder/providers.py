"""Inference backends: onnxruntime's own CPU kernels, ours beside them, or OpenVINO, a plug-in for onnxruntime.

Our kernels are operators that onnxruntime loads from a library (`authorid.encoder.fused`).

OpenVINO's plug-in is the package onnxruntime-ep-openvino (extra ``openvino``). It supports only Intel processors. On a
processor with AMX, OpenVINO uses bfloat16 between the INT8 matmuls of a graph; it always computes a float32 graph in
float32.
"""

from __future__ import annotations

import functools
import json
import threading
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from authorid.bundle.manifest import Precision, Provider
from authorid.encoder.fused import fused_kernels, fused_library
from authorid.errors import AuthoridError, EngineError, first_line, require
from authorid.machine import cpu_flags, cpu_name
from authorid.version import __version__

if TYPE_CHECKING:
    import onnxruntime

__all__ = [
    "PROVIDERS",
    "Arithmetic",
    "arithmetic",
    "available",
    "identity",
    "open_session",
    "openvino_devices",
    "require_provider",
]

Arithmetic = Literal["f32", "bf16"]

PROVIDERS: tuple[Provider, ...] = get_args(Provider)

_SLOW_FUSIONS = ["SkipLayerNormFusion", "BiasGeluFusion"]
"""Optimizers whose fused CPU kernels are slower than the separate kernels that they replace."""

_CACHED_SHAPES = "300"
"""Shapes for which OpenVINO keeps compiled kernels. Its default, 5000, takes gigabytes when window lengths vary."""

_PLUGIN = "onnxruntime_ep_openvino"

_AMX = frozenset(("amx_tile", "amx_int8", "amx_bf16"))

_registration_lock = threading.Lock()


def available(provider: Provider) -> bool:
    """Whether `provider` is installed and runs on this processor."""
    try:
        require_provider(provider)
    except AuthoridError:
        return False
    return True


def require_provider(provider: str) -> None:
    """Raise `MissingExtraError` or `EngineError` if `provider` cannot be used here; ``auto`` and ``cpu`` always can."""
    if provider == "openvino":
        openvino_devices()
    elif provider == "fused" and fused_kernels() is None:
        raise EngineError(
            "the fused kernels are not there: they need an x86-64 processor with AVX2, and a C compiler when authorid "
            "is installed. Use --provider cpu, or auto"
        )


def identity(provider: Provider) -> str:
    """What the results of `provider` depend on, besides the machine and the version of onnxruntime.

    Raises `MissingExtraError` when the provider is not installed.
    """
    if provider == "cpu":
        return "cpu"
    if provider == "fused":
        return f"fused {__version__} {fused_kernels()}"
    require(_PLUGIN, "openvino")
    return f"openvino {version('onnxruntime-ep-openvino')} {arithmetic(provider, 'int8')}"


def openvino_devices() -> list[Any]:
    """OpenVINO's device for this processor, as a list of one onnxruntime device. Registers the plug-in on first use.

    Raises `MissingExtraError` when the plug-in is not installed, and `EngineError` when it cannot be loaded or does not
    support this processor.
    """
    plugin = require(_PLUGIN, "openvino")
    with _registration_lock:
        _register(plugin)
    found = _devices(plugin.get_ep_name())
    if not found:
        raise EngineError(
            f"OpenVINO is installed but offers no device on this processor ({cpu_name()}): its plug-in for onnxruntime "
            "supports only Intel processors. Use --provider cpu, or auto"
        )
    return found[:1]


@functools.cache
def _register(plugin: Any) -> None:
    """Load the plug-in. onnxruntime allows this only once in a process."""
    import onnxruntime

    try:
        onnxruntime.register_execution_provider_library("authorid-openvino", plugin.get_library_path())
    except Exception as error:  # onnxruntime raises many types without a common base
        raise EngineError(f"onnxruntime cannot load OpenVINO's plug-in: {first_line(error)}") from None


def _devices(name: str) -> list[Any]:
    import onnxruntime

    cpu = onnxruntime.OrtHardwareDeviceType.CPU
    return [item for item in onnxruntime.get_ep_devices() if item.ep_name == name and item.device.type == cpu]


def arithmetic(provider: Provider, precision: Precision) -> Arithmetic:
    """The type of the floating-point operations of a graph."""
    return "bf16" if provider == "openvino" and precision == "int8" and cpu_flags() >= _AMX else "f32"


def open_session(
    path: Path, provider: Provider, precision: Precision, *, workers: int, threads: int
) -> onnxruntime.InferenceSession:
    """An onnxruntime session of the graph at `path`, for `workers` concurrent batches with `threads` threads each.

    Raises `AuthoridError` when the provider is not available, and onnxruntime's errors when it refuses the graph.
    """
    import onnxruntime

    onnxruntime.disable_telemetry_events()  # if it was imported before authorid, see authorid/__init__.py
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Threads that spin while they wait make a single worker faster, but take cores from several workers.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0" if workers > 1 else "1")
    options.log_severity_level = 3
    if provider == "fused":
        options.register_custom_ops_library(str(fused_library()))
    if provider != "openvino":
        return onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"], disabled_optimizers=_SLOW_FUSIONS
        )
    config = {
        "INFERENCE_PRECISION_HINT": arithmetic(provider, precision),
        "INFERENCE_NUM_THREADS": str(workers * threads),
        "CPU_RUNTIME_CACHE_CAPACITY": _CACHED_SHAPES,
        "NUM_STREAMS": str(workers),
    }
    options.add_provider_for_devices(openvino_devices(), {"load_config": json.dumps({"CPU": config})})
    # OpenVINO has its own optimizer, which recognizes the patterns of the graph as exported.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(str(path), options)
