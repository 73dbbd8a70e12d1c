"""OpenVINO's dialect: plain operators that OpenVINO recognises and fuses by itself.

The numbers are those of the onnxruntime dialect. Attention is MatMul, Softmax, MatMul. INT8 is a MatMul of an
activation that went through QuantizeLinear and DequantizeLinear and of dequantized weights, which OpenVINO computes in
integers. Weights, scales and zero points are the same to the bit, so that both dialects can share one file of weights
(`authorid.export.graph.sharing`). OpenVINO folds the zero points of activations into the bias; ranges symmetric around
zero would waste nearly half of the steps after GELU and double the error.

This dialect does not promise batch invariance: OpenVINO picks its kernels by shape. The engine tests whether batching
changes a bit before it uses them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from authorid.export.encoder_weights import Dense
from authorid.export.graph.builder import OPENVINO, OPSET, Dialect, GraphBuilder
from authorid.export.graph.int8 import quantize_kernel, strips

__all__ = ["OpenVinoGraphBuilder"]


@dataclass
class OpenVinoGraphBuilder(GraphBuilder):
    """Builds a graph for OpenVINO; states are [b, s, width]."""

    dialect: ClassVar[Dialect] = OPENVINO
    opsets: ClassVar[Mapping[str, int]] = {"": OPSET}
    token_axis: ClassVar[int] = 1

    def tokens_on_axis(self, x: str, name: str) -> str:
        """As it is, [b, s]."""
        return x

    def look_up(self, ids: str, table: str, scales: str) -> str:
        """Convert the whole table, which OpenVINO does once when it loads the graph: its lookup of int8 is slow."""
        rows = self.op("Cast", [table], "tokens/rows", to=1)
        return self.op("Gather", [self.op("Mul", [rows, scales], "tokens/floats"), ids], "tokens")

    def quantize(self, x: str, activation: str, name: str, divisor: float = 1.0) -> str:
        """Quantize and dequantize `x`: OpenVINO moves the two to where they cost least."""
        quantized = super().quantize(x, activation, name, divisor)
        return self.op("DequantizeLinear", [quantized, *self.scale_and_zero(activation)], f"{name}/float")

    def quantized_product(self, x: str, kernel: str, scales: str, dense: Dense, name: str, activation: str) -> str:
        """The float32 product of two dequantized matrices, which OpenVINO computes in integers."""
        dequantized = self.op("DequantizeLinear", [kernel, scales], f"{name}/dequantized", axis=1)
        return self.product(x, dequantized, dense, name)

    def hidden(self, x: str, dense: Dense, name: str, activations: tuple[str, str]) -> str:
        """In one piece; only its integers are stored as strips, to be the same tensors as in the other dialect.

        A Concat of constants puts them together, once, when OpenVINO loads the graph.
        """
        read, written = activations
        cut = strips(dense.kernel.shape[1])
        if self.precision == "fp32" or len(cut) == 1:
            y = self.linear(x, dense, name, read)
        else:
            integers, scales = quantize_kernel(dense, self.ranges[read])
            stored = [
                self.const(f"{name}/{number}/kernel", integers[:, columns], np.int8)
                for number, columns in enumerate(cut)
            ]
            kernel = self.op("Concat", stored, f"{name}/kernel", axis=1)
            y = self.quantized_product(x, kernel, self.const(f"{name}/scales", scales), dense, name, read)
        return self.matmul_input(self.gelu(y, f"{name}/gelu"), written)

    def gelu(self, x: str, name: str) -> str:
        """In INT8 always the exact GELU, which OpenVINO computes faster: the two differ by 0.0005, a step is 0.02."""
        if self.precision == "fp32":
            return super().gelu(x, name)
        return self.op("Gelu", [x], name, approximate="none")

    def attention(self, queries: str, keys: str, values: str, name: str, activation: str) -> str:
        """Queries [b, t, width], keys and values [b, s, width] -> the matmul input `activation` [b, t, width].

        OpenVINO takes the transpositions by head into its fused kernel, and that of the keys too if it is a second one.
        """
        split = self.split_heads()

        def by_head(x: str, part: str) -> str:
            x = self.op("Reshape", [x, split], f"{name}/{part}_split")
            return self.op("Transpose", [x], f"{name}/{part}", perm=(0, 2, 1, 3))

        transposed = self.op("Transpose", [by_head(keys, "k")], f"{name}/k_transposed", perm=(0, 1, 3, 2))
        scores = self.op("MatMul", [by_head(queries, "q"), transposed], f"{name}/scores")
        scale = self.const("attention_scale", self.attention_scale())
        scores = self.masked(self.op("Mul", [scores, scale], f"{name}/scaled"), name)
        shares = self.op("Softmax", [scores], f"{name}/shares", axis=-1)
        mixed = self.op("MatMul", [shares, by_head(values, "v")], f"{name}/mixed")
        joined = self.op("Transpose", [mixed], f"{name}/joined", perm=[0, 2, 1, 3])
        return self.matmul_input(self.op("Reshape", [joined, self.join_heads()], name), activation)
