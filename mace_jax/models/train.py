"""The training loop: data stay on the device, many steps per call, resumable at every call."""

from __future__ import annotations

import abc
import functools
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import serialization
from jax import lax
from jaxtyping import Array, Float, Int

from mace_jax import _random
from mace_jax._row_blocks import BLOCK, in_blocks
from mace_jax._types import ProgressBar
from mace_jax.models import checkpoint
from mace_jax.models._devices import mesh_of, on_every, sharing

__all__ = ["BLOCK", "CHUNK", "AbstractTrainer", "Trained", "float32", "in_blocks", "train"]

CHUNK = 250
"""Steps per row of the history, and the most steps per call into compiled code."""

FIRST_CALL = 10
"""Steps of the first call, before the speed is known."""

CALL_SECONDS = 10.0
"""Calls of slow models are made shorter to take about this long; progress and checkpoints come in between."""

CHECKPOINT_SECONDS = 30.0
"""Time between checkpoints: what a killed run loses, beside the call it was in."""


class AbstractTrainer(abc.ABC):
    """One algorithm with its settings: hashable, so equal trainers share compiled code."""

    @property
    @abc.abstractmethod
    def losses(self) -> tuple[str, ...]:
        """Names of the losses that ``step`` returns."""

    @abc.abstractmethod
    def initial(self, key: Array) -> dict[str, Any]:
        """State before the first step; the networks' weights are under ``"parameters"``."""

    @abc.abstractmethod
    def step(
        self, state: dict[str, Any], records: Float[Array, "n d"], one_hot: Float[Array, "n c"], key: Array
    ) -> tuple[dict[str, Any], Float[Array, " losses"]]:
        """One update from a batch drawn with ``key``."""


class Trained(NamedTuple):
    """Weights after training and the mean losses of every chunk, as ``(last step, loss, ...)``."""

    parameters: dict[str, Any]
    history: tuple[tuple[float, ...], ...]


class _Point(NamedTuple):
    """Where a run stands: steps done, state, sums of the losses since the last row of the history, and the history."""

    done: int
    state: dict[str, Any]
    totals: Any
    history: tuple[tuple[float, ...], ...]


@functools.partial(jax.jit, static_argnames=("trainer",))
def _initial(trainer: AbstractTrainer, key: Array) -> dict[str, Any]:
    return trainer.initial(key)


# A loop with traced bounds: one compiled program for calls of any length, so that a resumed run repeats the
# arithmetic of an uninterrupted one bit for bit. Each step's randomness depends on its number alone.
@functools.partial(jax.jit, static_argnames=("trainer", "mesh"))
def _advance(
    trainer: AbstractTrainer,
    mesh: jax.sharding.Mesh | None,
    state: dict[str, Any],
    totals: Float[Array, " losses"],
    records: Float[Array, "n d"],
    one_hot: Float[Array, "n c"],
    key: Array,
    start: Int[Array, ""],
    stop: Int[Array, ""],
) -> tuple[dict[str, Any], Float[Array, " losses"]]:
    def body(step: Array, carry: tuple[dict[str, Any], Array]) -> tuple[dict[str, Any], Array]:
        before, sums = carry
        after, losses = trainer.step(before, records, one_hot, jax.random.fold_in(key, step))
        return after, sums + losses

    with sharing(mesh):
        return lax.fori_loop(start, stop, body, (state, totals))


