"""The graphs of one export, built one after the other and compared with their predecessors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from authorid.bundle.manifest import Precision, Provider, graph_key
from authorid.encoder.fused import fused_kernels
from authorid.export.agreement import VerificationSet
from authorid.export.encoder_weights import EncoderWeights
from authorid.export.graph.builder import CPU, FUSED, OPENVINO, Dialect
from authorid.export.graph.emit import emit
from authorid.export.graph.fused_operators import can_be_fused
from authorid.export.graph.graph_runner import GraphRunner, Ids
from authorid.export.graph.onnx_graph import OnnxGraph
from authorid.export.quantize.calibration import Calibration, most_faithful
from authorid.export.verify import (
    EMITTED_TOLERANCE,
    Check,
    check_documents,
    check_invariance,
    check_logits,
    check_padding,
)
from authorid.reporter import SILENT, Reporter

__all__ = ["GraphSet"]


@dataclass(slots=True)
class GraphSet:
    """`graphs` by `graph_key`, `runners` of those for onnxruntime by precision, and the `checks` so far.

    `probe` are the windows on which single logits are compared. With `openvino` there is a graph in OpenVINO's dialect
    beside each. `calibration` is the one that the INT8 graphs are made from.
    """

    probe: Sequence[Ids]
    openvino: bool = False
    reporter: Reporter = SILENT
    checks: list[Check] = field(default_factory=list)
    graphs: dict[str, OnnxGraph] = field(default_factory=dict)
    runners: dict[Precision, GraphRunner] = field(default_factory=dict)
    calibration: Calibration | None = None

    def add_float32(self, weights: EncoderWeights, expected: npt.NDArray[np.float32]) -> None:
        """Emit the float32 graphs; their logits for the probe must be `expected`, those of the reference graph."""
        self.reporter.info("emitting the float32 graph")
        runner = self._add("fp32", emit(weights, padding=True))
        name = "emitted float32 = reference: largest difference"
        self.checks.append(check_logits(name, runner.logits(self.probe), expected, EMITTED_TOLERANCE))
        self._check_invariance("fp32", "float32")
        self.checks.append(check_padding("float32: padded batch = alone: largest difference", runner, self.probe))
        if self.openvino:
            graph = self.graphs[graph_key("fp32", "openvino")] = emit(weights, dialect=OPENVINO)
            name = "float32 in OpenVINO's dialect = reference: largest difference"
            actual = GraphRunner(graph).logits(self.probe)
            self.checks.append(check_logits(name, actual, expected, EMITTED_TOLERANCE))

    def add_int8(
        self,
        weights: EncoderWeights,
        candidates: Iterable[Calibration],
        verification: VerificationSet,
        enough: float = float("inf"),
    ) -> None:
        """Emit the INT8 graphs of the best candidate; they must answer like float32 for the verification documents.

        The candidates are calibrations of `weights`. There is a graph for our own kernels where they can be run here.

        No further candidate is made when one agrees by `enough` with float32.
        """
        about, windows = verification.about, verification.windows
        self.reporter.info(f"computing the float32 answers for {about}")
        expected = self.runners["fp32"].logits(windows)
        others = self._other_dialects(weights)
        dialects = (CPU, *(dialect for dialect, _ in others.values()))
        self.calibration = chosen = most_faithful(candidates, expected, verification, dialects, enough)
        runner = self._add("int8", emit(chosen.weights, "int8", chosen.ranges))
        self._check_invariance("int8", "INT8")
        self.reporter.info(f"comparing INT8 ({chosen.name}) with float32 on {about}")
        self.checks += check_documents(runner.logits(windows), expected, verification)
        for provider, (dialect, name) in others.items():
            self.reporter.info(f"comparing {name} with float32 on {about}")
            graph = self.graphs[graph_key("int8", provider)] = emit(
                chosen.weights, "int8", chosen.ranges, dialect=dialect
            )
            self.checks += check_documents(GraphRunner(graph).logits(windows), expected, verification, name)

    def _other_dialects(self, weights: EncoderWeights) -> dict[Provider, tuple[Dialect, str]]:
        """The dialects of INT8 graphs beside onnxruntime's, and their names in messages, by provider."""
        others: dict[Provider, tuple[Dialect, str]] = {}
        if fused_kernels() is None:
            self.reporter.info("no graph for --provider fused: its kernels were not compiled here")
        elif can_be_fused(weights):
            others["fused"] = (FUSED, "INT8 with fused kernels")
        if self.openvino:
            others["openvino"] = (OPENVINO, "INT8 in OpenVINO's dialect")
        return others

    def add_given(self, graph: OnnxGraph, precision: Precision) -> None:
        """Take the reference graph itself, which has this precision."""
        runner = self._add(precision, graph)
        # INT8 of another tool finds the range of a batch: its neighbours change the logits of a text.
        if runner.takes_padding and precision == "fp32":
            self.checks.append(check_padding("float32: padded batch = alone: largest difference", runner, self.probe))

    def add_quantized(self, candidates: Mapping[str, OnnxGraph], verification: VerificationSet) -> None:
        """Add the first INT8 graph among `candidates` that agrees best with float32; it must answer like float32."""
        windows = verification.windows
        self.reporter.info(f"comparing INT8 with float32 on {verification.about}")
        expected = self.runners["fp32"].logits(windows)
        actual = {name: GraphRunner(graph).logits(windows) for name, graph in candidates.items()}
        best = max(actual, key=lambda name: verification.agreement(actual[name], expected))
        self._add("int8", candidates[best])
        self.checks += check_documents(actual[best], expected, verification, f"INT8 ({best})")

    def drop_float32(self) -> None:
        """Remove the float32 graphs; nothing can be compared with them any more."""
        self.graphs = {key: graph for key, graph in self.graphs.items() if not key.endswith("fp32")}
        self.runners.pop("fp32", None)

    def _add(self, precision: Precision, graph: OnnxGraph) -> GraphRunner:
        self.graphs[graph_key(precision)], self.runners[precision] = graph, GraphRunner(graph)
        return self.runners[precision]

    def _check_invariance(self, precision: Precision, name: str) -> None:
        threaded = GraphRunner(self.graphs[graph_key(precision)], threads=2)
        name = f"{name}: window alone = in a batch"
        self.checks.append(check_invariance(name, self.runners[precision], threaded, self.probe))
