"""Progress of long work: a rich bar on a terminal, a user's function, or nothing."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

__all__ = ["Stages", "open_stages"]

_T = TypeVar("_T")


class Stages:
    """Names the stage of the work and the fraction of it that is done."""

    def __init__(self, report: Callable[[str, float], None]) -> None:
        self._report = report

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[Callable[[float], None]]:
        """One stage; yields a function to call with the fraction done."""
        self._report(name, 0.0)
        yield lambda fraction: self._report(name, fraction)
        self._report(name, 1.0)

    def each(self, items: Sequence[_T], name: str, label: Callable[[_T], str]) -> Iterator[_T]:
        """One stage per item."""
        for item in items:
            with self.stage(f"{name}: {label(item)}"):
                yield item


@contextlib.contextmanager
def open_stages(progress: bool | Callable[[str, float], None]) -> Iterator[Stages]:
    """Stages that report to ``progress``; True shows bars on stderr if it is a terminal."""
    if callable(progress):
        yield Stages(progress)
        return
    if not progress:
        yield Stages(lambda name, fraction: None)
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        yield Stages(lambda name, fraction: None)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as bars:
        tasks: dict[str, object] = {}

        def report(name: str, fraction: float) -> None:
            if name not in tasks:
                tasks[name] = bars.add_task(escape(name), total=1.0)
            bars.update(tasks[name], completed=fraction)  # type: ignore[arg-type]

        yield Stages(report)
