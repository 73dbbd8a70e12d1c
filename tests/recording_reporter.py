"""A reporter that keeps what it receives."""

from __future__ import annotations


class RecordingReporter:
    def __init__(self) -> None:
        self.messages: list[str] = []
        self.warnings: list[str] = []
        self.steps: list[tuple[int, int | None, str]] = []

    def info(self, message: str) -> None:
        self.messages.append(message)

    def warning(self, message: str) -> None:
        self.warnings.append(message)

    def progress(self, done: int, total: int | None = None, detail: str = "") -> None:
        self.steps.append((done, total, detail))
