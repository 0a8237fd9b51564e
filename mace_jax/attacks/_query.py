"""Any attack as a query, so that its scores are estimated, certified and combined like those of all others."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, final

from mace_jax._types import FloatArray, Seed
from mace_jax.attacks._domias import domias
from mace_jax.attacks._gan_leaks import gan_leaks
from mace_jax.attacks._logan import logan_black_box
from mace_jax.attacks._monte_carlo import monte_carlo
from mace_jax.queries import AbstractQuery
from mace_jax.queries._base import model_output, query_records

__all__ = ["AttackQuery"]

_KNOWN: dict[Callable[..., Any], tuple[str, str]] = {
    domias: ("How much denser the model's records are around the record than real ones.", "van Breugel et al. (2023)"),
    gan_leaks: ("How closely the model can be brought to reproduce the record.", "Chen et al. (2020)"),
    logan_black_box: (
        "How real the record looks to a discriminator that was trained on the model's records.",
        "Hayes et al. (2019)",
    ),
    monte_carlo: ("How many of the model's records lie close to the record, and how close.", "Hilprecht et al. (2019)"),
}
_SIDE = {domias: ("synthetic", "reference"), monte_carlo: ("synthetic",), logan_black_box: ("synthetic",)}


@final
@dataclasses.dataclass(frozen=True, eq=False, init=False, repr=False)
class AttackQuery(AbstractQuery):
    """An attack with all of its arguments but the records.

    Args:
        attack: ``domias``, ``gan_leaks``, ``logan_black_box`` or ``monte_carlo``.
        settings: The attack's other arguments, by name. A ``seed`` among them stays; otherwise the query's is passed.

    Each call works on its records alone, so members and non-members may be asked about in turn. Where an attack fits
    something first (a density, a local GAN), every call fits it again, in the same way if ``seed`` is set.

    Raises:
        TypeError: ``attack`` is not one of those.
        ValueError: an argument that the attack needs is missing, or one that would make a record's score depend on the
            other records: Monte Carlo's median or quantile radius. Pass a number: see there.

    Example:
        >>> from mace_jax.attacks import gan_leaks
        >>> AttackQuery(gan_leaks, synthetic=[[1.0], [4.5]])([[0.0], [4.0]], seed=0).ravel().tolist()
        [-1.0, -0.25]
    """

    attack: Callable[..., Any]
    settings: dict[str, Any]

    def __init__(self, attack: Callable[..., Any], **settings: Any) -> None:
        if attack not in _KNOWN:
            names = ", ".join(known.__name__ for known in _KNOWN)
            raise TypeError(f"attack={attack!r} is not one of {names}; pass one of these functions.")
        missing = [name for name in _SIDE.get(attack, ()) if name not in settings]
        if missing:
            raise ValueError(f"{attack.__name__} needs {', '.join(missing)}; pass it by name.")
        if attack is monte_carlo and settings.get("kind", "count") != "nearest":
            if isinstance(settings.get("radius", "median"), str) or settings.get("quantile") is not None:
                raise ValueError(
                    "monte_carlo sets its radius from the records under audit unless radius is a number; pass for "
                    "example the median distance of other records to their nearest sample (kind='nearest')."
                )
        object.__setattr__(self, "attack", attack)
        object.__setattr__(self, "settings", dict(settings))

    @property
    def name(self) -> str:
        variant = [self.settings[name] for name in ("access", "kind", "setting") if name in self.settings]
        words = [self.attack.__name__, *(part if isinstance(part, str) else "+".join(part) for part in variant)]
        return " ".join(words).replace("_", " ")

    @property
    def description(self) -> str:
        return _KNOWN[self.attack][0]

    @property
    def source(self) -> str:
        return _KNOWN[self.attack][1]

    def __call__(self, records: Any, *, seed: Seed) -> FloatArray:
        values = query_records(records)
        own = {} if self.attack is domias else {"seed": seed}
        return model_output(self.attack(values, **{**own, **self.settings}), len(values), self, self.attack.__name__)

    def __repr__(self) -> str:
        return f"AttackQuery({self.attack.__name__}, {', '.join(sorted(self.settings))})"
