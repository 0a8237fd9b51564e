"""Train a classifier on synthetic records, test it on real ones."""

from __future__ import annotations

import dataclasses
import warnings
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from mace_jax import _validate
from mace_jax._binomial import clopper_pearson_lower, clopper_pearson_upper
from mace_jax._optional import require
from mace_jax._random import as_seed, generator
from mace_jax._types import FloatArray, Seed
from mace_jax.utility._records import checked_labels, pair

__all__ = ["DownstreamAccuracy", "downstream_accuracy", "fit_classifier"]

_NAMES = {"logistic": "logistic regression", "mlp": "perceptron"}


@final
@dataclasses.dataclass(frozen=True)
class DownstreamAccuracy:
    """Share of real records that a classifier trained on synthetic ones gets right.

    Attributes:
        value: The share.
        low: Lower confidence limit.
        high: Upper confidence limit.
        confidence: Of both limits together. They cover the choice of real records, not another training.
        n_correct: Real records classified correctly.
        n: Real records.
        majority: Share of the largest class of the real records: what guessing that class would reach.
        absent_classes: Classes of the real records that the synthetic ones lack; their records count as errors.
        classifier: What was trained.
    """

    value: float
    low: float
    high: float
    confidence: float
    n_correct: int
    n: int
    majority: float
    absent_classes: tuple[str, ...]
    classifier: str

    @property
    def summary(self) -> str:
        """One line for a report."""
        absent = (
            f"; {len(self.absent_classes)} classes absent from the synthetic records" if self.absent_classes else ""
        )
        return (
            f"accuracy on real records {self.value:.4f} [{self.low:.4f}, {self.high:.4f}] at "
            f"{100 * self.confidence:g} % confidence, {self.classifier} trained on synthetic records; "
            f"largest class {self.majority:.4f}{absent}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return dataclasses.asdict(self) | {"absent_classes": list(self.absent_classes)}


def downstream_accuracy(
    synthetic: Any,
    synthetic_labels: Any,
    real: Any,
    real_labels: Any,
    *,
    classifier: Any = None,
    confidence: float = 0.95,
    seed: Seed,
) -> DownstreamAccuracy:
    """Accuracy on real records of a classifier trained on synthetic records.

    ``mean over real records of 1[classifier(x) = y]`` with an exact (Clopper-Pearson) interval for this classifier. The
    real records must not be those the generative model was trained on: a model that copies its training data would
    look perfect.

    Args:
        synthetic: Records to train on, ``(s, d)``.
        synthetic_labels: One class each: whole numbers or text.
        real: Records to test on, ``(n, d)``, in the units of ``synthetic``.
        real_labels: One class each.
        classifier: None or ``"logistic"`` for multinomial logistic regression, ``"mlp"`` for a perceptron with one
            hidden layer of 128, both on columns standardized by the synthetic records; or an object with ``fit`` and
            ``predict`` as in scikit-learn, which is cloned and not seeded.
        confidence: Of the interval, in (0, 1).
        seed: Seeds the classifiers given by name.

    Returns:
        The accuracy with its interval.

    Raises:
        TypeError: records or labels of the wrong type, or an unusable classifier.
        ValueError: NaN, no rows, different widths, or not one label per record.

    References:
        Esteban et al. (2017), Real-valued medical time series generation with recurrent conditional GANs (train on
        synthetic, test on real).

    Example:
        >>> downstream_accuracy([[0.0], [1.0]], [0, 1], [[0.2], [0.9], [0.1]], [0, 1, 1], seed=0).n_correct
        2
    """
    confidence = _validate.in_open_unit(confidence=confidence)
    tested, trained = pair(real, synthetic, 1, None)
    known = checked_labels(len(trained), synthetic_labels=synthetic_labels)
    truth = checked_labels(len(tested), real_labels=real_labels)
    if (known.dtype.kind == "U") != (truth.dtype.kind == "U"):
        raise TypeError(f"synthetic_labels are {known.dtype} but real_labels {truth.dtype}; use the same labels.")
    if not (classifier is None or isinstance(classifier, str) or hasattr(classifier, "predict")):
        raise TypeError(f"classifier={classifier!r} must be None, 'logistic', 'mlp' or have fit and predict.")
    as_seed(seed)
    classes, counts = np.unique(truth, return_counts=True)
    name, guesses = _predict(classifier, trained, known, tested, seed)
    if guesses.shape != truth.shape:
        raise ValueError(f"{name}.predict returned shape {guesses.shape}; one class per record is needed.")
    correct, n = int(np.count_nonzero(guesses == truth)), len(truth)
    error = (1.0 - confidence) / 2.0
    return DownstreamAccuracy(
        value=correct / n,
        low=float(clopper_pearson_lower(correct, n, error)),
        high=float(clopper_pearson_upper(correct, n, error)),
        confidence=confidence,
        n_correct=correct,
        n=n,
        majority=float(counts.max() / n),
        absent_classes=tuple(str(entry) for entry in np.setdiff1d(classes, known)),
        classifier=name,
    )


def _predict(
    classifier: Any, trained: FloatArray, known: NDArray[Any], tested: FloatArray, seed: Seed
) -> tuple[str, NDArray[Any]]:
    """The classifier's name and its classes for the real records."""
    if len(np.unique(known)) == 1:  # nothing to learn: whatever is asked, the answer is the only class
        return "one class only", np.full(len(tested), known[0])
    if classifier is None or isinstance(classifier, str):
        kind = _validate.one_of(tuple(_NAMES), classifier=classifier or "logistic")
        return _NAMES[kind], np.asarray(fit_classifier(kind, trained, known, seed).predict(tested))
    model = require("sklearn.base").clone(classifier)
    return type(classifier).__name__, np.asarray(model.fit(trained, known).predict(tested))


def fit_classifier(
    kind: str, records: FloatArray, labels: NDArray[Any], seed: Seed, hidden: int = 128, *, with_std: bool = True
) -> Any:
    """A fitted scikit-learn pipeline that standardizes columns (without ``with_std`` it only centers) and classifies.

    The perceptron sees 400,000 records, between 20 and 400 passes, or fewer once its loss stays the same; that is its
    definition, so a loss that might still fall is no cause for a warning.
    """
    scaler = require("sklearn.preprocessing").StandardScaler(with_std=with_std)
    if kind == "logistic":
        last = require("sklearn.linear_model").LogisticRegression(max_iter=2000)  # deterministic
    else:
        passes = int(np.clip(400_000 // len(records), 20, 400))
        state = int(generator(seed, "classifier", kind).integers(2**32))
        last = require("sklearn.neural_network").MLPClassifier((hidden,), max_iter=passes, random_state=state)
    model = require("sklearn.pipeline").make_pipeline(scaler, last)
    with warnings.catch_warnings():
        if kind == "mlp":
            warnings.simplefilter("ignore", require("sklearn.exceptions").ConvergenceWarning)
        return model.fit(records, labels)
