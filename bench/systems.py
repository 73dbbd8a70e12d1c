"""The systems that take part in a benchmark."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

__all__ = ["REPEAT", "SYSTEMS", "Shape", "System"]

Shape = Literal["wide", "narrow"]
"""One session on all cores, or one single-threaded session a core."""

_EITHER: tuple[Shape, ...] = ("narrow", "wide")
_WIDE: tuple[Shape, ...] = ("wide",)
_NARROW: tuple[Shape, ...] = ("narrow",)


@dataclass(frozen=True)
class System:
    """One way to run the model. `precision` names the roofline it is held against, if there is one.

    `takes_huggingface` is false where it loads the model of a training run only. `window_shapes` and `document_shapes`
    are those it can use, of which the faster one is found. Those without an `encoder` classify documents only, in the
    first of their shapes and without a trial.
    """

    name: str
    peer: str
    label: str
    settings: dict[str, Any] = field(default_factory=dict)
    precision: str | None = None
    window_shapes: tuple[Shape, ...] = _EITHER
    document_shapes: tuple[Shape, ...] = _EITHER
    encoder: bool = True
    takes_huggingface: bool = True

    @property
    def plain(self) -> bool:
        """Whether it is authorid with the peers' model, where its own is another."""
        return self.settings.get("bundle") == "plain"

    @property
    def ours(self) -> bool:
        """Whether it is authorid, which reads whole documents; the others read the beginning."""
        return self.peer.startswith("ours")


REPEAT = "ours-int8-repeat"
"""ours-int8 once more: how far the two are apart is how far the results can be trusted."""

_OPTIMUM = {"opset": 20}
_PLAIN = {"bundle": "plain"}

SYSTEMS = (
    System("ours-int8", "ours", "authorid INT8, onnxruntime CPU", {"precision": "int8"}, "int8"),
    System("ours-fp32", "ours", "authorid fp32, onnxruntime CPU", {"precision": "fp32"}, "fp32"),
    System(
        "ours-openvino-int8",
        "ours_openvino",
        "authorid INT8, OpenVINO provider",
        {"precision": "int8", "provider": "openvino"},
        "int8",
    ),
    System(
        "ours-openvino-fp32",
        "ours_openvino",
        "authorid fp32, OpenVINO provider",
        {"precision": "fp32", "provider": "openvino"},
    ),
    System(
        "ours-fused-int8",
        "ours",
        "authorid INT8, fused kernels",
        {"precision": "int8", "provider": "fused"},
        "int8",
    ),
    # The peers' very function, where ours is of a model with a funnel.
    System("ours-plain-int8", "ours", "authorid INT8, the peers' model", {"precision": "int8", **_PLAIN}, "int8"),
    System(
        "ours-plain-fused-int8",
        "ours",
        "authorid INT8, the peers' model, fused kernels",
        {"precision": "int8", "provider": "fused", **_PLAIN},
        "int8",
    ),
    System(
        "ours-plain-openvino-int8",
        "ours_openvino",
        "authorid INT8, the peers' model, OpenVINO provider",
        {"precision": "int8", "provider": "openvino", **_PLAIN},
        "int8",
    ),
    System(
        "ours-auto",
        "ours",
        "authorid, encoder where n-grams are unsure (effort auto)",
        {"precision": "int8", "effort": "auto"},
        document_shapes=_NARROW,
        encoder=False,
        takes_huggingface=False,
    ),
    System(
        "ours-fast",
        "ours",
        "authorid, n-grams only (effort fast)",
        {"precision": "int8", "effort": "fast"},
        document_shapes=_NARROW,
        encoder=False,
        takes_huggingface=False,
    ),
    System(
        "keras",
        "keras",
        "Keras model.predict (TensorFlow)",
        precision="fp32",
        window_shapes=_WIDE,
        document_shapes=_WIDE,
        takes_huggingface=False,
    ),
    # The pipeline knows no sessions: it takes documents on all cores, whatever suits the bare model.
    System(
        "torch-fp32",
        "torch",
        "transformers pipeline (torch fp32)",
        {"dtype": "float32"},
        "fp32",
        document_shapes=_WIDE,
    ),
    System(
        "torch-bf16",
        "torch",
        "transformers pipeline (torch bf16)",
        {"dtype": "bfloat16"},
        document_shapes=_WIDE,
    ),
    # Half a round away from the one that it repeats.
    System(REPEAT, "ours", "authorid INT8, repeated", {"precision": "int8"}, "int8"),
    System("optimum-fp32", "optimum", "optimum ORTModel fp32", {"precision": "fp32", **_OPTIMUM}, "fp32"),
    System("optimum-int8", "optimum", "optimum ORTModel INT8", {"precision": "int8", **_OPTIMUM}, "int8"),
    System("openvino-f32", "openvino", "OpenVINO f32 (optimum's graph)", {"precision": "f32"}, "fp32"),
    System("openvino-bf16", "openvino", "OpenVINO bf16 (optimum's graph)", {"precision": "bf16"}),
    System("openvino-int8", "openvino", "OpenVINO NNCF INT8 (optimum's graph)", {"precision": "int8"}, "int8"),
    System(
        "tfidf", "tfidf", "TF-IDF n-grams + LinearSVC", document_shapes=_NARROW, encoder=False, takes_huggingface=False
    ),
)
