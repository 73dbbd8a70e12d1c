"""From weights to ONNX graphs."""
