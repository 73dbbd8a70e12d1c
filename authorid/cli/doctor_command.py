"""``authorid doctor``: what a bug report should say about this machine and this installation."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from authorid.cli.files import STANDARD_OUTPUT, check_writable, write_json
from authorid.cli.options import PATH, SectionedCommand

__all__ = ["doctor"]

_EXTRAS = {
    "fit": "scipy",
    "plots": "matplotlib",
    "parquet": "pyarrow",
    "train": "tensorflow",
    "optimum": "optimum",
    "ray": "ray",
    "sklearn": "sklearn",
    "remote": "s3fs",
    "openvino": "onnxruntime_ep_openvino",
    "formats": "lxml",
    "zstd": "zstandard",
}
"""Extras -> a module that each brings."""

_INSTRUCTIONS = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8", "amx_bf16")
"""Instruction sets that decide how fast the encoder is."""


@click.command(cls=SectionedCommand)
@click.option(
    "--json", "json_file", type=PATH, metavar="FILE", help="Write the description as JSON; - is standard output."
)
@click.pass_context
def doctor(context: click.Context, json_file: Path | None) -> None:
    """Describe this machine and this installation, for bug reports.

    It runs the included model, and exits with 1 when a part that scoring needs does not work.
    """
    from authorid.cli.console import Terminal

    if json_file is not None:
        check_writable(json_file)
    terminal = Terminal(is_result=json_file != STANDARD_OUTPUT)
    found, problems = _examine()
    found["options"] = _option_places(context)
    terminal.table(
        "authorid doctor", [("", False), ("", False)], [(name, _text(value)) for name, value in found.items()]
    )
    for problem in problems:
        Terminal().error(problem)
    if json_file is not None:
        write_json(json_file, {**found, "problems": problems})
    if problems:
        raise click.exceptions.Exit(1)


def _option_places(context: click.Context) -> list[str]:
    """The file of options in use, and the variables of the environment that may set some."""
    from authorid.cli.config_file import current_config

    config = current_config(context)
    variables = sorted(name for name in os.environ if name.startswith("AUTHORID_"))
    return [*([] if config is None else [str(config.path)]), *variables]


def _text(value: Any) -> str:
    return ", ".join(map(str, value)) or "none" if isinstance(value, list) else str(value)


def _examine() -> tuple[dict[str, Any], list[str]]:
    """The description by names, and the problems."""
    import platform
    from importlib.util import find_spec

    from authorid.encoder.cache import cache_directory
    from authorid.encoder.fused import fused_kernels
    from authorid.encoder.providers import PROVIDERS, available
    from authorid.machine import available_cores, cpu_flags, cpu_name
    from authorid.ngrams import kernels
    from authorid.portability import lost_promises
    from authorid.scoring.stats import versions

    problems: list[str] = []
    found: dict[str, Any] = {
        **versions(),
        "installed in": str(Path(__file__).parents[1]),
        "system": platform.platform(),
        "processor": cpu_name(),
        "cores": available_cores(),
        "instruction sets": [name for name in _INSTRUCTIONS if name in cpu_flags()],
        "providers": [name for name in PROVIDERS if available(name)],
        "extras": [extra for extra, module in _EXTRAS.items() if find_spec(module) is not None],
        "fused kernels": fused_kernels() or "none",
        "n-gram loops": kernels.backend(),
        "cache": _describe_cache(cache_directory()),
    }
    found["promises that do not hold here"] = lost_promises()
    found["included model"] = _self_test(problems)
    return found, problems


def _describe_cache(directory: Path) -> str:
    from tempfile import TemporaryFile

    try:
        directory.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=directory):
            return str(directory)
    except OSError as error:
        return f"{directory} (cannot be written: {error.strerror}; self-tests and tuning are then not remembered)"


def _self_test(problems: list[str]) -> str:
    """Load the included model and score a sentence with all of it."""
    from authorid.errors import AuthoridError
    from authorid.scoring.scorer import Scorer

    try:
        scorer = Scorer.load(effort="full")
        (row,) = scorer.predict(["The central bank left interest rates unchanged on Tuesday, traders said."])
    except (AuthoridError, OSError) as error:
        problems.append(str(error))
        return "does not work"
    problems += scorer.notices
    if row.status == "failed":
        problems.append(f"the included model failed on a sentence: {row.error}")
        return "does not work"
    about = scorer.describe()
    return f"{about['model']}, {about['precision']} on {about['provider']}: works"
