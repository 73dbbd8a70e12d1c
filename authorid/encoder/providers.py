"""Who runs a graph: onnxruntime's own CPU kernels, or OpenVINO's, a plug-in for the same onnxruntime.

The plug-in is the package onnxruntime-ep-openvino (extra ``openvino``). It says itself on which processors it runs;
those of other makers than Intel it leaves alone. Where there is AMX, OpenVINO computes what is left between the INT8
matmuls in bfloat16; a float32 graph stays float32 everywhere.
"""

from __future__ import annotations

import functools
import json
import threading
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from authorid.bundle.manifest import Precision, Provider
from authorid.errors import AuthoridError, EngineError, first_line, require
from authorid.machine import cpu_flags, cpu_name

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

_FUSIONS_THAT_COST = ["SkipLayerNormFusion", "BiasGeluFusion"]
"""onnxruntime's fused CPU kernels for these are slower than the parts (docs/research/performance.md)."""

_SHAPES_KEPT = "300"
"""OpenVINO keeps what it compiled for every shape of an op, 5000 of them by default: gigabytes, where lengths vary."""

_PLUGIN = "onnxruntime_ep_openvino"

_AMX = frozenset(("amx_tile", "amx_int8", "amx_bf16"))

_registering = threading.Lock()


def available(provider: Provider) -> bool:
    """Whether `provider` is installed and runs on this processor."""
    try:
        require_provider(provider)
    except AuthoridError:
        return False
    return True


def require_provider(provider: str) -> None:
    """Raise `MissingExtraError` or `EngineError` when `provider` is asked for by name and is not there."""
    if provider == "openvino":
        openvino_devices()


def identity(provider: Provider) -> str:
    """What, besides onnxruntime's version, decides the results of `provider` on this machine.

    Raises `MissingExtraError` when it is not installed.
    """
    if provider == "cpu":
        return "cpu"
    require(_PLUGIN, "openvino")
    return f"openvino {version('onnxruntime-ep-openvino')} {arithmetic(provider, 'int8')}"


def openvino_devices() -> list[Any]:
    """OpenVINO's device for this processor, as onnxruntime wants it; the plug-in is registered when first asked for.

    Raises `MissingExtraError` when the plug-in is not installed, and `EngineError` when it cannot be loaded or has
    nothing for this processor.
    """
    plugin = require(_PLUGIN, "openvino")
    with _registering:
        _register(plugin)
    found = _devices(plugin.get_ep_name())
    if not found:
        raise EngineError(
            f"OpenVINO is installed but offers no device on this processor ({cpu_name()}): its plug-in for onnxruntime "
            "runs on Intel's only. Use --provider cpu, or auto"
        )
    return found[:1]


@functools.cache
def _register(plugin: Any) -> None:
    """Load the plug-in; a process may do that only once."""
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
    """In what a graph is computed, but for what is quantized in it."""
    return "bf16" if provider == "openvino" and precision == "int8" and cpu_flags() >= _AMX else "f32"


def open_session(
    path: Path, provider: Provider, precision: Precision, *, workers: int, threads: int
) -> onnxruntime.InferenceSession:
    """A session in which `workers` threads of the caller may run batches at once, each on `threads` threads.

    Raises `AuthoridError` when the provider is not there, and onnxruntime's errors when it refuses the graph.
    """
    import onnxruntime

    onnxruntime.disable_telemetry_events()  # for those who imported it before us; see authorid/__init__.py
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Threads that spin while they wait for work make a lone worker quick, and would steal the cores of others.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0" if workers > 1 else "1")
    options.log_severity_level = 3
    if provider == "cpu":
        return onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"], disabled_optimizers=_FUSIONS_THAT_COST
        )
    config = {
        "INFERENCE_PRECISION_HINT": arithmetic(provider, precision),
        "INFERENCE_NUM_THREADS": str(workers * threads),
        "CPU_RUNTIME_CACHE_CAPACITY": _SHAPES_KEPT,
        "NUM_STREAMS": str(workers),
    }
    options.add_provider_for_devices(openvino_devices(), {"load_config": json.dumps({"CPU": config})})
    # OpenVINO has its own optimizer, which knows the graph as it was emitted.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(str(path), options)
