"""Verification of the files of a bundle, before anything else reads them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path

from authorid.bundle.onnx_scan import check_graph
from authorid.errors import BundleCorruptError

__all__ = ["verify_files", "verify_graphs"]

_CODE_SUFFIXES = (".pkl", ".pickle", ".joblib", ".pt", ".pth", ".ckpt", ".keras", ".py", ".so", ".dll", ".dylib")
"""Suffixes of pickles and of other files that can run code when a program opens them."""


def verify_files(manifest: Path, files: Mapping[str, str]) -> None:
    """Check every file that `manifest` lists; `files` maps file names to SHA-256 digests.

    Raises `BundleCorruptError` when a name leads out of the bundle, a file is missing, is a link or can carry code, or
    its digest differs.
    """
    for name, digest in files.items():
        _verify_file(manifest, name, digest)


def verify_graphs(manifest: Path, graphs: Iterable[str], files: Iterable[str]) -> None:
    """Check that the graph files named `graphs` are ONNX and refer to no file but `files`.

    Raises `BundleCorruptError`.
    """
    listed = frozenset(files)
    for name in graphs:
        graph = manifest.parent / name
        if not name.endswith(".onnx"):  # onnxruntime reads .ort files too, and checks them less strictly
            raise BundleCorruptError(f"{graph}: a graph must be an .onnx file")
        check_graph(graph, listed)


def _verify_file(manifest: Path, name: str, digest: str) -> None:
    # A name with a directory part, or a link, could lead out of the bundle.
    if name in ("", ".", "..") or "/" in name or "\\" in name:
        raise BundleCorruptError(f"{manifest}: {name!r} is not a plain file name")
    file = manifest.parent / name
    if name.lower().endswith(_CODE_SUFFIXES):
        raise BundleCorruptError(f"{file}: a bundle must not contain files that can carry code")
    if file.is_symlink() or not file.is_file():
        raise BundleCorruptError(f"{file}: missing, or not a regular file; the bundle is incomplete")
    with file.open("rb") as stream:
        actual = hashlib.file_digest(stream, "sha256").hexdigest()
    if actual != digest:
        raise BundleCorruptError(
            f"{file}: its SHA-256 is {actual[:12]}…, but the manifest has {digest[:12]}…; "
            "the file was changed or damaged. Copy the bundle again."
        )
