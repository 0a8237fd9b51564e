"""The training loop: data stay on the device, many steps per call, resumable at every call."""

from __future__ import annotations

import abc
import functools
import os
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
from mace_jax._types import ProgressBar
from mace_jax.models import checkpoint

__all__ = ["BLOCK", "CHUNK", "AbstractTrainer", "Trained", "in_blocks", "train"]

CHUNK = 250
"""Steps per call into compiled code; progress is shown and checkpoints are written in between."""

BLOCK = 256
"""Rows per call when a fitted model samples or scores; it bounds memory and fixes every matrix shape."""


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


@functools.partial(jax.jit, static_argnames=("trainer",))
def _initial(trainer: AbstractTrainer, key: Array) -> dict[str, Any]:
    return trainer.initial(key)


# A loop with traced bounds: one compiled program for chunks of any length, so that a resumed run repeats the
# arithmetic of an uninterrupted one bit for bit. Each step's randomness depends on its number alone.
@functools.partial(jax.jit, static_argnames=("trainer",))
def _advance(
    trainer: AbstractTrainer,
    state: dict[str, Any],
    records: Float[Array, "n d"],
    one_hot: Float[Array, "n c"],
    key: Array,
    start: Int[Array, ""],
    stop: Int[Array, ""],
) -> tuple[dict[str, Any], Float[Array, " losses"]]:
    def body(step: Array, carry: tuple[dict[str, Any], Array]) -> tuple[dict[str, Any], Array]:
        before, totals = carry
        after, losses = trainer.step(before, records, one_hot, jax.random.fold_in(key, step))
        return after, totals + losses

    zeros = jnp.zeros(len(trainer.losses), jnp.float32)
    state, totals = lax.fori_loop(start, stop, body, (state, zeros))
    return state, totals / (stop - start).astype(jnp.float32)


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
) -> Trained:
    """Run ``steps`` updates from the start, or from where ``checkpoint_dir`` says an equal run stopped."""
    with _float32():
        state = _initial(trainer, _random.key(seed, "initial weights"))
    run = checkpoint.fingerprint({"settings": settings, "seed": str(seed)}, records, one_hot)
    done, history = 0, []
    if checkpoint_dir is not None and (Path(checkpoint_dir) / checkpoint.TRAINING_FILE).exists():
        done, history, state = _resume(checkpoint_dir, run, state, steps)
    on_device = jax.device_put((records, one_hot))
    key = _random.key(seed, "training")
    with _progress(progress, f"Training {name}", steps, done) as bar:
        while done < steps:
            stop = min(steps, (done // CHUNK + 1) * CHUNK)
            with _float32():
                state, losses = _advance(trainer, state, *on_device, key, jnp.int32(done), jnp.int32(stop))
            losses = [float(loss) for loss in np.asarray(losses)]
            if not np.isfinite(losses).all():
                raise FloatingPointError(
                    f"training diverged between steps {done} and {stop} (losses {losses}); lower the learning rates."
                )
            history.append((stop, *losses))
            bar.advance(stop - done)
            done = stop
            if checkpoint_dir is not None:
                checkpoint.write(checkpoint_dir, checkpoint.TRAINING_FILE, _content(run, done, history, state))
    return Trained(jax.tree.map(np.asarray, state["parameters"]), tuple(history))


def in_blocks(apply: Any, *rows: np.ndarray) -> np.ndarray:
    """``apply`` to blocks of ``BLOCK`` rows; the last block repeats its last row and drops the results.

    Every call has the same shapes, so a row's result does not depend on how many rows came with it.
    """
    n = len(rows[0])
    results = []
    for start in range(0, n, BLOCK):
        places = np.minimum(np.arange(start, start + BLOCK), n - 1)
        block = np.asarray(apply(*(array[places] for array in rows)))
        results.append(block[: n - start])
    return np.concatenate(results)


def _content(run: str, done: int, history: list[tuple[float, ...]], state: dict[str, Any]) -> dict[str, Any]:
    return {
        "run": run,
        "done": done,
        "history": np.array(history, np.float64),
        "state": jax.tree.map(np.asarray, serialization.to_state_dict(state)),
    }


def _resume(
    directory: str | os.PathLike[str], run: str, state: dict[str, Any], steps: int
) -> tuple[int, list[tuple[float, ...]], dict[str, Any]]:
    """Steps done, their losses and the state, from a checkpoint of the same settings, seed and data."""
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
    history = [(int(row[0]), *map(float, row[1:])) for row in content["history"]]
    return done, history, serialization.from_state_dict(state, content["state"])


@contextmanager
def _float32() -> Iterator[None]:
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
