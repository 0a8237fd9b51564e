"""panel: several divergences at several k from one search."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from mace_jax import _validate
from mace_jax._types import FloatArray
from mace_jax.divergences._calibrate import HALF_SAMPLES, Calibration
from mace_jax.divergences._estimate import DivergenceEstimate
from mace_jax.divergences._from_posterior import posterior_divergence
from mace_jax.divergences._kl_api import kl_of_pair
from mace_jax.divergences._pair import Pair, searched_pair
from mace_jax.divergences._posterior import Posterior, knn_posterior
from mace_jax.divergences._power_api import hellinger_of_pair, l2_of_pair, renyi_of_pair
from mace_jax.neighbors import PairedNeighbors

__all__ = ["panel"]

NAMES = (
    "kl",
    "renyi",
    "hellinger",
    "l2",
    "total_variation",
    "jensen_shannon",
    "hockey_stick",
    "henze_penrose",
)
_OF_POSTERIOR = ("total_variation", "jensen_shannon", "hockey_stick", "henze_penrose")


def panel(
    p_samples: Any,
    q_samples: Any,
    *,
    k: int | Sequence[int] = (5, 20, 80),
    names: Sequence[str] = ("kl", "hellinger", "total_variation", "jensen_shannon", "henze_penrose"),
    order: float = 0.5,
    epsilon: Any = (0.0, 0.5, 1.0, 2.0),
    neighbors: PairedNeighbors | None = None,
    check_support: bool = True,
    half_samples: int = HALF_SAMPLES,
) -> dict[str, dict[int, DivergenceEstimate]]:
    """Several divergences at several k from a single paired search: every k is a prefix of the same lists.

    Read a row along k: a value that moves with k is made by smoothing or by noise.

    Args:
        p_samples: ``(n, d)`` draws from P.
        q_samples: ``(m, d)`` draws from Q.
        k: One or several numbers of neighbors.
        names: Any of "kl", "renyi", "hellinger", "l2", "total_variation", "jensen_shannon", "hockey_stick",
            "henze_penrose"; each with its default method for distances.
        order: Of "renyi".
        epsilon: Of "hockey_stick".
        neighbors: Lists from ``paired_knn`` of the same samples; then nothing is searched.
        check_support: As in ``kl``; looks up small subsets once, at the smallest k.
        half_samples: As in ``kl``; one search of at most 500 records per sample serves all.

    Returns:
        ``result[name][k]``, a ``DivergenceEstimate``.

    Memory: ``32 (n + m) (max k + 5)`` bytes of neighbor lists.

    Raises:
        ValueError: an unknown name, no k, a k that does not fit, or what the divergence itself refuses.

    Example:
        >>> import numpy as np
        >>> rng = np.random.default_rng(0)
        >>> found = panel(rng.normal(1, 1, 300), rng.normal(0, 1, 300), k=(5, 20), names=("kl", "hellinger"))
        >>> sorted(found), sorted(found["kl"])
        (['hellinger', 'kl'], [5, 20])
    """
    ks = sorted({_validate.positive_int(k=each) for each in ([k] if isinstance(k, int) else k)})
    if not ks:
        raise ValueError("k is empty; pass one or several numbers of neighbors.")
    for name in names:
        if name not in NAMES:
            raise ValueError(f"names has {name!r}; pass any of {', '.join(map(repr, NAMES))}.")
    pair = searched_pair(p_samples, q_samples, ks[-1], neighbors=neighbors, wider=5)
    found: dict[str, dict[int, DivergenceEstimate]] = {name: {} for name in names}
    calibration = Calibration(pair.p, pair.q, ks[-1], half_samples)
    part: list[Pair] = []  # searched once, where samples are so large that a part shows their spread

    def evaluate(p: FloatArray, q: FloatArray, k: int, name: str) -> DivergenceEstimate:
        if not part:
            part.append(searched_pair(p, q, ks[-1], neighbors=None, wider=5))
        return _evaluate(part[0], k, name, order, epsilon, False)

    for each in ks:
        posterior: Posterior | None = None
        for name in names:
            if name in _OF_POSTERIOR:
                posterior = knn_posterior(pair, each) if posterior is None else posterior
            one = _evaluate(pair, each, name, order, epsilon, check_support and each == ks[0], posterior)
            found[name][each] = calibration(one, each, partial(evaluate, k=each, name=name))
    return found


def _evaluate(
    pair: Pair, k: int, name: str, order: float, epsilon: Any, check_support: bool, posterior: Posterior | None = None
) -> DivergenceEstimate:
    if name in _OF_POSTERIOR:
        method = "plug_in" if name == "jensen_shannon" else "decision"
        return posterior_divergence(pair, k, name, method=method, epsilon=epsilon, posterior=posterior)
    if name == "kl":
        return kl_of_pair(pair, k, method="auto", check_support=check_support)
    if name == "renyi":
        return renyi_of_pair(pair, k, order=order, check_support=check_support)
    return hellinger_of_pair(pair, k) if name == "hellinger" else l2_of_pair(pair, k)
