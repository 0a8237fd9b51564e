"""GAN-Leaks: how well the model can reproduce a record, by what the attacker may ask of it."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal, final

import numpy as np

from mace_jax import _validate
from mace_jax._random import as_seed
from mace_jax._types import DecodesNoise, FloatArray, Seed
from mace_jax.attacks._inputs import finite_records
from mace_jax.attacks._latent_search import PROPOSALS, Decode, draw_pool, refine
from mace_jax.neighbors import knn

__all__ = ["Access", "gan_leaks"]

Access = Literal["full_black_box", "partial_black_box", "white_box"]


@final
@dataclasses.dataclass(frozen=True)
class _Search:
    """Checked settings, the same for the model under attack and for the reference."""

    access: str
    n_samples: int
    restarts: int
    n_queries: int
    steps: int
    learning_rate: float
    prior_weight: float
    backend: Any
    seed: int


def gan_leaks(
    records: Any,
    *,
    synthetic: Any = None,
    generator: Any = None,
    access: Access = "full_black_box",
    reference_synthetic: Any = None,
    reference_generator: Any = None,
    latent_dim: int | None = None,
    n_samples: int = 10_000,
    restarts: int = 4,
    n_queries: int = 4_000,
    steps: int = 300,
    learning_rate: float = 0.05,
    prior_weight: float = 1e-3,
    backend: Any = "auto",
    seed: Seed = 0,
) -> FloatArray:
    """Score every record by minus the loss of the best reproduction R(x) that the attacker finds.

    ``s(x) = -L(x, R(x))`` with L the mean over columns of the squared difference. R(x) is

    * ``"full_black_box"``: the nearest of the samples given, or of ``n_samples`` from the generator. The score rises
      with their number: state it;
    * ``"partial_black_box"``: noise may be chosen, gradients are not to be had. From the ``restarts`` nearest of
      ``n_samples`` random starts, which all records share, steps of 8 Gaussian proposals follow; the step size grows
      after a success and shrinks after a failure. The budget is ``n_samples`` generated records for all, and
      ``n_queries`` more for each record under audit;
    * ``"white_box"``: from the same starts, ``steps`` steps of Adam on the noise.

    The search lowers ``L + prior_weight (|z|^2 - dim z)^2``, which keeps the noise z where the generator was trained;
    the score is of L alone, for the best noise met, so more access never scores lower than the samples it starts from.
    Every record is searched by itself. With a reference model, trained in the same way on other records, the score is
    **calibrated**: ``s(x) = L_reference(x) - L(x)``, which takes away that some records are easy for any model.

    Args:
        records: Records under audit, ``(n, d)``; bring columns to one scale. ``prior_weight`` is meant for columns of a
            spread of about 1.
        synthetic: Samples of the model, ``(s, d)``, for ``"full_black_box"``.
        generator: Instead of samples, a fitted model with ``decode_noise`` and ``latent_dim``, or a function from
            standard normal noise ``(n, latent_dim)`` to records ``(n, d)`` that JAX can trace, each row by itself.
        access: What the attacker may ask.
        reference_synthetic: As many samples of the reference model, beside ``synthetic``.
        reference_generator: The reference model, beside ``generator``.
        latent_dim: Length of the noise, if ``generator`` is a function.
        n_samples: Samples drawn from a generator.
        restarts: Starts per record.
        n_queries: Generated records per record under audit without gradients, over all its restarts; a remainder that
            does not make a step of 8 proposals for each restart is left unused.
        steps: Steps along gradients.
        learning_rate: Of these steps.
        prior_weight: Weight of the noise's distance from where it is drawn; 0 for none.
        backend: Search for the nearest sample, as in ``neighbors.knn``: exact, or a ``FaissBackend``.
        seed: Seeds noise and proposals; the same for model and reference, so that equal models cancel exactly.

    Returns:
        Scores ``(n,)``, higher = more member-like.

    Peak memory: ``8 n_samples d`` bytes of samples, and for 64 records at a time what the generator takes for
    ``64 restarts`` records (8 times as many without gradients).

    Raises:
        TypeError: an array is not numeric, or ``generator`` is neither a model nor a function.
        ValueError: NaN, columns that differ, neither or both of samples and generator, access that needs a generator,
            a reference of the other kind or of another number of samples, or a setting out of range.

    References:
        Chen et al. (2020), GAN-Leaks: A taxonomy of membership inference attacks against generative models. They use
        Powell's method without gradients and L-BFGS with them.

    Example:
        >>> gan_leaks([[0.0], [4.0]], synthetic=[[1.0], [4.5]]).tolist()
        [-1.0, -0.25]
        >>> gan_leaks([[0.0], [4.0]], synthetic=[[1.0], [4.5]], reference_synthetic=[[0.5], [2.0]]).tolist()
        [-0.75, 3.75]
    """
    values = finite_records("records", records)
    _validate.one_of(("full_black_box", "partial_black_box", "white_box"), access=access)
    search = _checked(access, n_samples, restarts, n_queries, steps, learning_rate, prior_weight, backend, seed)
    if (synthetic is None) == (generator is None):
        raise ValueError("pass either synthetic or generator, not both and not neither.")
    if generator is None and access != "full_black_box":
        raise ValueError(f"access={access!r} chooses the noise, which samples do not allow; pass generator.")
    given, other = ("synthetic", "reference_generator") if generator is None else ("generator", "reference_synthetic")
    if (reference_synthetic if generator is not None else reference_generator) is not None:
        raise ValueError(f"{other} does not go with {given}; pass reference_{given}.")
    if generator is not None:
        scores = 0.0 - _generator_loss("generator", values, generator, latent_dim, search)
        if reference_generator is None:
            return scores
        return scores + _generator_loss("reference_generator", values, reference_generator, latent_dim, search)
    samples = _samples("synthetic", values, synthetic)
    scores = 0.0 - _nearest(values, samples, search)
    if reference_synthetic is None:
        return scores
    others = _samples("reference_synthetic", values, reference_synthetic)
    if len(others) != len(samples):
        raise ValueError(
            f"reference_synthetic has {len(others)} rows but synthetic has {len(samples)}; the nearest of more samples "
            "is nearer, so pass the same number."
        )
    return scores + _nearest(values, others, search)


def _checked(access: str, *settings: Any) -> _Search:
    n_samples, restarts, n_queries, steps, learning_rate, prior_weight, backend, seed = settings
    n_samples = _validate.positive_int(n_samples=n_samples)
    restarts = _validate.positive_int(restarts=restarts)
    if restarts > n_samples:
        raise ValueError(f"restarts={restarts} exceeds n_samples={n_samples}, from which they are chosen; pass fewer.")
    n_queries = _validate.positive_int(n_queries=n_queries, minimum=PROPOSALS * restarts)
    steps = _validate.positive_int(steps=steps)
    if _validate.non_negative(learning_rate=learning_rate) == 0.0:
        raise ValueError("learning_rate=0 must be above 0; pass for example learning_rate=0.05.")
    weight = _validate.non_negative(prior_weight=prior_weight)
    return _Search(
        access, n_samples, restarts, n_queries, steps, float(learning_rate), weight, backend, as_seed(seed)
    )  # fmt: skip


def _samples(name: str, values: FloatArray, samples: Any) -> FloatArray:
    """Checked samples with the columns of the records."""
    array = finite_records(name, samples)
    _validate.same_features(**{"records": values, name: array})
    return array


def _nearest(values: FloatArray, samples: FloatArray, search: _Search) -> FloatArray:
    """Loss of the nearest sample."""
    return knn(values, samples, 1, backend=search.backend).squared_distances[:, 0] / values.shape[1]


def _generator_loss(name: str, values: FloatArray, model: Any, latent_dim: int | None, search: _Search) -> FloatArray:
    """Loss of the best reproduction by a generator."""
    decode, length = _decoder(name, model, latent_dim)
    noise, samples = draw_pool(decode, length, search.n_samples, search.seed)
    if samples.shape[1] != values.shape[1]:
        raise ValueError(f"{name} makes records of {samples.shape[1]} columns but records has {values.shape[1]}.")
    if search.access == "full_black_box":
        return _nearest(values, samples, search)
    found = knn(values, samples, search.restarts, backend=search.backend)
    gradients = search.access == "white_box"
    made = refine(
        decode,
        values,
        noise[found.indices],
        gradients=gradients,
        steps=search.steps if gradients else search.n_queries // (PROPOSALS * search.restarts),
        learning_rate=search.learning_rate,
        prior_weight=search.prior_weight,
        seed=search.seed,
    )
    reached = np.square(values - made).mean(axis=1)
    return np.minimum(reached, found.squared_distances[:, 0] / values.shape[1])


def _decoder(name: str, model: Any, latent_dim: int | None) -> tuple[Decode, int]:
    """A function of noise, and the noise's length."""
    if isinstance(model, DecodesNoise):
        if latent_dim is not None and latent_dim != model.latent_dim:
            raise ValueError(
                f"latent_dim={latent_dim} differs from {name}.latent_dim={model.latent_dim}; leave it out."
            )
        return model.decode_noise, _validate.positive_int(latent_dim=model.latent_dim)
    if not callable(model):
        raise TypeError(
            f"{name} is a {type(model).__name__} without decode_noise(noise) and latent_dim; "
            "pass a model that has them or a function of noise."
        )
    if latent_dim is None:
        raise ValueError(f"latent_dim is needed where {name} is a function; pass the length of its noise.")
    return model, _validate.positive_int(latent_dim=latent_dim)
