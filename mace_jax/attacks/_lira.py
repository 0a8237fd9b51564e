"""LiRA: how likely a target's signal is among shadow models that saw the record, and among those that did not."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any, Literal, final, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float
from numpy.typing import NDArray

from mace_jax import _validate
from mace_jax._types import FloatArray
from mace_jax.attacks._shadow_inputs import finite_array, independent, membership

__all__ = ["LiraScores", "lira"]

Mode = Literal["online", "offline"]
Offline = Literal["cdf", "density"]
Variance = Literal["fixed", "per_record", "auto"]


@final
@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class LiraScores:
    """Scores of the likelihood ratio attack; ``numpy.asarray`` takes it for its ``scores``.

    Attributes:
        scores: ``(n,)``, higher = more member-like.
        few_models: ``(n,)``, where fewer than two models on a side that is used left the record without a spread of
            its own: it has the global one, whatever ``variance`` asks for.
        floored: ``(n,)``, where a spread was below ``sd_floor`` and was raised to it.
        spread_in: ``(a,)``, the global standard deviation of residuals of IN models; NaN offline, which uses none.
        spread_out: ``(a,)``, that of OUT models.
        settings: Mode, variance and the like.
    """

    scores: FloatArray
    few_models: NDArray[np.bool_]
    floored: NDArray[np.bool_]
    spread_in: FloatArray
    spread_out: FloatArray
    settings: dict[str, Any]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.array(self.scores, dtype=dtype, copy=True if copy is None else copy)

    def __len__(self) -> int:
        return len(self.scores)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader must know, as sentences."""
        found = []
        if self.few_models.any():
            found.append(
                f"{int(self.few_models.sum())} records have fewer than two shadow models on a side; "
                "they were given the global spread."
            )
        if self.floored.any():
            found.append(
                f"{int(self.floored.sum())} records have a spread below {self.settings['sd_floor']:g}; "
                "it was raised to that."
            )
        return tuple(found)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {
            "scores": self.scores.tolist(),
            "few_models": self.few_models.tolist(),
            "floored": self.floored.tolist(),
            "spread_in": [None if np.isnan(value) else float(value) for value in self.spread_in],
            "spread_out": self.spread_out.tolist(),
            "notes": list(self.notes),
            **self.settings,
        }

    def __repr__(self) -> str:
        return f"LiraScores(n={len(self)}, {self.settings['mode']}, variance={self.settings['variance']!r})"


def lira(
    signals: Any,
    shadow_signals: Any,
    included: Any,
    *,
    mode: Mode = "online",
    offline: Offline = "cdf",
    variance: Variance = "fixed",
    auto_count: int = 32,
    sd_floor: float = 1e-6,
    target_included: Any = None,
) -> LiraScores:
    """Score every record by the likelihood ratio of its signal under models that saw it and under models that did not.

    With ``mu`` the median and ``sd`` the spread of a record's signal over IN or OUT shadow models, ``phi`` that of the
    target, and a mean over augmentations:

    * ``"online"``: ``ln N(phi; mu_in, sd_in) - ln N(phi; mu_out, sd_out)``;
    * ``"offline"``, which needs OUT models alone: ``-ln(1 - Phi((phi - mu_out) / sd_out))`` (``"cdf"``), minus the log
      of a one-sided p-value, which ranks as Phi does but never rounds to its end; or ``-ln N(phi; mu_out, sd_out)``
      (``"density"``), which takes a signal far *below* the median for a member's, too.

    ``variance`` says where ``sd`` comes from: ``"per_record"`` is ``sqrt(sum (phi_m - mean)^2 / (k - 1))`` over a
    record's k models of the side; ``"fixed"`` pools these sums over all records of the side, IN and OUT apart, each
    augmentation for itself, and divides by ``sum (k - 1)``: with few models it is less noisy; ``"auto"`` is
    ``"per_record"`` on a side with ``auto_count`` models or more and ``"fixed"`` elsewhere.

    The shadow models must not know the target: its own signals must not be among theirs, and no shadow model may have
    the target's members or exactly its non-members, as the other half of a split has. Where a target is taken out of a
    balanced design, the number of IN models left tells its members: train it apart.

    Args:
        signals: The target's signals, ``(n,)`` or ``(n, a)`` for a augmented copies of each record; by convention
            rescaled logits, which are about normal.
        shadow_signals: The same of shadow models, ``(n_models, n)`` or ``(n_models, n, a)``.
        included: Whether a record is a member of a shadow model, ``(n_models, n)``.
        mode: ``"online"`` or ``"offline"``.
        offline: Form of the offline score.
        variance: Where the spread comes from.
        auto_count: Models on a side for a spread per record under ``variance="auto"``, at least 2.
        sd_floor: Smallest spread, in the units of the signals.
        target_included: The target's members, ``(n,)``, to check the design; not used in scoring.

    Returns:
        ``LiraScores``; computed in float64.

    Memory: a few copies of ``shadow_signals``.

    Raises:
        TypeError: arrays that are not numeric, or memberships that are not truth values.
        ValueError: shapes that do not fit, NaN, a record without any model on a side that is used, no record with two,
            or a shadow model that gives the target's members away.

    References:
        Carlini et al. (2022), Membership inference attacks from first principles.

    Example:
        >>> shadow, included = [[3.0], [5.0], [0.0], [2.0]], [[True], [True], [False], [False]]
        >>> round(float(lira([4.0], shadow, included).scores[0]), 6)  # N(4, 2) against N(1, 2), in variances
        2.25
    """
    _validate.one_of(get_args(Mode), mode=mode)
    _validate.one_of(get_args(Offline), offline=offline)
    _validate.one_of(get_args(Variance), variance=variance)
    auto_count = _validate.positive_int(auto_count=auto_count, minimum=2)
    if not (floor := _validate.non_negative(sd_floor=sd_floor)):
        raise ValueError("sd_floor=0 must be above 0; pass for example sd_floor=1e-6.")
    own, shadow, members = _arrays(signals, shadow_signals, included)
    if target_included is not None:
        independent(membership("target_included", target_included, own.shape[:1]), members, "shadow model")
    sides = {"out": ~members} if mode == "offline" else {"in": members, "out": ~members}
    few = np.zeros(len(own), bool)
    for side, mask in sides.items():
        few |= _enough(side, mask.sum(axis=0))
    least = {"fixed": np.inf, "per_record": 2.0, "auto": float(auto_count)}[variance]
    with jax.enable_x64(True):
        found = {side: _normals(shadow, mask, least, floor) for side, mask in sides.items()}
        kind = "online" if mode == "online" else offline
        scores = np.asarray(_scores(kind, own, *(found[side][:2] for side in ("in", "out") if side in found)))
    floored = np.any([np.asarray(each[3]) for each in found.values()], axis=0)
    spread = {side: np.asarray(each[2]) for side, each in found.items()}
    settings = {"mode": mode, "offline": offline, "variance": variance, "auto_count": auto_count, "sd_floor": floor}
    nothing = np.full(own.shape[1], np.nan)
    return LiraScores(scores, few, floored, spread.get("in", nothing), spread["out"], settings)


