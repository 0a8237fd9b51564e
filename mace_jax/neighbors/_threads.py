"""Host work on all processors: NumPy and compiled calls release the interpreter lock."""

from __future__ import annotations

import concurrent.futures
import os
from collections.abc import Callable, Iterable
from typing import TypeVar

__all__ = ["in_threads", "processors"]

Part = TypeVar("Part")
Result = TypeVar("Result")


def processors() -> int:
    """Processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def in_threads(work: Callable[[Part], Result], parts: Iterable[Part], workers: int | None = None) -> list[Result]:
    """``[work(part) for part in parts]``, in order, on one thread per processor; the first error is raised."""
    parts = list(parts)
    workers = min(len(parts), processors() if workers is None else workers)
    if workers <= 1:
        return [work(part) for part in parts]
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        return list(pool.map(work, parts))
