"""A reporter that records all messages and progress."""

from __future__ import annotations


class RecordingReporter:
    def __init__(self) -> None:
        self.infos: list[str] = []
        self.warnings: list[str] = []
        self.steps: list[tuple[int, int | None, str]] = []

    def info(self, message: str) -> None:
        self.infos.append(message)

    def warning(self, message: str) -> None:
        self.warnings.append(message)

    def progress(self, done: int, total: int | None = None, detail: str = "") -> None:
        self.steps.append((done, total, detail))