def _arrays(signals: Any, shadow_signals: Any, included: Any) -> tuple[FloatArray, FloatArray, NDArray[np.bool_]]:
    """Signals ``(n, a)``, those of shadow models ``(m, n, a)`` and their members ``(m, n)``."""
    many = np.ndim(signals) == 2
    shape = (None, None) if many else (None,)
    what = "the target's signals: (n,), or (n, augmentations)"
    own = finite_array("signals", signals, shape, what)
    what = f"one row per shadow model, each of shape {own.shape} as signals"
    shadow = finite_array("shadow_signals", shadow_signals, (None, *own.shape), what)
    members = membership("included", included, shadow.shape[:2])
    return (own, shadow, members) if many else (own[:, None], shadow[..., None], members)


def _enough(side: str, counts: NDArray[Any]) -> NDArray[np.bool_]:
    """Which records have fewer than two models on a side; none at all is an error, as is no record with two."""
    name = side.upper()
    if (counts == 0).any():
        other = "mode='offline', which needs none, or " if side == "in" else ""
        missing = np.flatnonzero(counts == 0)
        raise ValueError(
            f"{len(missing)} records have no {name} shadow model, first record {missing[0]}; "
            f"pass {other}more shadow models, or leave these records out."
        )
    if counts.max() < 2:
        raise ValueError(f"no record has two {name} shadow models, so there is no spread; pass more shadow models.")
    return counts < 2


@jax.jit
def _normals(
    shadow: Float[Array, "m n a"], mask: Bool[Array, "m n"], least: Float[Array, ""], floor: Float[Array, ""]
) -> tuple[Float[Array, "n a"], Float[Array, "n a"], Float[Array, " a"], Bool[Array, " n"]]:
    """Center and spread of every record over the models of a mask, the pooled spread, and where the floor was used."""
    counts = mask.sum(axis=0)[:, None]
    ranked = jnp.sort(jnp.where(mask[..., None], shadow, jnp.inf), axis=0)
    low, high = ((counts - 1) // 2)[None], (counts // 2)[None]
    center = (jnp.take_along_axis(ranked, low, axis=0) + jnp.take_along_axis(ranked, high, axis=0))[0] / 2.0
    mean = jnp.sum(shadow, axis=0, where=mask[..., None]) / counts
    squares = jnp.sum((shadow - mean) ** 2, axis=0, where=mask[..., None])
    pooled = jnp.sqrt(squares.sum(axis=0) / jnp.sum(counts - 1))
    single = jnp.sqrt(squares / jnp.maximum(counts - 1, 1))
    spread = jnp.where(counts >= least, single, pooled)
    return center, jnp.maximum(spread, floor), pooled, jnp.any(spread < floor, axis=1)


@functools.partial(jax.jit, static_argnames=("kind",))
def _scores(
    kind: str, signals: Float[Array, "n a"], *normals: tuple[Float[Array, "n a"], Float[Array, "n a"]]
) -> Float[Array, " n"]:
    """Mean over augmentations of the score by centers and spreads, those of OUT models last."""
    center, spread = normals[-1]
    if kind == "cdf":
        return jnp.mean(-_log_normal_cdf((center - signals) / spread), axis=1)
    out = jax.scipy.stats.norm.logpdf(signals, center, spread)
    if kind == "density":
        return jnp.mean(-out, axis=1)
    return jnp.mean(jax.scipy.stats.norm.logpdf(signals, *normals[0]) - out, axis=1)


def _log_normal_cdf(z: Float[Array, "n a"]) -> Float[Array, "n a"]:
    """``ln Phi(z)`` to rounding on both sides; JAX's own loses its digits above 5."""
    above = jnp.log1p(-jax.scipy.special.ndtr(-jnp.maximum(z, 0.0)))
    return jnp.where(z > 0.0, above, jax.scipy.special.log_ndtr(jnp.minimum(z, 0.0)))
