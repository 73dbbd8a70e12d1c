"""Export: a trained classifier becomes ONNX graphs, and a verified bundle of them (extra ``train``).

The steps, in the order in which `export_model` takes them::

    sources/          a classifier on disk -> EncoderWeights and a reference graph
    corpus_windows    documents to calibrate on and to compare graphs on; golden_windows: random tokens
    document_texts    the same for models whose training corpus is not known
    graph/            EncoderWeights -> ONNX graphs, in the dialects of onnxruntime and OpenVINO
    quantize/         calibration, outliers, GPTQ: what INT8 needs
    graph_set, verify, agreement    do the graphs agree?
    temperature       calibrated probabilities for bundles without n-grams
    bundle_files, modelcard

Importing this is cheap; TensorFlow and onnx are imported when a function needs them.
"""

from authorid.export.encoder_weights import EncoderWeights
from authorid.export.export_options import ExportOptions
from authorid.export.exporter import ExportReport, export_model
from authorid.export.graph.emit import emit
from authorid.export.graph.int8 import Range
from authorid.export.graph.onnx_graph import OnnxGraph
from authorid.export.graph.sharing import share_weights
from authorid.export.quantize.calibration import Calibration, calibrate
from authorid.export.sources import Source, open_source
from authorid.export.sources.keras_weights import from_keras
from authorid.export.sources.tf2onnx_reference import reference_graph
from authorid.export.temperature import fit_temperature
from authorid.export.verify import Check

__all__ = [
    "Calibration",
    "Check",
    "EncoderWeights",
    "ExportOptions",
    "ExportReport",
    "OnnxGraph",
    "Range",
    "Source",
    "calibrate",
    "emit",
    "export_model",
    "fit_temperature",
    "from_keras",
    "open_source",
    "reference_graph",
    "share_weights",
]
