"""LOGAN without access to the model: a local discriminator, trained on what the model gives out."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from mace_jax import _validate
from mace_jax._random import as_seed
from mace_jax._types import DiscriminatorScores, FloatArray, Seed
from mace_jax.attacks._inputs import disjoint, finite_records
from mace_jax.attacks._local_classifier import fit_classifier

__all__ = ["Setting", "logan_black_box", "logan_local_model"]

Setting = Literal["generative", "discriminative"]


def logan_black_box(
    records: Any,
    synthetic: Any,
    *,
    setting: Setting = "generative",
    known_members: Any = None,
    known_nonmembers: Any = None,
    local: Any = None,
    hidden: tuple[int, ...] = (256, 256),
    batch_size: int = 128,
    learning_rate: float = 1e-3,
    steps: int = 10_000,
    seed: Seed = 0,
) -> FloatArray:
    """Score every record by the logit of a discriminator that the attacker trains on the model's samples.

    * ``"generative"``: a local GAN takes the samples, and known members, for its training records; ``s(x)`` is the
      logit of its discriminator D. This needs no knowledge beyond the samples. Known non-members, if there are any,
      add ``BCE(D(known non-member), 0)`` to the loss of D.
    * ``"discriminative"``: a classifier tells the samples, and known members, from known non-members, whose knowledge
      is what helps. Half of each batch is drawn from either side. ``s(x)`` is its logit.

    Training ends after ``steps`` steps, whatever the scores: a rule that looked at the records under audit would leak
    their membership. A local GAN trained too briefly can score members *below* non-members. The scores are of one run:
    pass members and non-members in one call, or build the local model once by ``logan_local_model``.

    Args:
        records: Records under audit, ``(n, d)``.
        synthetic: Samples of the model, ``(s, d)``; the more the better.
        setting: What the attacker trains.
        known_members: Training records that the attacker knows; none of those under audit.
        known_nonmembers: Other records that the attacker knows; ``"discriminative"`` needs them.
        local: For ``"generative"``: settings with ``fit(records, *, steps, seed)`` whose result has
            ``discriminator_score(records)``; by default ``models.GAN()``. With known non-members it must be a ``GAN``.
        hidden: For ``"discriminative"``: widths of the classifier's hidden layers.
        batch_size: For ``"discriminative"``: records per step.
        learning_rate: For ``"discriminative"``: Adam's step size.
        steps: Training steps of the local model.
        seed: Seeds the local model.

    Returns:
        Scores ``(n,)``, higher = more member-like; given the local model, each depends on its record alone.

    Raises:
        TypeError: an array is not numeric, or ``local`` cannot be fitted or does not score.
        ValueError: NaN, different numbers of columns, known records among those under audit, known non-members missing,
            or a setting out of range.

    References:
        Hayes et al. (2019), LOGAN: Membership inference attacks against generative models.

    Example:
        >>> synthetic, others = [[0.0], [0.1], [0.2]], [[1.0], [1.1], [1.2]]
        >>> scores = logan_black_box([[0.15], [1.05]], synthetic, setting="discriminative",
        ...                          known_nonmembers=others, hidden=(8,), steps=200)
        >>> bool(scores[0] > scores[1])
        True
    """
    values = finite_records("records", records)
    known = {
        name: finite_records(name, part)
        for name, part in (("known_members", known_members), ("known_nonmembers", known_nonmembers))
        if part is not None
    }
    disjoint(values, **known)
    samples = finite_records("synthetic", synthetic)
    _validate.same_features(records=values, synthetic=samples)
    options = {"hidden": hidden, "batch_size": batch_size, "learning_rate": learning_rate}
    model = logan_local_model(samples, setting=setting, local=local, steps=steps, seed=seed, **known, **options)
    scores = np.asarray(model.discriminator_score(values), np.float64)
    if scores.shape != (len(values),) or not np.isfinite(scores).all():
        raise ValueError(
            f"the local model gave scores of shape {scores.shape} for {len(values)} records, or scores that are not "
            "finite; pass a local whose discriminator_score returns one finite number per record."
        )
    return scores


def logan_local_model(
    synthetic: Any,
    *,
    setting: Setting = "generative",
    known_members: Any = None,
    known_nonmembers: Any = None,
    local: Any = None,
    hidden: tuple[int, ...] = (256, 256),
    batch_size: int = 128,
    learning_rate: float = 1e-3,
    steps: int = 10_000,
    seed: Seed = 0,
) -> DiscriminatorScores:
    """The local model behind ``logan_black_box``, to be asked as often as needed, as by ``queries.DiscriminatorScore``.

    Args:
        synthetic: Samples of the model, ``(s, d)``.
        setting: As in ``logan_black_box``, like all others.
        known_members: See there.
        known_nonmembers: See there.
        local: See there.
        hidden: See there.
        batch_size: See there.
        learning_rate: See there.
        steps: See there.
        seed: See there.

    Returns:
        An object with ``discriminator_score(records)``.

    Raises:
        TypeError: as ``logan_black_box``.
        ValueError: as ``logan_black_box``.

    References:
        Hayes et al. (2019), LOGAN: Membership inference attacks against generative models.

    Example:
        >>> logan_local_model([[0.0], [1.0]], setting="discriminative", known_nonmembers=[[5.0]], steps=1)
        LocalClassifier(features=1)
    """
    _validate.one_of(("generative", "discriminative"), setting=setting)
    steps, seed = _validate.positive_int(steps=steps), as_seed(seed)
    positives = finite_records("synthetic", synthetic)
    if known_members is not None:
        members = finite_records("known_members", known_members)
        _validate.same_features(synthetic=positives, known_members=members)
        positives = np.concatenate([positives, members])
    if setting == "discriminative":
        if known_nonmembers is None or local is not None:
            raise ValueError("setting='discriminative' needs known_nonmembers, and trains no local: leave that out.")
        negatives = finite_records("known_nonmembers", known_nonmembers)
        _validate.same_features(synthetic=positives, known_nonmembers=negatives)
        batch_size = _validate.positive_int(batch_size=batch_size, minimum=2)
        if _validate.non_negative(learning_rate=learning_rate) == 0.0:
            raise ValueError("learning_rate=0 must be above 0; pass for example learning_rate=1e-3.")
        rate = float(learning_rate)
        return fit_classifier(
            positives, negatives, hidden=hidden, steps=steps, batch_size=batch_size, learning_rate=rate, seed=seed
        )
    return _local_gan(local, positives, known_nonmembers, steps, seed)


def _local_gan(local: Any, positives: FloatArray, known_nonmembers: Any, steps: int, seed: int) -> DiscriminatorScores:
    """A GAN of the samples, by default one of the package."""
    if local is None or known_nonmembers is not None:
        from mace_jax.models import GAN

        local = GAN() if local is None else local
        if known_nonmembers is not None:
            if not isinstance(local, GAN):
                raise TypeError(f"local={local!r} cannot learn from known_nonmembers; pass settings of models.GAN.")
            from mace_jax.models.against_known import fit_against_known

            negatives = finite_records("known_nonmembers", known_nonmembers)
            _validate.same_features(synthetic=positives, known_nonmembers=negatives)
            return fit_against_known(local, positives, negatives, steps=steps, seed=seed)
    if not callable(getattr(local, "fit", None)):
        raise TypeError(f"local={local!r} has no fit(records, *, steps, seed); pass settings such as models.GAN().")
    model = local.fit(positives, steps=steps, seed=seed)
    if not isinstance(model, DiscriminatorScores):
        raise TypeError(f"local gave a {type(model).__name__} without discriminator_score(records); pass a GAN.")
    return model
