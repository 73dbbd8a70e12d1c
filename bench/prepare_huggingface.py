"""A fine-tuned classifier in Hugging Face layout for all systems: ``python -m bench.prepare_huggingface``.

Writes a `Prepared` directory, as `bench.prepare` does for training runs: the files that the peers load, our bundle for
each length that documents are cut to, and the windows whose logits all systems are held to. It needs what
``authorid export`` needs. The logits come from `bench.reference_logits`, where there is torch.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

GOLDEN = 8
GOLDEN_WINDOWS = "golden-windows.npz"

_SIZES = {
    "num_layers": ("num_hidden_layers", "n_layers"),
    "hidden_dim": ("hidden_size", "dim"),
    "intermediate_dim": ("intermediate_size", "hidden_dim"),
}
"""Our names of sizes -> their names in the config.json of BERT's relatives and of DistilBERT."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the directory given by ``--out``."""
    parser = argparse.ArgumentParser(prog="python -m bench.prepare_huggingface", description=__doc__)
    parser.add_argument("--model", type=Path, required=True, help="directory with config.json and weights")
    parser.add_argument("--length", type=int, action="append", help="tokens of a document; default: the model's own")
    parser.add_argument("--corpus", type=Path, required=True, help="documents for the calibration of INT8")
    parser.add_argument("--bundle", type=Path, help="a bundle that was exported from the model, to be used as it is")
    parser.add_argument("--random", action="store_true", help="its weights are random: its answers may change")
    parser.add_argument("--out", type=Path, required=True)
    wanted = parser.parse_args(arguments)
    staging = Path(tempfile.mkdtemp(prefix=".prepare-", dir=wanted.out.parent))
    try:
        _write(wanted, staging)
        shutil.rmtree(wanted.out, ignore_errors=True)
        staging.rename(wanted.out)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise


def _write(wanted: argparse.Namespace, out: Path) -> None:
    from authorid.bundle.manifest import load_bundle

    if wanted.bundle is not None:
        shutil.copytree(wanted.bundle, out / "bundle")
    elif wanted.length:
        _export(wanted, max(wanted.length), out)
        for length in wanted.length:
            _cut(out / f"bundle-{max(wanted.length)}", out / f"bundle-{length}", length)
    else:
        _export(wanted, None, out)
    bundles = {path.name: load_bundle(path) for path in sorted(out.iterdir())}
    ours = next(iter(bundles.values()))
    shutil.copytree(wanted.model, out / "hf", ignore=shutil.ignore_patterns(".*", "*.onnx*", "checkpoint-*"))
    if not (out / "hf" / "tokenizer.json").is_file():
        shutil.copyfile(ours.path / "tokenizer.json", out / "hf" / "tokenizer.json")
    config = json.loads((out / "hf" / "config.json").read_text("utf-8"))
    record = {
        "authors": list(ours.authors),
        "lengths": {name: bundle.window.length for name, bundle in bundles.items()},
        "padding": config.get("pad_token_id") or 0,
        "geometry": geometry_of(config),
        "pooling": ours.pooling,
        "huggingface": True,
    }
    (out / "model.json").write_text(json.dumps(record, indent=1) + "\n", "utf-8")
    longest = max(bundles.values(), key=lambda bundle: bundle.window.length)
    _write_golden_windows(longest, wanted.corpus, out / GOLDEN_WINDOWS)


def _export(wanted: argparse.Namespace, length: int | None, out: Path) -> None:
    from authorid.export import ExportOptions, export_model

    options = ExportOptions(
        quantize=True,
        openvino=True,
        corpus=wanted.corpus,
        max_length=length,
        verify_documents=20 if wanted.random else 100,
        # Of random weights nothing but the speed matters, which does not depend on what was calibrated.
        calibration_windows=32 if wanted.random else 1536,
        # The peers load the model's own weights, whatever their format is.
        allow_pickle=True,
        force=wanted.random,
    )
    export_model(wanted.model, out / (f"bundle-{length}" if length else "bundle"), options, reporter=_Log())


def _cut(whole: Path, out: Path, length: int) -> None:
    """The bundle `whole` once more, with shorter windows: graphs take windows of any length."""
    from authorid.bundle.manifest import WindowSpec, load_bundle
    from authorid.bundle.save import write_bundle
    from authorid.encoder.windows import load_windower

    if whole == out:
        return
    bundle = load_bundle(whole)
    window = WindowSpec(length, length - load_windower(bundle).special_tokens, truncate=True)
    write_bundle(replace(bundle, path=out, window=window), {name: whole / name for name in bundle.files})


class _Log:
    """A `Reporter` that writes messages to the log."""

    def info(self, message: str) -> None:
        """Write one line."""
        sys.stdout.write(f"{time.strftime('%H:%M:%S')} {message}\n")
        sys.stdout.flush()

    def warning(self, message: str) -> None:
        """Write one line."""
        self.info(f"warning: {message}")

    def progress(self, done: int, total: int | None = None, detail: str = "") -> None:
        """Ignored: messages tell enough."""


def geometry_of(config: dict[str, Any]) -> dict[str, Any]:
    """Sizes of the encoder, as far as config.json tells; {} when it does not."""
    column = 1 if config.get("model_type") == "distilbert" else 0
    sizes = {ours: config.get(theirs[column]) for ours, theirs in _SIZES.items()}
    return sizes if all(sizes.values()) else {}


def _write_golden_windows(bundle: Any, corpus: Path, target: Path) -> None:
    """Windows of text, from a tenth of the length up to all of it, spread over the corpus."""
    from authorid.encoder.windows import load_windower

    windower = load_windower(bundle)
    files = sorted(corpus.rglob("*.txt"))
    texts = [path.read_text("utf-8", "replace") for path in files[:: max(1, len(files) // GOLDEN)][:GOLDEN]]
    shares = np.linspace(0.1, 1, len(texts))
    rows = [
        windower.wrap(ids[: max(1, int(share * windower.content))])
        for ids, share in zip(windower.token_ids(texts), shares, strict=True)
    ]
    np.savez(target, ids=np.concatenate(rows), lengths=np.array([len(row) for row in rows], dtype=np.int32))


if __name__ == "__main__":
    main()
