"""Keras -> ONNX -> fast graph -> INT8 -> verified bundle (extra ``train``)."""
