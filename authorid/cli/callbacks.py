"""Adapters from a `Reporter` to the callbacks of functions that do not take a reporter yet."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from authorid.reporter import Reporter
    from authorid.training import Progress

__all__ = ["messages", "steps", "training_steps"]


def messages(reporter: Reporter) -> Callable[[str], None]:
    """A function that passes each message on, as a warning when it begins with ``warning:``."""

    def receive(message: str) -> None:
        if message.startswith("warning: "):
            reporter.warning(message.removeprefix("warning: "))
        else:
            reporter.info(message)

    return receive


def steps(reporter: Reporter) -> Callable[[int], None]:
    """A function that adds up the numbers of finished steps."""
    done = 0

    def receive(count: int) -> None:
        nonlocal done
        done += count
        reporter.progress(done)

    return receive


def training_steps(reporter: Reporter) -> Callable[[Progress], None]:
    """A function that passes the progress of a training on."""
    receive_message = messages(reporter)

    def receive(progress: Progress) -> None:
        if progress.message is not None:
            receive_message(progress.message)
        done = max(0, progress.epoch - 1) * progress.steps + progress.step
        detail = f"epoch {progress.epoch}/{progress.epochs}  loss {progress.loss:.3f}"
        reporter.progress(done, progress.epochs * progress.steps or None, detail)

    return receive
