"""A record of results as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

__all__ = ["markdown"]


def markdown(record: Mapping[str, Any]) -> str:
    """The tables of a record, with the conditions under which they were measured."""
    machine, roofline = record["machine"], record["roofline"]
    versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items())
    lines = [
        f"{record['date'][:10]}, {machine['cpu']}, {machine['threads']} of {machine['cores']} cores, "
        f"{machine['memory_gb']} GB; {versions}.",
        "",
        _times(record["seconds"]),
        "",
    ]
    if roofline:
        lines += [
            f"Matmul rates measured through onnxruntime: INT8 (U8 x S8) {roofline['int8_gops']:,.0f} GOPS, float32 "
            f"{roofline['fp32_gops']:,.0f} GFLOPS; memory copies {roofline['copy_gbs']:.0f} GB/s.",
            "",
        ]
    for run in record["runs"]:
        lines += [*_run(run), ""]
    if record["scaling"]:
        lines += ["### Scaling: `authorid score` on short documents, one process each", ""]
        lines += _table(
            ("documents", "seconds", "documents/s", "peak RSS MB"),
            [
                (
                    f"{row['documents']:,}",
                    f"{row['seconds']:.1f}",
                    f"{row['documents_per_second']:,.0f}",
                    f"{row['peak_rss_mb']:.0f}",
                )
                for row in record["scaling"]
            ],
        )
    return "\n".join(lines).rstrip() + "\n"


def _times(seconds: Mapping[str, float]) -> str:
    share = seconds["sweeps"] / (seconds["whole"] or 1.0)
    return (
        f"Measuring took {seconds['whole']:.0f} s: sweeps {seconds['sweeps']:.0f} s ({share:.0%}), starts, warm-up and "
        f"rounds {seconds['rounds']:.0f} s. Preparing models took {seconds['preparing']:.0f} s before that."
    )


def _run(run: Mapping[str, Any]) -> list[str]:
    rows = [row for row in run["rows"] if row["ok"]]
    lines = [*_heading(run), "", *_speed(rows, run["model"]["window"]), *_ratios(rows), "", *_quality(rows)]
    repeated = run["repeatability"]
    if repeated:
        found = [f"{name} {repeated[name]:.3f}" for name in ("windows", "documents") if name in repeated]
        lines += [
            "",
            f"Repeatability: {repeated['system']} was measured twice, second over first: {', '.join(found)}"
            + (" (within 5 %)." if repeated["within_5_percent"] else " (NOT within 5 %: distrust this table)."),
        ]
    for row in run["rows"]:
        if not row["ok"]:
            lines += ["", f"Not measured: {row['label']}: {row['reason']}"]
    return lines


def _heading(run: Mapping[str, Any]) -> list[str]:
    """What was measured, and the limits of the machine."""
    model, workload, limits, seconds = run["model"], run["workload"], run["limits"], run["seconds"]
    title = f"### {model['name']} on {workload['name']}"
    text = f"{model['weights']} weights, {workload['documents']} documents, "
    if model["whole_documents"]:
        text += (
            f"{workload['windows']:,} windows of at most {model['window']} tokens ({workload['tokens']:,} tokens). "
            f"{workload['text_tokens']:,} tokens of text, {workload['truncated_tokens']:,} of them within the first "
            f"{model['peers_read']} of their document."
        )
    else:
        title += f", cut to {model['window']} tokens"
        text += f"which everybody cuts to their first {model['window']} tokens ({workload['tokens']:,} tokens in all)."
    text += f" Sweeps took {seconds['sweeps']:.0f} s, starts, warm-up and rounds {seconds['rounds']:.0f} s."
    lines = [title, "", text]
    if limits:
        lines.append(
            f"Limit of this machine if only matmuls took time: INT8 {limits['int8']:,.0f} tokens/s, float32 "
            f"{limits['fp32']:,.0f} tokens/s; one window {limits['floor_ms']:.2f} ms."
        )
    funnel = run.get("funnel_limits")
    if model.get("funnel"):
        lines += [
            "",
            "authorid's bundle is of a model with a funnel: every second token is left out after a third of the "
            "layers. No peer can run such a model; theirs is trained the same way, without the funnel. Rows with "
            "*the peers' model* are authorid with that one."
            + (f" With the funnel the limit is {funnel['int8']:,.0f} tokens/s in INT8." if funnel else ""),
        ]
    return lines


_SPEED_COLUMNS = (
    "system",
    "sessions x threads, batch",
    "windows: tokens/s (min - max)",
    "of INT8 limit",
    "of own limit",
    "whole documents: documents/s",
    "tokens/s",
    "one window: p50 ms",
    "p99 ms",
    "peak RSS MB",
    "start-up s",
    "rounds",
)


def _speed(rows: Sequence[Mapping[str, Any]], window: int) -> list[str]:
    """The table of speed and memory, the fastest system first."""
    cells = [
        (
            row["label"],
            _config(row, window),
            _spread(row.get("windows")),
            _percent(row.get("of_int8_limit")),
            _percent(row.get("of_own_limit")),
            _spread(row.get("documents"), "documents_per_second", 1),
            _spread(row.get("documents")),
            *(f"{row['latency_ms'][name]:.1f}" if "latency_ms" in row else "" for name in ("p50", "p99")),
            f"{row['peak_rss_mb']:.0f}" if "peak_rss_mb" in row else "",
            f"{row['start_up_seconds']:.1f}" if "start_up_seconds" in row else "",
            _rounds(row.get("rounds", {})),
        )
        for row in sorted(rows, key=lambda row: -_median(row))
    ]
    return _table(_SPEED_COLUMNS, cells, text=2)


_QUALITY_COLUMNS = (
    "system",
    "accuracy, same windows",
    "accuracy, own way",
    "same answer as float32",
    "largest logit difference from the original",
)


def _quality(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The table of accuracy and agreement."""
    cells = [
        (
            row["label"],
            _percent(row.get("windows", {}).get("accuracy")),
            _percent(row.get("documents", {}).get("accuracy")),
            _percent(row.get("windows", {}).get("agreement"), 1),
            f"{row['parity']['largest_difference']:.2g}" if "parity" in row else "",
        )
        for row in rows
    ]
    return _table(_QUALITY_COLUMNS, cells)