def train(
    trainer: AbstractTrainer,
    records: np.ndarray,
    one_hot: np.ndarray,
    *,
    steps: int,
    seed: int,
    name: str,
    settings: dict[str, Any],
    progress: bool,
    checkpoint_dir: str | os.PathLike[str] | None,
    devices: int = 1,
) -> Trained:
    """Run ``steps`` updates from the start, or from where ``checkpoint_dir`` says an equal run stopped.

    ``checkpoint_dir`` gets the training state every ``CHECKPOINT_SECONDS``, at the end and when interrupted from the
    keyboard, and beside it the history in ``history.jsonl``. ``devices`` share each batch if the trainer divides it
    by ``over_devices``; otherwise all of them do the same work.
    """
    mesh = mesh_of(devices)
    with float32():
        state = _initial(trainer, _random.key(seed, "initial weights"))
    run = checkpoint.fingerprint({"settings": settings, "seed": str(seed)}, records, one_hot)
    point = _Point(0, state, np.zeros(len(trainer.losses), np.float32), ())
    keeper = _Keeper(checkpoint_dir, run, trainer.losses)
    if checkpoint_dir is not None and (Path(checkpoint_dir) / checkpoint.TRAINING_FILE).exists():
        point = _resume(checkpoint_dir, run, point, steps)
    on_device = on_every((records, one_hot), mesh)
    point = point._replace(state=on_every(point.state, mesh))
    key = _random.key(seed, "training")
    with _progress(progress, f"Training {name}", steps, point.done) as bar:
        try:
            call = FIRST_CALL
            while point.done < steps:
                stop = min(steps, point.done + call, (point.done // CHUNK + 1) * CHUNK)
                began = time.monotonic()
                with float32():
                    bounds = jnp.int32(point.done), jnp.int32(stop)
                    state, totals = _advance(trainer, mesh, point.state, point.totals, *on_device, key, *bounds)
                after = _after(point, stop, state, np.asarray(totals))
                call = _next_call(stop - point.done, began)
                bar.advance(stop - point.done)
                point = after
                keeper.keep(point, finished=stop == steps)
        except (KeyboardInterrupt, SystemExit):
            keeper.keep(point, finished=True)
            raise
    return Trained(jax.tree.map(np.asarray, point.state["parameters"]), _with_rest(point))


def _next_call(done: int, began: float) -> int:
    """Steps that take about ``CALL_SECONDS`` at the speed of the call that just ended."""
    return max(1, int(min(CHUNK, CALL_SECONDS * done / max(time.monotonic() - began, 1e-9))))


def _after(point: _Point, stop: int, state: dict[str, Any], totals: np.ndarray) -> _Point:
    """The next point; at the end of a chunk its mean losses become a row of the history."""
    if not np.isfinite(totals).all():
        raise FloatingPointError(
            f"training diverged between steps {point.done} and {stop} (summed losses {totals.tolist()}); "
            "lower the learning rates."
        )
    after = _Point(stop, state, totals, point.history)
    return after if stop % CHUNK else after._replace(totals=np.zeros_like(totals), history=_with_rest(after, CHUNK))


def _with_rest(point: _Point, length: int = 0) -> tuple[tuple[float, ...], ...]:
    """The history and, if steps were done since its last row, one more row of their mean losses."""
    length = length or point.done % CHUNK
    if not length:
        return point.history
    return (*point.history, (point.done, *map(float, point.totals / np.float32(length))))


class _Keeper:
    """Writes checkpoints, but never so often that writing takes more than a twentieth of the time."""

    def __init__(self, directory: str | os.PathLike[str] | None, run: str, losses: tuple[str, ...]) -> None:
        self._directory, self._run, self._losses = directory, run, losses
        self._written, self._cost, self._last = time.monotonic(), 0.0, -1
        if directory is not None:
            checkpoint.sweep(directory, checkpoint.TRAINING_FILE, checkpoint.HISTORY_FILE)

    def keep(self, point: _Point, *, finished: bool) -> None:
        """Write the point if it is time to, or if the run ends here."""
        due = self._written + max(CHECKPOINT_SECONDS, 20.0 * self._cost if CHECKPOINT_SECONDS else 0.0)
        began = time.monotonic()
        if self._directory is None or point.done == self._last or not (finished or began >= due):
            return
        content = {
            "run": self._run,
            "done": point.done,
            "history": np.array(point.history, np.float64).reshape(len(point.history), 1 + len(self._losses)),
            "totals": np.asarray(point.totals),
            "state": jax.tree.map(np.asarray, serialization.to_state_dict(point.state)),
        }
        checkpoint.write(self._directory, checkpoint.TRAINING_FILE, content)
        rows = [dict(zip(("step", *self._losses), row, strict=True)) for row in _with_rest(point)]
        checkpoint.write_lines(self._directory, checkpoint.HISTORY_FILE, rows)
        self._written, self._last = time.monotonic(), point.done
        self._cost = self._written - began


def _resume(directory: str | os.PathLike[str], run: str, start: _Point, steps: int) -> _Point:
    """Where a run of the same settings, seed and data stopped."""
    content = checkpoint.read(directory, checkpoint.TRAINING_FILE)
    if content.get("run") != run:
        raise ValueError(
            f"checkpoint_dir={str(directory)!r} holds a run with other settings, seed or records; "
            "pass an empty directory or repeat the earlier arguments."
        )
    done = int(content["done"])
    if done > steps:
        raise ValueError(
            f"checkpoint_dir={str(directory)!r} is already at step {done}, beyond steps={steps}; "
            f"pass steps={done} or more, or an empty directory."
        )
    history = tuple((int(row[0]), *map(float, row[1:])) for row in content["history"])
    state = serialization.from_state_dict(start.state, content["state"])
    return _Point(done, state, content["totals"], history)


@contextmanager
def float32() -> Iterator[None]:
    """The same arithmetic whatever the caller's precision: Adam raises floats to integer step counts."""
    with jax.enable_x64(False), jax.numpy_dtype_promotion("standard"):
        yield


class _Silent:
    """A progress bar that shows nothing."""

    def advance(self, steps: int = 1) -> None:
        """Ignore."""


@contextmanager
def _progress(wanted: bool, description: str, total: int, done: int) -> Iterator[ProgressBar]:
    """A bar on standard error when it is wanted and standard error is a terminal."""
    if not wanted:
        yield _Silent()
        return
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    if not console.is_terminal:
        yield _Silent()
        return
    with Progress(console=console, transient=True) as bar:
        task = bar.add_task(description, total=total, completed=done)
        yield _RichBar(bar, task)


class _RichBar:
    """One task of a rich progress display."""

    def __init__(self, bar: Any, task: Any) -> None:
        self._bar, self._task = bar, task

    def advance(self, steps: int = 1) -> None:
        """Move the bar."""
        self._bar.advance(self._task, steps)
