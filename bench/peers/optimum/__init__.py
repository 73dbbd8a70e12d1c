"""Hugging Face optimum on onnxruntime."""