_COMPARED = tuple(f"ours-{model}{kernels}int8" for model in ("", "plain-") for kernels in ("", "fused-", "openvino-"))


def _ratios(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """How many times as fast as each peer our INT8 systems are, by medians; for latency, theirs over ours.

    A cell is empty where either figure is missing.
    """
    ours = {row["system"]: row for row in rows if row["system"] in _COMPARED}
    peers = [row for row in rows if not row["peer"].startswith("ours") and row.keys() & {"windows", "documents"}]
    if not ours or not peers:
        return []

    def times(row: Mapping[str, Any], peer: Mapping[str, Any]) -> tuple[str, ...]:
        rates = (
            ("windows", "tokens_per_second"),
            ("documents", "documents_per_second"),
            ("documents", "tokens_per_second"),
        )
        pairs = [(_median(row, *rate), _median(peer, *rate)) for rate in rates]
        latencies = [item.get("latency_ms", {}).get("p50", 0.0) for item in (peer, row)]
        return tuple(f"{mine / other:.2f}" if mine and other else "" for mine, other in (*pairs, latencies))

    columns = ["times as fast as"]
    for row in ours.values():
        names = ("windows", "whole documents, documents/s", "whole documents, tokens/s", "one window")
        columns += [f"{row['label']}: {what}" for what in names]
    cells = [(peer["label"], *(cell for row in ours.values() for cell in times(row, peer))) for peer in peers]
    return ["", *_table(columns, cells)]


def _config(row: Mapping[str, Any], window: int) -> str:
    """Sessions x threads and batch; those for documents only where they are others than for windows."""
    setups = {measure: _setup(row, setup, window) for measure, setup in row.get("setups", {}).items()}
    windows, documents = setups.get("windows"), setups.get("documents")
    text = windows or documents or ""
    if windows and documents and windows != documents:
        text += f"; documents: {documents}"
    return f"{text}; {row['graph']}" if "graph" in row else text


def _rounds(rounds: Mapping[str, str]) -> str:
    """How many rounds all measurements had; of each, if they differ."""
    if len(set(rounds.values())) == 1:
        return next(iter(rounds.values()))
    return "; ".join(f"{name} {count}" for name, count in rounds.items())


def _setup(row: Mapping[str, Any], setup: Mapping[str, Any], window: int) -> str:
    batch = f"{setup['batch']}" if "windows" in row["setups"] else "all"
    if row["peer"].startswith("ours"):
        batch = f"{setup['batch'] * window} tokens"
    return f"{setup['sessions']} x {setup['threads']}, {batch}"


def _median(row: Mapping[str, Any], measure: str = "windows", rate: str = "tokens_per_second") -> float:
    return float(row.get(measure, {}).get(rate, {}).get("median", 0.0))


def _spread(measured: Mapping[str, Any] | None, name: str = "tokens_per_second", digits: int = 0) -> str:
    if not measured or name not in measured:
        return ""
    values = measured[name]
    return f"**{values['median']:,.{digits}f}** ({values['min']:,.{digits}f} - {values['max']:,.{digits}f})"


def _percent(share: float | None, digits: int = 0) -> str:
    return "" if share is None else f"{share:.{max(digits, 1) if share > 0.99 else digits}%}"


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]], text: int = 1) -> list[str]:
    """A Markdown table; the first `text` columns are words, the others numbers."""
    rule = ["---" if index < text else "---:" for index in range(len(columns))]
    return [f"| {' | '.join(cells)} |" for cells in (columns, rule, *rows)]
