"""The dialect of onnxruntime's CPU provider: the operators whose stock kernels are fast.

**Two promises.** *Batch invariance*: the logits of a window are the same to the last bit whatever its neighbours, the
batch size and the number of intra-op threads. A float32 matrix product with a single row may take another code path
than one with several, so the head always sees two rows or more. *No slow fusions*: see `authorid.export.graph.builder`.

**INT8**: every matmul of the encoder is U8 x S8 -> float32 in one MatMulIntegerToFloat, bias inside. Activations are
quantized with one static scale each, weights with one scale for each column. The token table is int8 with one scale
for each row. Normalisations, GELU, attention and the head stay float32.

**Data stays in the cache.** Tokens come first: states are [s, b, width]. Attention is then two FusedMatMul that read
their heads where the projections wrote them; only the result is transposed, and in INT8 after it has been quantized.
The inner layer of the feed-forward part is computed strip by strip (matmul, GELU, quantization of `STRIP` neurons), so
that its float32 values never leave the core's L2 cache.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from authorid.export.encoder_weights import Dense
from authorid.export.graph.builder import CPU, OPSET, Dialect, GraphBuilder
from authorid.export.graph.int8 import strips

__all__ = ["OrtGraphBuilder"]

_MICROSOFT = "com.microsoft"


@dataclass
class OrtGraphBuilder(GraphBuilder):
    """Builds a graph for onnxruntime's own CPU kernels."""

    dialect: ClassVar[Dialect] = CPU
    opsets: ClassVar[Mapping[str, int]] = {"": OPSET, _MICROSOFT: 1}
    token_axis: ClassVar[int] = 0

    def tokens_on_axis(self, x: str, name: str) -> str:
        """Transposed to [s, b]."""
        return self.op("Transpose", [x], name, perm=[1, 0])

    def look_up(self, ids: str, table: str, scales: str) -> str:
        """Convert only the rows that are looked up.

        The whole table in float32 would take four times the memory, and most of the time that loading a graph takes.
        """
        rows = self.op("Cast", [self.op("Gather", [table, ids], "tokens/rows")], "tokens/floats", to=1)
        return self.op("Mul", [rows, self.op("Gather", [scales, ids], "tokens/steps")], "tokens")

    def hidden(self, x: str, dense: Dense, name: str, activations: tuple[str, str]) -> str:
        """Strip by strip in INT8, each with a scale of its own where the divisor differs."""
        read, written = activations
        if self.precision == "fp32":
            return self.matmul_input(self.gelu(self.linear(x, dense, name, read), f"{name}/gelu"), written)
        parts = []
        for number, columns in enumerate(cut := strips(dense.kernel.shape[1])):
            own = f"{name}/{number}" if len(cut) > 1 else name
            y = self.gelu(self.linear(x, dense.columns(columns), own, read), f"{own}/gelu")
            divisor, common = self.ranges[written].divisor, 1.0
            if divisor is not None:
                common = float(divisor[columns][0])
                if (divisor[columns] != common).any():
                    y = self.op("Mul", [y, self.const(f"{own}/factor", 1 / divisor[columns])], f"{own}/divided")
                    common = 1.0
            parts.append(self.quantize(y, written, f"{own}/quantized", common))
        return parts[0] if len(parts) == 1 else self.op("Concat", parts, f"{name}/quantized", axis=-1)

    def quantized_product(self, x: str, kernel: str, scales: str, dense: Dense, name: str, activation: str) -> str:
        """One MatMulIntegerToFloat."""
        scale, zero = self.scale_and_zero(activation)
        operands = [x, kernel, scale, scales, zero, "", self.const(f"{name}/bias", dense.bias)]
        return self.op("MatMulIntegerToFloat", operands, name, domain=_MICROSOFT)

    def attention(self, queries: str, keys: str, values: str, name: str, activation: str) -> str:
        """Queries [t, b, width], keys and values [s, b, width] -> the matmul input `activation` [t, b, width]."""
        split = self.split_heads()
        parts = {"q": queries, "k": keys, "v": values}
        q, k, v = (self.op("Reshape", [x, split], f"{name}/{part}") for part, x in parts.items())
        # [t, b, heads, d] and [s, b, heads, d], read as [b, heads, t, d] and [b, heads, d, s]
        flags = {"transBatchA": 1, "transBatchB": 1, "transB": 1, "alpha": self.attention_scale()}
        scores = self.op("FusedMatMul", [q, k], f"{name}/scores", domain=_MICROSOFT, **flags)
        shares = self.op("Softmax", [self.masked(scores, name)], f"{name}/shares", axis=-1)
        mixed = self.op("FusedMatMul", [shares, v], f"{name}/mixed", domain=_MICROSOFT, transBatchB=1)
        if self.precision == "int8" and self.ranges[activation].divisor is None:
            # Quantize first: INT8 has a quarter of the bytes to transpose.
            return self._tokens_first(self.quantize(mixed, activation, f"{activation}/quantized"), name)
        return self.matmul_input(self._tokens_first(mixed, name), activation)

    def _tokens_first(self, x: str, name: str) -> str:
        """[b, heads, t, d] -> [t, b, width]."""
        joined = self.op("Transpose", [x], f"{name}/joined", perm=[2, 0, 1, 3])
        return self.op("Reshape", [joined, self.join_heads()], name)
