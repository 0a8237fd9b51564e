"""mmd and its permutation test."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from mace_jax import _validate
from mace_jax._random import generator
from mace_jax._status import Status
from mace_jax._types import FloatArray, Seed
from mace_jax.divergences._estimate import DivergenceEstimate, finish
from mace_jax.divergences._mmd import median_bandwidth, permuted_mmd, unbiased_mmd
from mace_jax.divergences._pair import checked_pair

__all__ = ["PermutationTest", "mmd", "mmd_test"]


def mmd(p_samples: Any, q_samples: Any, *, bandwidth: float | tuple[float, ...] | None = None) -> DivergenceEstimate:
    """SQUARED maximum mean discrepancy with Gaussian kernels: the unbiased U-statistic.

    With ``k(x, y) = exp(-|x - y|^2 / (2 s^2))``, averaged over the bandwidths s, the target is
    ``E k(X, X') + E k(Y, Y') - 2 E k(X, Y)``.

    Args:
        p_samples: ``(n, d)`` draws from P.
        q_samples: ``(m, d)`` draws from Q.
        bandwidth: s, in the units of the features; several are averaged; None is the median pooled distance.

    Returns:
        ``DivergenceEstimate``, unbiased for given bandwidths, so it falls below 0 half of the time at P = Q, where its
        first-order errors vanish: use ``mmd_test`` there. Copies and discrete records are no trouble.

    Time ``O((n + m)^2 d)``. Memory: 48 MiB of kernel blocks, whatever n and m.

    Raises:
        TypeError: records are not numeric.
        ValueError: a bandwidth is not positive.

    References: Gretton, Borgwardt, Rasch, Scholkopf and Smola (2012).

    Example:
        >>> rng = np.random.default_rng(0)
        >>> bool(abs(mmd(rng.normal(1, 1, 2000), rng.normal(0, 1, 2000), bandwidth=1.0).value - 0.1773) < 0.02)
        True
    """
    p, q = checked_pair(p_samples, q_samples)
    widths = _bandwidths(bandwidth, p, q)
    value, influence = unbiased_mmd(p, q, widths)
    status = Status.TOO_FEW_SAMPLES if min(len(p), len(q)) < 30 else Status.OK
    return finish(
        "mmd",
        value,
        influence,
        method="u_statistic",
        target="squared maximum mean discrepancy, unbiased at the given bandwidths",
        status=status,
        details={"bandwidth": np.asarray(widths)},
    )


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class PermutationTest:
    """A statistic, its law under random relabelings, and the one-sided p-value."""

    value: float
    null: FloatArray  # (n_permutations,)
    bandwidths: tuple[float, ...]

    @property
    def p_value(self) -> float:
        """``(1 + #{null >= value}) / (1 + n_permutations)``."""
        return float((1 + np.count_nonzero(self.null >= self.value)) / (1 + len(self.null)))

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {
            "value": self.value,
            "null": self.null.tolist(),
            "p_value": self.p_value,
            "bandwidths": list(self.bandwidths),
        }

    def __repr__(self) -> str:
        return f"PermutationTest(value={self.value:.4g}, p_value={self.p_value:.4g})"


def mmd_test(
    p_samples: Any,
    q_samples: Any,
    *,
    bandwidth: float | tuple[float, ...] | None = None,
    n_permutations: int = 999,
    seed: Seed,
) -> PermutationTest:
    """Permutation test of P = Q by the squared maximum mean discrepancy: exact level at any n, m and d.

    All relabelings share one pass over the Gram matrix (label matrix times kernel blocks).

    Args:
        p_samples: ``(n, d)`` draws from P.
        q_samples: ``(m, d)`` draws from Q.
        bandwidth: As in ``mmd``; the default looks at the pooled records only, so the level stays exact.
        n_permutations: Size of the null.
        seed: Fixes the relabelings.

    Returns:
        ``PermutationTest``.

    Time ``O((n + m)^2 (d + n_permutations))``. Memory: ``4 KiB (n + m)`` and 32 MiB of kernel blocks.

    Raises:
        ValueError: a bandwidth is not positive or n_permutations is below 1.

    References: Gretton et al. (2012).

    Example:
        >>> rng = np.random.default_rng(0)
        >>> mmd_test(rng.normal(1, 1, 100), rng.normal(0, 1, 100), n_permutations=99, seed=0).p_value
        0.01
    """
    p, q = checked_pair(p_samples, q_samples)
    n_permutations = _validate.positive_int(n_permutations=n_permutations)
    widths = _bandwidths(bandwidth, p, q)
    value, _ = unbiased_mmd(p, q, widths)
    null = permuted_mmd(p, q, widths, n_permutations, generator(seed, "mmd", "relabel"))
    return PermutationTest(value, null, widths)


def _bandwidths(bandwidth: Any, p: FloatArray, q: FloatArray) -> tuple[float, ...]:
    if bandwidth is None:
        return (median_bandwidth(p, q),)
    widths = tuple(float(width) for width in np.atleast_1d(np.asarray(bandwidth, dtype=np.float64)))
    if not widths or not all(np.isfinite(width) and width > 0.0 for width in widths):
        raise ValueError(f"bandwidth={bandwidth!r} must be one or several positive numbers.")
    return widths
