"""score: a signal turned so that higher means more member-like."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float

from mace_jax import _validate
from mace_jax._types import FloatArray
from mace_jax.attacks import signals

__all__ = ["score"]

_SIGNS = {
    "confidence": 1.0,
    "correctness": 1.0,
    "entropy": -1.0,
    "hinge": 1.0,
    "loss": -1.0,
    "modified_entropy": -1.0,
    "rescaled_logit": 1.0,
}
_SIGN_OF = {getattr(signals, name): sign for name, sign in _SIGNS.items()}


def score(
    signal: str | Callable[..., Any], labels: Any, *, probabilities: Any = None, logits: Any = None
) -> Float[FloatArray, " n"]:
    """A signal oriented so that members score higher: ``loss``, ``entropy`` and ``modified_entropy`` are negated.

    Args:
        signal: Name of a function in ``attacks.signals``, one of these functions, or a function of your own that takes
            the same arguments and is oriented already: its sign is never changed.
        labels: Column number of the true class, ``(n,)``; None will do for ``"entropy"``.
        probabilities: ``(n, C)``, rows summing to 1; or
        logits: ``(n, C)``.

    Returns:
        Scores ``(n,)``, higher = more member-like.

    Raises:
        TypeError: ``signal`` is neither a name nor a function; or as in ``signals.correctness``.
        ValueError: an unknown name, outputs that do not fit (see there), or a function of your own that does not give
            one finite number per record.

    References: Song and Mittal (2021), Systematic evaluation of privacy risks of machine learning models.

    Example:
        >>> score("loss", [0, 1], probabilities=[[0.5, 0.5], [0.75, 0.25]]).round(3).tolist()
        [-0.693, -1.386]
    """
    given = {"probabilities": probabilities} if logits is None else {"logits": logits}
    if logits is not None and probabilities is not None:
        given["probabilities"] = probabilities  # the signal says that only one may be passed
    if isinstance(signal, str):
        signal = getattr(signals, _validate.one_of(tuple(_SIGNS), signal=signal))
    if not callable(signal):
        raise TypeError(f"signal={signal!r} is neither a name nor a function; pass one of {', '.join(_SIGNS)}.")
    found = signal(labels, **given)
    if signal in _SIGN_OF:
        return found if _SIGN_OF[signal] > 0.0 else 0.0 - found
    own = _validate.scores(signal=found)
    n = len(np.asarray(probabilities if logits is None else logits))
    if len(own) != n:
        raise ValueError(f"signal gave {len(own)} scores for {n} records; return one per record.")
    return own
