"""The transformer encoder: documents to windows, windows to batches, batches to logits."""
