"""Per-record signals of a classifier, in the literature's own sign; ``attacks.score`` orients them.

Every signal takes ``probabilities`` or ``logits``, never both and never guessed from the numbers, and ``labels`` that
are column numbers. Records go through in blocks of rows, in float64 whatever the dtype, and inputs are not changed.

From logits nothing saturates: confident records keep their order where a softmax has rounded to 0 and 1. Probabilities
``p`` are read as logits ``ln p`` (but for ``confidence`` and ``loss``, which are of the number ``p_y`` itself), so that
``1 - p_i`` is the sum of the others, which still tells confident records apart where ``p_i`` has rounded to 1. A
probability of 0 stands for one that was rounded: it counts as the smallest normal float64, so that all signals are
finite. A binary classifier has two columns.
"""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
from jaxtyping import Float

from mace_jax import _validate
from mace_jax._types import FloatArray
from mace_jax.attacks._signal_inputs import Outputs, as_outputs, blocks
from mace_jax.attacks._signal_kernels import KERNELS

__all__ = ["confidence", "correctness", "entropy", "hinge", "loss", "modified_entropy", "rescaled_logit"]

_TINY = float(np.finfo(np.float64).tiny)
_FEWEST_ROWS = 64  # shorter blocks are filled up, so that few shapes are compiled


def correctness(labels: Any, *, probabilities: Any = None, logits: Any = None) -> Float[FloatArray, " n"]:
    """Whether the prediction is right: ``1[argmax_i p_i = y]``; of equal largest outputs the first is predicted.

    Args:
        labels: Column number of the true class, ``(n,)``.
        probabilities: ``(n, C)``, rows summing to 1; or
        logits: ``(n, C)``, finite.

    Returns:
        1.0 or 0.0 per record; members are right more often.

    Raises:
        TypeError: outputs that are not real numbers, labels that are not whole numbers.
        ValueError: both or neither kind of outputs, one column, NaN, probabilities outside [0, 1] or that do not sum
            to 1 within 0.001, labels that are not columns.

    References: Yeom et al. (2018), the gap attack; Song and Mittal (2021).

    Example:
        >>> correctness([0, 1], probabilities=[[0.7, 0.3], [0.6, 0.4]]).tolist()
        [1.0, 0.0]
    """
    outputs = as_outputs(labels, probabilities, logits)
    return (np.argmax(outputs.values, axis=1) == outputs.labels).astype(np.float64)


def confidence(labels: Any, *, probabilities: Any = None, logits: Any = None) -> Float[FloatArray, " n"]:
    """Probability of the true class, ``p_y``. Ranks records as ``-loss`` does, but rounds to 1 where that does not.

    Args: as in ``correctness``.

    Returns:
        ``p_y`` in [0, 1]; members have more.

    Raises: as in ``correctness``.

    References: Yeom et al. (2018); Song and Mittal (2021).

    Example:
        >>> confidence([1], logits=[[1.0, 2.0, -3.0]]).round(8).tolist()
        [0.72747516]
    """
    outputs = as_outputs(labels, probabilities, logits)
    return _by_blocks("confidence", outputs) if outputs.are_logits else _own(outputs)


def loss(labels: Any, *, probabilities: Any = None, logits: Any = None) -> Float[FloatArray, " n"]:
    """Cross-entropy in nats, ``-ln p_y``.

    Args: as in ``correctness``.

    Returns:
        At least 0; members have less. At most 708.4 from probabilities, which ``p_y = 0`` gives.

    Raises: as in ``correctness``.

    References: Yeom et al. (2018), Privacy risk in machine learning.

    Example:
        >>> loss([1, 0], logits=[[1.0, 2.0, -3.0], [0.0, 800.0, 0.0]]).round(8).tolist()
        [0.31817543, 800.0]
    """
    outputs = as_outputs(labels, probabilities, logits)
    return _by_blocks("loss", outputs) if outputs.are_logits else 0.0 - np.log(np.maximum(_own(outputs), _TINY))


def rescaled_logit(labels: Any, *, probabilities: Any = None, logits: Any = None) -> Float[FloatArray, " n"]:
    """Log odds of the true class, ``ln p_y - ln sum_{i != y} p_i = z_y - logsumexp_{i != y} z_i``.

    Close to normally distributed over models where the loss is skewed.

    Args: as in ``correctness``.

    Returns:
        Any number; members have more.

    Raises: as in ``correctness``.

    References: Carlini et al. (2022), Membership inference attacks from first principles.

    Example:
        >>> rescaled_logit([1], logits=[[1.0, 2.0, -3.0]]).round(8).tolist()
        [0.98185007]
    """
    return _by_blocks("rescaled_logit", as_outputs(labels, probabilities, logits))


