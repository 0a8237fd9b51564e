"""RMIA: how many population records a record beats in what the target gained over reference models."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from mace_jax import _validate
from mace_jax._types import FloatArray
from mace_jax.attacks._shadow_inputs import finite_array, independent, membership
from mace_jax.metrics import roc

__all__ = ["rmia", "tune_a"]

Mode = Literal["offline", "online"]


def rmia(
    log_probabilities: Any,
    reference_log_probabilities: Any,
    population_log_probabilities: Any,
    reference_population_log_probabilities: Any,
    *,
    gamma: float = 2.0,
    a: float = 1.0 / 3.0,
    mode: Mode = "offline",
    included: Any = None,
    target_included: Any = None,
) -> FloatArray:
    """Score every record x by the share of population records z with ``ratio_x / ratio_z > gamma``.

    ``ratio = p(label | target) / p``, where ``p`` stands for the mean probability over models, with x among the
    training records as often as not:

    * ``"online"``: ``p`` is the mean over all reference models, half of which should have seen x;
    * ``"offline"``: ``p = ((1 + a) p_out + 1 - a) / 2`` with ``p_out`` the mean over reference models that did not see
      x, from the line ``p_in = a p_out + 1 - a``. If all reference models saw x, the line is read backwards:
      ``p_out = max(0, (p_in + a - 1) / a)``.

    Population records count as unseen by all models. Time ``O((n + Z) log Z)``: ratios of the population are sorted,
    and those below ``ln ratio_x - ln gamma`` are counted.

    Args:
        log_probabilities: Log of the target's probability of each record's label, ``(n,)``.
        reference_log_probabilities: The same by reference models, ``(n_models, n)``.
        population_log_probabilities: Log of the target's probability of the labels of Z records that it was not
            trained on and that are not under audit, ``(Z,)``.
        reference_population_log_probabilities: The same by reference models, ``(n_models, Z)``.
        gamma: How much a ratio must be larger, at least 1.
        a: Slope of the offline line, in [0, 1]: 1 if unknown, or from ``tune_a``; online uses none.
        mode: ``"offline"`` or ``"online"``.
        included: Whether a record is a member of a reference model, ``(n_models, n)``; by default offline models saw
            none of the records. Online needs no memberships.
        target_included: The target's members, ``(n,)``, to check the design; not used in scoring.

    Returns:
        Scores ``(n,)`` in [0, 1], higher = more member-like; computed in float64.

    Raises:
        TypeError: arrays that are not numeric, or memberships that are not truth values.
        ValueError: shapes that do not fit, NaN, logs above 0, a setting out of range, or a reference model that gives
            the target's members away.

    References:
        Zarifzadeh, Liu and Shokri (2024), Low-cost high-power membership inference attacks.

    Example:
        >>> import numpy as np
        >>> rmia(np.log([0.9, 0.3]), np.log([[0.3, 0.3]]), np.log([0.2, 0.5]), np.log([[0.4, 0.5]]), a=1.0).tolist()
        [1.0, 0.0]
    """
    _validate.one_of(get_args(Mode), mode=mode)
    if _validate.non_negative(gamma=gamma) < 1.0:
        raise ValueError(f"gamma={gamma!r} must be at least 1; pass for example gamma=2.")
    slope = _slope(a)
    own = _logs("log_probabilities", log_probabilities, (None,), "one log probability per record")
    reference = _logs("reference_log_probabilities", reference_log_probabilities, (None, len(own)),
                      f"one row per reference model and a column per record: (n_models, {len(own)})")  # fmt: skip
    n_models = len(reference)
    population = _logs("population_log_probabilities", population_log_probabilities, (None,), "one per record")
    shape = (n_models, len(population))
    others = _logs("reference_population_log_probabilities", reference_population_log_probabilities, shape,
                   f"one row per reference model and a column per population record: {shape}")  # fmt: skip
    members = np.zeros(reference.shape, bool)
    if included is not None:
        members = membership("included", included, reference.shape)
    if target_included is not None:
        if included is None:
            raise ValueError("target_included needs included, the members of the reference models, to compare with.")
        independent(membership("target_included", target_included, own.shape), members, "reference model")
    with jax.enable_x64(True):
        return np.asarray(_scores(mode, own, reference, members, population, others, math.log(gamma), slope))


def tune_a(
    reference_log_probabilities: Any,
    reference_population_log_probabilities: Any,
    included: Any,
    *,
    gamma: float = 2.0,
    candidates: Sequence[float] = tuple(step / 10 for step in range(11)),
) -> float:
    """Choose RMIA's ``a`` on reference models alone: each is attacked by the others, as if it were the target.

    The value with the largest mean area under the ROC curve is taken, the largest of equal ones. A model whose members
    equal or complement those of the one attacked is left out, since it would give the answer away, and so must be the
    target: pass none of its outputs.

    Args:
        reference_log_probabilities: ``(n_models, n)`` as in ``rmia``; two models at least.
        reference_population_log_probabilities: ``(n_models, Z)``.
        included: Whether a record is a member of a model, ``(n_models, n)``.
        gamma: As in ``rmia``.
        candidates: Values to choose from, in [0, 1].

    Returns:
        The chosen value.

    Raises:
        TypeError: as ``rmia``.
        ValueError: as ``rmia``; no model that others can attack without knowing the answer, or no candidates.

    References:
        Zarifzadeh, Liu and Shokri (2024), Low-cost high-power membership inference attacks.

    Example:
        >>> import numpy as np
        >>> models = np.log([[0.9, 0.5, 0.4], [0.5, 0.9, 0.4], [0.5, 0.5, 0.8]])
        >>> tune_a(models, np.log([[0.5, 0.4]] * 3), np.eye(3) > 0, candidates=(0.2, 1.0)) in (0.2, 1.0)
        True
    """
    shape = (None, None)
    reference = _logs("reference_log_probabilities", reference_log_probabilities, shape, "(n_models, n)")
    wanted = (len(reference), None)
    others = _logs("reference_population_log_probabilities", reference_population_log_probabilities, wanted,
                   f"one row per reference model: ({len(reference)}, Z)")  # fmt: skip
    members = membership("included", included, reference.shape)
    slopes = sorted({_slope(value, "candidates") for value in candidates}, reverse=True)
    if not slopes:
        raise ValueError("candidates is empty; pass for example candidates=(0.0, 0.5, 1.0).")
    areas: list[list[float]] = []
    for target, own in enumerate(members):
        apart = ~((members == own).all(axis=1) | (members != own).all(axis=1))
        if not apart.any() or own.all() or not own.any():
            continue
        found = []
        for slope in slopes:
            given = reference[target], reference[apart], others[target], others[apart]
            scores = rmia(*given, gamma=gamma, a=slope, included=members[apart])
            found.append(roc(scores[own], scores[~own]).auc)
        areas.append(found)
    if not areas:
        raise ValueError(
            "included leaves no reference model to tune on: the members of every model equal or complement those of "
            "all others, or are all records or none; train models of independent members."
        )
    return slopes[int(np.argmax(np.round(np.mean(areas, axis=0), 12)))]


def _slope(value: Any, name: str = "a") -> float:
    number = _validate.non_negative(**{name: value})
    if number > 1.0:
        raise ValueError(f"{name}={value!r} must lie in [0, 1]; pass 1 if nothing is known.")
    return number


def _logs(name: str, value: Any, shape: tuple[int | None, ...], what: str) -> FloatArray:
    """Finite logs of probabilities; rounding above 0 by 1e-6 is let pass."""
    array = finite_array(name, value, shape, what)
    if array.size and array.max() > 1e-6:
        raise ValueError(f"{name} holds {array.max()}, above 0: no log of a probability; pass numpy.log(probability).")
    return array


def _log_mean(logs: Float[Array, "m n"], mask: Bool[Array, "m n"]) -> Float[Array, " n"]:
    """Log of the mean over the models of a mask; minus infinity where there are none."""
    counts = mask.sum(axis=0)
    total = jax.nn.logsumexp(logs, axis=0, where=mask)
    return jnp.where(counts > 0, total - jnp.log(jnp.maximum(counts, 1)), -jnp.inf)


def _offline(logs: Float[Array, "m n"], seen: Bool[Array, "m n"], a: Float[Array, ""]) -> Float[Array, " n"]:
    """Log of ``((1 + a) p_out + 1 - a) / 2``."""
    inside = _log_mean(logs, seen)
    line = jnp.log(jnp.maximum((jnp.exp(inside) + a - 1.0) / jnp.where(a > 0.0, a, 1.0), 0.0))
    backwards = jnp.where(a == 1.0, inside, line)
    out = jnp.where(seen.all(axis=0), backwards, _log_mean(logs, ~seen))
    return jnp.logaddexp(jnp.log((1.0 + a) / 2.0) + out, jnp.log((1.0 - a) / 2.0))


@functools.partial(jax.jit, static_argnames=("mode",))
def _scores(
    mode: str,
    own: Float[Array, " n"],
    reference: Float[Array, "m n"],
    seen: Bool[Array, "m n"],
    population: Float[Array, " z"],
    others: Float[Array, "m z"],
    log_gamma: Float[Array, ""],
    a: Float[Array, ""],
) -> Float[Array, " n"]:
    """Share of the population beaten, by binary search among its sorted ratios."""
    if mode == "online":
        of_x, of_z = (_log_mean(logs, jnp.ones(logs.shape, bool)) for logs in (reference, others))
    else:
        of_x, of_z = _offline(reference, seen, a), _offline(others, jnp.zeros(others.shape, bool), a)
    beaten = jnp.searchsorted(jnp.sort(population - of_z), own - of_x - log_gamma, side="left")
    return beaten.astype(own.dtype) / population.shape[0]
