"""The dialect of our own operators: INT8 graphs whose steps between the matrix products are fused into them.

The operators are in the domain ``authorid`` and run where `authorid.encoder.fused` has compiled kernels. Integers,
scales and biases are those of onnxruntime's dialect, in the same tensors:

- ``Linear``: a matrix product, scaled, with bias;
- ``LinearGelu``: the inner layer of the feed-forward part, all strips at once, GELU and quantization included;
- ``Attention``: scores, softmax, mixture and quantization of one head at a time;
- ``Norm``: residual sum, layer normalisation and quantization.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from authorid.errors import ExportError, require
from authorid.export.encoder_weights import Dense, EncoderWeights, Floats, Norm
from authorid.export.graph.builder import FUSED, OPSET, Dialect
from authorid.export.graph.int8 import activation_scale, quantize_kernel, strips
from authorid.export.graph.ort import OrtGraphBuilder

__all__ = ["FusedGraphBuilder", "can_be_fused"]

_DOMAIN = "authorid"


def can_be_fused(weights: EncoderWeights) -> bool:
    """Whether the operators can compute an encoder of this width."""
    return weights.width % 16 == 0


@dataclass
class FusedGraphBuilder(OrtGraphBuilder):
    """Builds an INT8 graph for our own kernels. Raises `ExportError` for float32."""

    dialect: ClassVar[Dialect] = FUSED
    opsets: ClassVar[Mapping[str, int]] = {"": OPSET, _DOMAIN: 1}

    def __post_init__(self) -> None:
        """Refuse float32."""
        if self.precision != "int8":
            raise ExportError("there are no fused operators for float32")

    def normalized(self, parts: Sequence[str], norm: Norm, name: str, activation: str | None) -> tuple[str, str]:
        """One ``Norm``, unless nothing is to be quantized."""
        if activation is None:
            return super().normalized(parts, norm, name, None)
        x, *residual = parts
        operands = [x, self.const(f"{name}_norm/gamma", norm.gamma), self.const(f"{name}_norm/beta", norm.beta)]
        operands += [self._factors(activation), *residual]
        outputs = [f"{name}_norm", f"{activation}/quantized"]
        node = require("onnx.helper", "train").make_node(
            "Norm",
            operands,
            outputs,
            name=outputs[0],
            domain=_DOMAIN,
            epsilon=float(self.weights.epsilon),
            out_zero=self._zero(activation),
        )
        self.nodes.append(node)
        return outputs[0], outputs[1]

    def quantized_product(self, x: str, kernel: str, scales: str, dense: Dense, name: str, activation: str) -> str:
        """One ``Linear``."""
        operands = [x, kernel, scales, self.const(f"{name}/bias", dense.bias)]
        return self.op("Linear", operands, name, domain=_DOMAIN, **self._read(activation))

    def hidden(self, x: str, dense: Dense, name: str, activations: tuple[str, str]) -> str:
        """One ``LinearGelu``; its weights are stored as strips, to be the same tensors as in the other dialects."""
        read, written = activations
        cut = strips(dense.kernel.shape[1])
        integers, scales = quantize_kernel(dense, self.ranges[read])
        factors = self._reciprocals(written, dense.kernel.shape[1])
        operands = [x]
        for number, columns in enumerate(cut):
            own = f"{name}/{number}" if len(cut) > 1 else name
            operands += [
                self.const(f"{own}/kernel", integers[:, columns], np.int8),
                self.const(f"{own}/scales", scales[columns]),
                self.const(f"{own}/bias", dense.bias[columns]),
                self.const(f"{own}/factors", factors[columns]),
            ]
        tanh = int(self.weights.gelu == "tanh")
        attributes = {**self._read(read), "out_zero": self._zero(written), "tanh": tanh}
        return self.op("LinearGelu", operands, f"{name}/quantized", domain=_DOMAIN, **attributes)

    def attention(self, queries: str, keys: str, values: str, name: str, activation: str) -> str:
        """One ``Attention``."""
        operands = [queries, keys, values, self._factors(activation)]
        attributes = {"heads": self.weights.heads, "scale": self.attention_scale(), "out_zero": self._zero(activation)}
        return self.op("Attention", operands, f"{activation}/quantized", domain=_DOMAIN, **attributes)

    def _read(self, activation: str) -> dict[str, float | int]:
        scale, zero = activation_scale(self.ranges[activation].low, self.ranges[activation].high)
        return {"x_scale": float(scale), "x_zero": int(zero)}

    def _zero(self, activation: str) -> int:
        return int(self._read(activation)["x_zero"])

    def _factors(self, activation: str) -> str:
        """Constant [width]: what turns the values of a matmul input into steps."""
        return self.const(f"{activation}/factors", self._reciprocals(activation, self.weights.width))

    def _reciprocals(self, activation: str, channels: int) -> Floats:
        span = self.ranges[activation]
        scale, _ = activation_scale(span.low, span.high)
        divisor = np.ones(channels, np.float32) if span.divisor is None else span.divisor
        return (1 / (divisor.astype(np.float64) * np.float64(scale))).astype(np.float32)
