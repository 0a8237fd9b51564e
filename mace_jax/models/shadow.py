"""Shadow models: many small classifiers of known members, trained at once, for attacks on a model like them."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, Self, final

import jax
import numpy as np
from numpy.typing import NDArray

from mace_jax import _random, _validate
from mace_jax._progress import open_stages
from mace_jax._types import FloatArray, Seed
from mace_jax.models import _files, _settings, _shadow_cache
from mace_jax.models._base import AbstractPlain
from mace_jax.models._shadow_design import balanced_membership, checked_membership
from mace_jax.models._shadow_groups import Group, groups_of, train_groups
from mace_jax.models._shadow_network import ACTIVATIONS, Output, ShadowTrainer, evaluate
from mace_jax.models.encoding import Labels, Scaling, ScalingKind
from mace_jax.models.train import float32

__all__ = ["FittedShadowModels", "ShadowModels"]

_BLOCK = 1024


@final
@dataclasses.dataclass(frozen=True)
class ShadowModels(AbstractPlain):
    """Settings of classifiers (multilayer perceptrons) that differ in their members and in their randomness alone.

    Each minimizes the mean cross-entropy of its members by AdamW; a batch is drawn with replacement. The model under
    attack should be of the same kind: fit it by the same settings, with ``included`` saying who its members are.

    Args:
        hidden: Widths of the hidden layers; ``()`` for a linear classifier.
        activation: ``"relu"``, ``"tanh"``, ``"gelu"`` or ``"silu"``.
        steps: Updates of each model.
        batch_size: Records per update.
        learning_rate: Step size of Adam.
        weight_decay: Decoupled decay of the weights, times the learning rate per step.
        fraction: Share of the models that a record is a member of, in (0, 1).
        scaling: ``"per_column"`` scales each column by its own range (tables), ``"common"`` all by one (images).

    Raises:
        TypeError: a setting is of the wrong type.
        ValueError: a setting is out of range.

    References:
        Shokri et al. (2017), Membership inference attacks against machine learning models. Carlini et al. (2022),
        Membership inference attacks from first principles.

    Example:
        >>> settings = ShadowModels(hidden=(4,), steps=5)
        >>> fitted = settings.fit([[0.0], [1.0], [2.0], [3.0]], [0, 0, 1, 1], n_models=4, seed=0)
        >>> fitted.included.sum(axis=0).tolist(), fitted.signal([[0.5]], [0]).shape
        ([2, 2, 2, 2], (4, 1))
    """

    hidden: tuple[int, ...] = (64,)
    activation: Literal["relu", "tanh", "gelu", "silu"] = "relu"
    steps: int = 1_000
    batch_size: int = 64
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    fraction: float = 0.5
    scaling: ScalingKind = "per_column"

    def __post_init__(self) -> None:
        """Check every setting; lists become tuples."""
        _settings.widths(self, "hidden")
        _settings.choice("activation", self.activation, tuple(ACTIVATIONS))
        _settings.choice("scaling", self.scaling, ("per_column", "common"))
        for name in ("steps", "batch_size"):
            _validate.positive_int(**{name: getattr(self, name)})
        _settings.positive(learning_rate=self.learning_rate)
        _validate.non_negative(weight_decay=self.weight_decay)
        _validate.in_open_unit(fraction=self.fraction)

    def fit(
        self,
        records: Any,
        labels: Any,
        *,
        n_models: int | None = None,
        seed: Seed,
        included: Any = None,
        progress: bool | Callable[[str, float], None] = False,
        checkpoint_dir: str | os.PathLike[str] | None = None,
        memory_bytes: int = 2**30,
        models_at_once: int | None = None,
        first_model: int = 0,
    ) -> FittedShadowModels:
        """Train ``n_models`` classifiers; the same seed gives the same models, however they are grouped.

        Models are mapped over by ``jax.vmap`` inside one compiled loop. The records are on the device once; a model
        gets row numbers of its batches. Model i's randomness depends on the seed and on i alone. On a processor, a
        group of models is trained on each core at the same time.

        Args:
            records: Pool of records ``(n, d)``, in any range; images are flattened. All models scale by its range.
            labels: One integer or string per record.
            n_models: Number of models; may be left out where ``included`` is given.
            seed: Seeds members, initial weights and every batch.
            included: Who is a member of which model, ``(n_models, n)`` truth values; by default every record is a
                member of ``fraction`` of the models, exactly so where that is a whole number of models.
            progress: Show a bar, if standard error is a terminal; or a function of stage and fraction done.
            checkpoint_dir: Keep each finished group here, one file per model. A run with the same arguments reads
                them back and trains only the others.
            memory_bytes: Device memory for training, beside the records: decides how many models train at once. Each
                takes 20 bytes per weight, and per record of a batch 1,000 bytes and 8 per unit of its layers.
            models_at_once: Models per group, instead of what memory and processor suggest.
            first_model: Number of the first model, for ``included`` with some rows of a larger design: on several
                machines these rows give the models that one machine would train.

        Returns:
            The fitted models.

        Raises:
            TypeError: records, labels or ``included`` are not usable.
            ValueError: fewer than 2 records or classes, NaN, no number of models, memory for less than one model, or
                a checkpoint of another run.
            FloatingPointError: the loss of a model became infinite or NaN.
        """
        values = _validate.finite(records=_validate.min_rows(2, records=_validate.as_records(records=records)))
        if labels is None:
            raise ValueError("labels=None; pass one integer or string per record: shadow models are classifiers.")
        coding, one_hot = Labels.fit(labels, len(values))
        if len(coding) < 2:
            raise ValueError(f"labels holds {coding.values[0]!r} alone; classifiers need at least 2 classes.")
        if n_models is None and included is None:
            raise ValueError("n_models=None; pass how many models to train, or included with one row per model.")
        count = None if n_models is None else _validate.positive_int(n_models=n_models)
        number = _random.as_seed(seed)
        memory_bytes = _validate.positive_int(memory_bytes=memory_bytes)
        if models_at_once is not None:
            models_at_once = _validate.positive_int(models_at_once=models_at_once)
        if included is None:
            members = balanced_membership(count or 1, len(values), self.fraction, number)
        else:
            members = included
        members = checked_membership(members, count, len(values))
        first_model = _validate.positive_int(first_model=first_model, minimum=0)
        scaling = Scaling.fit(values, self.scaling)
        unit, classes = scaling.to_unit(values), one_hot.argmax(axis=1).astype(np.int32)
        trainer = ShadowTrainer(self, unit.shape[1], len(coding))
        cache = _shadow_cache.open_cache(checkpoint_dir, self.to_dict(), number, first_model, unit, classes, members)
        kept = cache.read(len(members))
        missing = [model for model in range(len(members)) if model not in kept]
        groups = groups_of(missing, trainer, memory_bytes, models_at_once)
        total, made = max(1, len(members) * self.steps), len(kept) * self.steps

        def done(group: Group) -> None:
            kept.update(cache.keep(group))

        with open_stages(progress) as stages, stages.stage(f"Training {len(members)} shadow models") as report:

            def advanced(updates: int) -> None:
                nonlocal made
                made += updates
                report(made / total)

            train_groups(trainer, unit, classes, members, number, first_model, groups, done, advanced)
        weights, losses = zip(*(kept[model] for model in range(len(members))), strict=True)
        parameters = jax.tree.map(lambda *leaves: np.stack(leaves), *weights)
        return FittedShadowModels(self, parameters, scaling, coding, members, number, np.stack(losses))


@final
@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class FittedShadowModels:
    """Trained classifiers and who their members are.

    ``included`` is ``(n_models, n)`` for the records of ``fit``; ``losses`` ``(n_models, calls)`` has the mean training
    loss of every 250 steps; leaves of ``parameters`` are ``(n_models, ...)``.
    """

    settings: ShadowModels
    parameters: dict[str, Any]
    scaling: Scaling
    labels: Labels
    included: NDArray[np.bool_]
    seed: int
    losses: FloatArray

    @property
    def n_models(self) -> int:
        """Number of models."""
        return len(self.included)

    def signal(self, records: Any, labels: Any) -> FloatArray:
        """Rescaled logit ``ln p_y - ln(1 - p_y)`` of each record's label under each model.

        From logits, ``z_y - logsumexp of the others``: exact where the softmax saturates. One model at a time, so that
        only the answer grows with their number.

        Args:
            records: Records with the columns of the pool.
            labels: Their labels.

        Returns:
            Array ``(n_models, n)``, higher = surer of the label.

        Raises:
            ValueError: NaN, another number of columns, or unknown labels.

        References:
            Carlini et al. (2022), Membership inference attacks from first principles.
        """
        return self._of_each("signal", records, labels)

    def log_probability(self, records: Any, labels: Any) -> FloatArray:
        """Log of the probability that each model gives to each record's label, ``(n_models, n)``.

        Raises:
            ValueError: as ``signal``.
        """
        return self._of_each("log_probability", records, labels)

    def logits(self, records: Any) -> FloatArray:
        """Logits of all classes, ``(n_models, n, classes)``, in the order of ``labels.values``.

        Raises:
            ValueError: NaN or another number of columns.
        """
        return self._of_each("logits", records, None)

    def select(self, models: Sequence[int] | NDArray[Any]) -> FittedShadowModels:
        """Some of the models, by number or by truth value, in the order given.

        Raises:
            ValueError: no model, or a number that none has.
        """
        chosen = np.asarray(models)
        if chosen.dtype == np.bool_:
            chosen = np.flatnonzero(chosen) if chosen.shape == (self.n_models,) else np.array([self.n_models])
        if chosen.ndim != 1 or not len(chosen) or chosen.dtype.kind not in "iu":
            raise ValueError(f"models={models!r} must list numbers of models, at least one; pass for example [0, 1].")
        if chosen.min() < 0 or chosen.max() >= self.n_models:
            raise ValueError(f"models={models!r} must be numbers from 0 to {self.n_models - 1}.")
        parameters = jax.tree.map(lambda leaf: leaf[chosen], self.parameters)
        return dataclasses.replace(
            self, parameters=parameters, included=self.included[chosen], losses=self.losses[chosen]
        )

    def save(self, directory: str | os.PathLike[str]) -> Path:
        """Write all models into ``directory`` (one file, replaced atomically) and return the file's path."""
        return _files.write(self, directory, "shadow models", {}, included=self.included, losses=self.losses)

    @classmethod
    def load(cls, directory: str | os.PathLike[str]) -> Self:
        """Read models written by ``save``.

        Raises:
            FileNotFoundError: nothing was saved there.
            ValueError: the file is damaged or holds something else.
        """
        content, about = _files.read(directory, "shadow models")
        known, included = _files.parts(content, about, ShadowModels), content["included"]
        trainer = ShadowTrainer(known["settings"], len(known["scaling"].low), len(known["labels"]))
        with float32():
            keys = jax.random.split(jax.random.key(0), len(included))
            expected = jax.eval_shape(jax.vmap(trainer.initial), keys)[0]
        _files.check_weights(directory, "their", known["parameters"], expected)
        return cls(**known, included=included, losses=content["losses"])

    def _of_each(self, output: Output, records: Any, labels: Any) -> FloatArray:
        """One row per model, in blocks of one shape: a record's value does not depend on its company."""
        unit = self.scaling.to_unit(_settings.model_records(records, len(self.scaling.low)))
        n = len(unit)
        if output == "logits":
            classes = np.zeros(n, np.int32)
        else:
            classes = self.labels.one_hot(labels, n).argmax(axis=1).astype(np.int32)
        trainer = ShadowTrainer(self.settings, unit.shape[1], len(self.labels))
        tail = (len(self.labels),) if output == "logits" else ()
        found = np.empty((self.n_models, n, *tail), np.float64)
        with float32():
            weights = [jax.tree.map(lambda leaf, m=model: leaf[m], self.parameters) for model in range(self.n_models)]
            for first in range(0, n, _BLOCK):
                rows = np.minimum(np.arange(first, first + _BLOCK), n - 1)
                block = jax.device_put((unit[rows], classes[rows]))
                for model, own in enumerate(weights):
                    values = np.asarray(evaluate(trainer, output, own, *block))
                    found[model, first : first + _BLOCK] = values[: n - first]
        return found

    def __repr__(self) -> str:
        return (
            f"FittedShadowModels(n_models={self.n_models}, records={self.included.shape[1]}, "
            f"features={len(self.scaling.low)}, labels={len(self.labels)}, steps={self.settings.steps})"
        )
