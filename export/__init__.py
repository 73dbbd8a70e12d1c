"""Export: a trained Keras classifier becomes ONNX graphs, and a verified bundle of them (extra ``train``).

::

    weights.py    Keras -> plain numpy           emitter.py    numpy -> the graphs that run, float32 or INT8
    reference.py  Keras -> ONNX by tf2onnx       calibrate.py  ranges for INT8, temperature for probabilities
    outliers.py   what makes eight bits coarse   scoring.py    run graphs over windows
    sharing.py    two dialects, one weights file verify.py     do the graphs agree?
    card.py       README.md of a bundle          pipeline.py   all of it, in order

Importing this is cheap; TensorFlow and onnx are imported when a function needs them.
"""

from authorid.export.encoder_weights import EncoderWeights, from_keras
from authorid.export.exporter import ExportOptions, ExportReport, export_run
from authorid.export.graph.builder import Range, emit
from authorid.export.graph.sharing import share_weights
from authorid.export.quantize.calibration import Calibration, calibrate, fit_temperature
from authorid.export.sources.tf2onnx_reference import reference_graph
from authorid.export.verify import Check

__all__ = [
    "Calibration",
    "Check",
    "EncoderWeights",
    "ExportOptions",
    "ExportReport",
    "Range",
    "calibrate",
    "emit",
    "export_run",
    "fit_temperature",
    "from_keras",
    "reference_graph",
    "share_weights",
]
