"""authorid with OpenVINO's execution provider, a plug-in for stock onnxruntime."""
