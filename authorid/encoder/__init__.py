"""The transformer encoder: windows, batching, the onnxruntime engine, providers, tuning, the cache."""
