"""The float32 logits that transformers gives golden windows: ``python -m bench.reference_logits PREPARED``.

Runs in an environment that has torch and transformers.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from bench.peer_interface import Prepared, read_windows
from bench.peers.head import load_classifier


def main(path: Path) -> None:
    """Write ``golden.npz``: the windows, and the logits of the model as transformers loads it."""
    import torch

    prepared = Prepared(path)
    rows = read_windows(path / "golden-windows.npz")
    model = load_classifier(prepared.huggingface)
    with torch.inference_mode():
        logits = [model(input_ids=torch.from_numpy(row[None].astype(np.int64))).logits.numpy() for row in rows]
    partial = path / "golden.partial.npz"
    lengths = np.array([len(row) for row in rows], dtype=np.int32)
    np.savez(partial, ids=np.concatenate(rows), lengths=lengths, logits=np.concatenate(logits))
    partial.replace(path / "golden.npz")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
