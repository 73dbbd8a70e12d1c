"""Our own operators for onnxruntime: attention, normalization and GELU in one pass with what surrounds them.

The library is built beside this module where there is a C compiler, and has kernels for AVX2 and for AVX-512 with VNNI.
Graphs that use it are emitted by `authorid.export.graph.fused_operators`.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

__all__ = ["fused_kernels", "fused_library"]

_MODULE = "authorid.encoder._fused"


def fused_library() -> Path | None:
    """The file of the library, for `SessionOptions.register_custom_ops_library`; None where it was not built."""
    spec = find_spec(_MODULE)
    return Path(spec.origin) if spec is not None and spec.origin is not None else None


def fused_kernels() -> str | None:
    """The instruction set of the kernels that run here, such as ``avx2``; None where none do."""
    try:
        from authorid.encoder import _fused  # type: ignore[attr-defined]
    except ImportError:
        return None
    name: str | None = _fused.kernels()
    return name
