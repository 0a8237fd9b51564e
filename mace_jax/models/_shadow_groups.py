"""Many shadow models in groups: as many at once as memory allows, groups side by side on a processor's cores."""

from __future__ import annotations

import dataclasses
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from typing import Any, final

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from mace_jax import _random
from mace_jax._types import FloatArray
from mace_jax.models._shadow_network import CALL, ShadowTrainer, advance, begin
from mace_jax.models.train import float32

__all__ = ["Group", "batch_rows", "bytes_per_model", "groups_of", "train_groups", "workers"]

CACHE_BYTES = 8 * 2**20
"""On a processor, a group whose weights and moments are larger than this runs slower than its models one by one."""


@final
@dataclasses.dataclass(frozen=True, eq=False)
class Group:
    """Models trained together."""

    models: tuple[int, ...]
    weights: Any  # leaves (models, ...)
    losses: FloatArray  # (models, calls)


def workers() -> int:
    """Groups trained at the same time: the processor's cores, or one on an accelerator."""
    if jax.default_backend() != "cpu":
        return 1
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def bytes_per_model(trainer: ShadowTrainer) -> tuple[int, int]:
    """Device memory that one more model takes in training, and the part of it that each step reads and writes.

    The latter are weights and two moments; beside them gradients and their change, two copies of the activations of a
    batch, and row numbers of ``CALL`` batches.
    """
    with float32():
        shapes = jax.eval_shape(trainer.initial, jax.random.key(0))[0]
    n_weights = sum(leaf.size for leaf in jax.tree.leaves(shapes))
    width = trainer.n_features + sum(trainer.settings.hidden) + trainer.n_labels
    batch = trainer.settings.batch_size
    state = 12 * n_weights
    return state + 8 * n_weights + 8 * batch * width + 4 * batch * CALL, state


def groups_of(
    models: Sequence[int], trainer: ShadowTrainer, memory_bytes: int, at_once: int | None
) -> list[tuple[int, ...]]:
    """Equal groups (but for one model) that stay within the memory together with those trained beside them."""
    if not models:
        return []
    side_by_side = workers()
    if at_once is None:
        each, state = bytes_per_model(trainer)
        at_once = memory_bytes // side_by_side // each
        if at_once < 1:
            raise ValueError(
                f"memory_bytes={memory_bytes} does not hold {side_by_side} models of {each} bytes; "
                f"pass memory_bytes={side_by_side * each} or more."
            )
        if jax.default_backend() == "cpu":
            at_once = min(at_once, max(1, CACHE_BYTES // state), -(-len(models) // side_by_side))
    count = -(-len(models) // at_once)
    return [tuple(int(model) for model in part) for part in np.array_split(np.asarray(models), count)]


def batch_rows(seed: int, model: int, members: np.ndarray, first: int, n_steps: int, size: int) -> np.ndarray:
    """Row numbers of a model's batches from step ``first`` on, drawn with replacement, ``(n_steps, size)``.

    They depend on the seed, the model's number and ``first`` alone.
    """
    draws = _random.generator(seed, "shadow batches", model, first).integers(len(members), size=(n_steps, size))
    return members[draws]


def train_groups(
    trainer: ShadowTrainer,
    unit: np.ndarray,
    classes: np.ndarray,
    included: np.ndarray,
    seed: int,
    first_model: int,
    groups: Sequence[tuple[int, ...]],
    done: Callable[[Group], None],
    advanced: Callable[[int], None],
) -> None:
    """Train every group and hand it to ``done``; ``advanced`` learns of the updates made, models times steps.

    Both are called by one thread at a time. An exception of any group ends the others at their next call.
    """
    with float32():
        on_device, classes_there = jax.device_put((unit, classes))
    stop, lock = threading.Event(), threading.Lock()

    def work(models: tuple[int, ...]) -> None:
        def report(steps: int) -> None:
            with lock:
                advanced(len(models) * steps)

        rows = included[list(models)]
        group = _train(trainer, on_device, classes_there, rows, seed, first_model, models, stop, report)
        if group is not None:
            with lock:
                done(group)

    if min(workers(), len(groups)) <= 1:
        for models in groups:
            work(models)
        return
    with ThreadPoolExecutor(workers(), "shadow models") as pool:
        futures = [pool.submit(work, models) for models in groups]
        try:
            finished, _ = wait(futures, return_when=FIRST_EXCEPTION)
            for future in finished:
                future.result()
        except BaseException:
            stop.set()
            pool.shutdown(cancel_futures=True)
            raise


def _train(
    trainer: ShadowTrainer,
    unit: Array,
    classes: Array,
    included: np.ndarray,
    seed: int,
    first_model: int,
    models: tuple[int, ...],
    stop: threading.Event,
    report: Callable[[int], None],
) -> Group | None:
    """All steps of one group; None if told to stop."""
    steps, size, history = trainer.settings.steps, trainer.settings.batch_size, []
    members = [np.flatnonzero(row).astype(np.int32) for row in included]
    key = _random.key(seed, "shadow models")
    rows = np.zeros((CALL, len(models), size), np.int32)
    with float32():
        numbers = jnp.asarray([first_model + model for model in models], jnp.uint32)
        states = begin(trainer, jax.vmap(lambda number: jax.random.fold_in(key, number))(numbers))
        for first in range(0, steps, CALL):
            if stop.is_set():
                return None
            n_steps = min(CALL, steps - first)
            for place, model in enumerate(models):
                rows[:n_steps, place] = batch_rows(seed, first_model + model, members[place], first, n_steps, size)
            states, losses = advance(trainer, states, unit, classes, rows.copy(), jnp.int32(n_steps))
            history.append(np.asarray(losses, np.float64))
            if not np.isfinite(history[-1]).all():
                bad = [model for model, loss in zip(models, history[-1], strict=True) if not np.isfinite(loss)]
                raise FloatingPointError(
                    f"shadow models {bad} diverged between steps {first} and {first + n_steps}; "
                    f"lower learning_rate={trainer.settings.learning_rate!r}."
                )
            report(n_steps)
        return Group(models, jax.tree.map(np.asarray, states[0]), np.stack(history, axis=1))
