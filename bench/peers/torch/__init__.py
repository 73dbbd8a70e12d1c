"""Hugging Face transformers on PyTorch."""
