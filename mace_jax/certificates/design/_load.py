"""load_design: a saved design, or a refusal."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from mace_jax import _validate
from mace_jax.certificates.design._coins import CoinDesign
from mace_jax.certificates.design._file import read_payload, unpack
from mace_jax.certificates.design._paired import PairedDesign
from mace_jax.certificates.design._retrainings import RetrainingDesign

__all__ = ["load_design"]

Design = CoinDesign | PairedDesign | RetrainingDesign


def load_design(path: str | Path) -> Design:
    """Read a design that was saved before training.

    The file must be whole: its checksum is compared, and its coins must fill the design. A checksum notices mistakes,
    not a forger; where that matters, publish the design's ``fingerprint`` before training.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not a design file, one of a newer version, or one that was changed.

    Example:
        >>> import tempfile
        >>> from mace_jax.certificates.design import paired_coins
        >>> coins = paired_coins(100, seed=0)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     again = load_design(coins.save(f"{folder}/coins.json"))
        >>> again.fingerprint == coins.fingerprint
        True
    """
    payload = read_payload(path)
    kind = payload.pop("kind", None)
    if kind not in _KINDS:
        raise ValueError(f"{path} holds a design of kind {kind!r}; this release knows {', '.join(_KINDS)}.")
    try:
        return _KINDS[kind](**payload)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path} holds no complete design ({error}); restore the original file.") from None


def _coins(*, n_records: int, inclusion_probability: float, seed: int, included: str) -> Design:
    n_records = _validate.positive_int(n_records=n_records)
    probability = _validate.in_open_unit(inclusion_probability=inclusion_probability)
    return CoinDesign(unpack(included, (n_records,)), probability, int(seed))


def _pairs(*, n_pairs: int, seed: int, included: str) -> Design:
    coins = unpack(included, (_validate.positive_int(n_pairs=n_pairs), 2))
    if not np.array_equal(coins[:, 0], ~coins[:, 1]):
        raise ValueError("a pair without exactly one included record")
    return PairedDesign(coins, int(seed))


def _retrainings(*, n_records: int, n_models: int, seed: int, included: str) -> Design:
    shape = (_validate.positive_int(n_models=n_models), _validate.positive_int(n_records=n_records))
    return RetrainingDesign(unpack(included, shape), int(seed))


_KINDS: dict[str, Callable[..., Any]] = {
    "independent coins": _coins,
    "paired coins": _pairs,
    "retrainings": _retrainings,
}