def hinge(labels: Any, *, probabilities: Any = None, logits: Any = None) -> Float[FloatArray, " n"]:
    """Margin of the true class over the best other one, ``z_y - max_{i != y} z_i = ln p_y - max_{i != y} ln p_i``.

    Args: as in ``correctness``.

    Returns:
        Any number, above 0 where the prediction is right; members have more.

    Raises: as in ``correctness``.

    References: Carlini et al. (2022); Bertran et al. (2023), Scalable membership inference attacks via quantile
    regression.

    Example:
        >>> hinge([1], logits=[[1.0, 2.0, -3.0]]).tolist()
        [1.0]
    """
    return _by_blocks("hinge", as_outputs(labels, probabilities, logits))


def entropy(
    labels: Any = None, *, probabilities: Any = None, logits: Any = None, floor: float | None = None
) -> Float[FloatArray, " n"]:
    """Entropy of the prediction in nats, ``-sum_i p_i ln p_i``. It does not use the labels, which may be left out.

    Args:
        labels: As in ``correctness``, or None.
        probabilities: As in ``correctness``.
        logits: As in ``correctness``.
        floor: Under the argument of every logarithm; 1e-30 for figures of the published code. Logits are then turned
            into probabilities first. None for the exact form.

    Returns:
        Between 0 and ``ln C``; members have less.

    Raises: as in ``correctness``, and ValueError for a floor outside (0, 1).

    References: Shokri et al. (2017); Song and Mittal (2021).

    Example:
        >>> entropy(probabilities=[[0.7, 0.2, 0.1], [1.0, 0.0, 0.0]]).round(6).tolist()
        [0.801819, 0.0]
    """
    outputs = as_outputs(labels, probabilities, logits, label_free=True)
    return _by_blocks("entropy", outputs) if floor is None else _floored("entropy_floored", outputs, floor)


def modified_entropy(
    labels: Any, *, probabilities: Any = None, logits: Any = None, floor: float | None = None
) -> Float[FloatArray, " n"]:
    """``-(1 - p_y) ln p_y - sum_{i != y} p_i ln (1 - p_i)``: an entropy that is 0 only for confidence in the truth.

    It falls in ``p_y``, rises in every other ``p_i`` and is unbounded for confidence in a wrong class.

    Args:
        labels: As in ``correctness``.
        probabilities: As in ``correctness``.
        logits: As in ``correctness``.
        floor: As in ``entropy``. With 1e-30 every certain and wrong prediction gives ``60 ln 10 = 138.155``.

    Returns:
        At least 0; members have less.

    Raises: as in ``entropy``.

    References: Song and Mittal (2021), Systematic evaluation of privacy risks of machine learning models.

    Example:
        >>> modified_entropy([0, 2], probabilities=[[0.7, 0.2, 0.1], [0.7, 0.2, 0.1]]).round(6).tolist()
        [0.162167, 2.959736]
    """
    outputs = as_outputs(labels, probabilities, logits)
    if floor is None:
        return _by_blocks("modified_entropy", outputs)
    return _floored("modified_entropy_floored", outputs, floor)


def _own(outputs: Outputs) -> FloatArray:
    """The label's column, as given."""
    assert outputs.labels is not None
    return outputs.values[np.arange(len(outputs.values)), outputs.labels].astype(np.float64)


def _floored(kernel: str, outputs: Outputs, floor: float) -> FloatArray:
    return _by_blocks(kernel, outputs, _validate.in_open_unit(floor=floor))


def _by_blocks(kernel: str, outputs: Outputs, *further: float) -> FloatArray:
    """The kernel on float64 blocks of rows: of logits, or of probabilities where a floor follows."""
    n, n_classes = outputs.values.shape
    found = np.empty(n)
    with jax.enable_x64(True):
        for rows in blocks(n, n_classes):
            count = rows.stop - rows.start
            filled = max(_FEWEST_ROWS, 1 << (count - 1).bit_length())
            block, labels = np.zeros((filled, n_classes)), np.zeros(filled, np.int64)
            block[:count] = outputs.values[rows]
            if outputs.labels is not None:
                labels[:count] = outputs.labels[rows]
            if outputs.are_logits and further:
                block = np.exp(block - block.max(axis=1, keepdims=True))
                block /= block.sum(axis=1, keepdims=True)
            elif not outputs.are_logits and not further:
                block = np.log(np.maximum(block, _TINY))
            found[rows] = np.asarray(KERNELS[kernel](block, labels, *further))[:count]
    return found
