"""Every attack on one generative model: scores of the records under audit, by what the attacker may use."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from mace_jax._types import DiscriminatorScores, FloatArray, ReconstructionErrors
from mace_jax.attacks import (
    NeighborDensity,
    OrientedGradients,
    PrincipalComponents,
    discriminator_score,
    domias,
    gan_leaks,
    logan_black_box,
    monte_carlo,
    nearest_synthetic,
    reconstruction_error,
)
from mace_jax.attacks._flow_density import FlowDensity
from mace_jax.reproduce._decoders import decoders
from mace_jax.reproduce._kept import digest, kept
from mace_jax.reproduce._run import Run

__all__ = ["Budget", "Side", "Victim", "every_attack"]


class Budget(NamedTuple):
    """How hard the attacker tries. Nothing here looks at membership."""

    n_components: int = 40
    n_density_components: int = 10
    restarts: int = 2
    n_queries: int = 1_000
    search_steps: int = 200
    classifier_steps: int = 2_000
    flow_steps: int = 2_000


class Victim(NamedTuple):
    """A model, or only what it released, and its samples; beside it a model of the same kind of other records."""

    name: str
    model: Any
    synthetic: FloatArray
    other: Any
    other_synthetic: FloatArray


class Side(NamedTuple):
    """What the attacker knows besides: records that are neither members nor under audit, and settings of a GAN."""

    reference: FloatArray
    image_shape: tuple[int, int, int]
    local: Any
    local_steps: int


def every_attack(
    run: Run, victim: Victim, side: Side, records: FloatArray, *, budget: Budget, seed: int
) -> dict[str, FloatArray]:
    """Scores ``(n,)`` of each attack that this model allows, in a fixed order; higher = more member-like."""
    inputs = digest(records, side.reference, victim.synthetic, victim.other_synthetic, budget, side[1:], seed)
    made = {}
    for name, make in _attacks(run, victim, side, records, budget, seed):
        made[name] = kept(run, f"{victim.name} seed {seed} {name}", inputs, lambda make=make: {"scores": make()})[
            "scores"
        ]
    return made


def _attacks(
    run: Run, victim: Victim, side: Side, records: FloatArray, budget: Budget, seed: int
) -> Iterator[tuple[str, Callable[[], FloatArray]]]:
    synthetic, reference = victim.synthetic, side.reference
    yield "nearest synthetic record", lambda: nearest_synthetic(records, synthetic)
    maps = {
        f"PCA {budget.n_components}": lambda: PrincipalComponents.fit(reference, budget.n_components),
        "HOG": lambda: OrientedGradients(side.image_shape, cell=min(9, side.image_shape[0] // 2)),
    }
    for name, features in maps.items():
        yield f"Monte Carlo, {name}", functools.partial(_monte_carlo, records, synthetic, reference, features)
    yield "GAN-Leaks full black box", lambda: gan_leaks(records, synthetic=synthetic)
    yield (
        "GAN-Leaks full black box, calibrated",
        lambda: gan_leaks(records, synthetic=synthetic, reference_synthetic=victim.other_synthetic),
    )
    if decoders(victim.model):
        search = functools.partial(_searched, records, budget=budget, n_samples=len(synthetic), seed=seed)
        yield "GAN-Leaks partial black box", lambda: search(victim.model, access="partial_black_box")
        yield "GAN-Leaks white box", lambda: search(victim.model, access="white_box")
        yield (
            "GAN-Leaks white box, calibrated",
            lambda: search(victim.model, access="white_box") - search(victim.other, access="white_box"),
        )
    densities = {
        "kernels": lambda: "kde",
        "neighbors": lambda: NeighborDensity(),
        "flow": lambda: FlowDensity(steps=budget.flow_steps, seed=seed),
    }
    for name, density in densities.items():
        yield f"DOMIAS, {name}", functools.partial(_domias, records, synthetic, reference, budget, density)
    yield (
        "LOGAN black box, known non-members",
        lambda: logan_black_box(
            records,
            synthetic,
            setting="discriminative",
            known_nonmembers=reference,
            steps=budget.classifier_steps,
            seed=seed,
        ),
    )
    yield "LOGAN black box, local GAN", functools.partial(_local, run, victim, side, records, seed)
    if isinstance(victim.model, DiscriminatorScores):
        yield "LOGAN white box", lambda: discriminator_score(records, victim.model)
    if isinstance(victim.model, ReconstructionErrors):
        yield "reconstruction", lambda: reconstruction_error(records, victim.model, seed=seed)


def _monte_carlo(
    records: FloatArray, synthetic: FloatArray, reference: FloatArray, features: Callable[[], Any]
) -> FloatArray:
    """The median heuristic of records the attacker owns, so that a score does not depend on who else is asked about."""
    mapped = features()
    near = monte_carlo(reference, synthetic, kind="nearest", features=mapped)
    return monte_carlo(records, synthetic, kind="log", radius=-float(np.median(near)), features=mapped)


def _searched(records: FloatArray, model: Any, *, access: Any, budget: Budget, n_samples: int, seed: int) -> FloatArray:
    """The best reproduction by any of the model's generators."""
    found = [
        gan_leaks(
            records,
            generator=decode,
            latent_dim=latent_dim,
            access=access,
            n_samples=n_samples,
            restarts=budget.restarts,
            n_queries=budget.n_queries,
            steps=budget.search_steps,
            seed=seed,
        )
        for decode, latent_dim in decoders(model)
    ]
    return np.max(found, axis=0)


def _domias(
    records: FloatArray, synthetic: FloatArray, reference: FloatArray, budget: Budget, density: Callable[[], Any]
) -> FloatArray:
    """In a few principal components of the reference, where a density can be estimated from so few records."""
    project = PrincipalComponents.fit(reference, budget.n_density_components)
    return domias(project(records), project(synthetic), project(reference), density=density())


def _local(run: Run, victim: Victim, side: Side, records: FloatArray, seed: int) -> FloatArray:
    """The discriminator of a GAN that the attacker trains on the samples, for a fixed number of steps."""
    name = f"{victim.name} local GAN"
    model = run.fitted(name.replace(" ", "-"), side.local, victim.synthetic, steps=side.local_steps, seed=seed)
    return discriminator_score(records, model)
