"""Which numbers of neighbors a cross-fitted kNN chooses from."""

from __future__ import annotations

import numpy as np

__all__ = ["candidate_neighbors"]

_FIXED = (45, 101, 201)


def candidate_neighbors(n_train: int, n_outputs: int, *, largest: int | None = None) -> np.ndarray:
    """Odd candidates up to half of ``n_train``: roots of n, the smoothness rate n^(4/(q+4)), fixed values."""
    rates = (np.sqrt(n_train), 2 * np.sqrt(n_train), n_train ** (4 / (n_outputs + 4)))
    half = max(1, n_train // 2)  # more neighbors leave no locality
    limit = half if largest is None else min(half, largest)
    wanted = [int(rate) | 1 for rate in rates] + list(_FIXED)
    limit -= limit > 1 and limit % 2 == 0  # odd, so that two classes do not tie
    fitting = sorted({k for k in wanted if k <= limit} | {min(max(wanted), limit)})
    padded = fitting + [fitting[-1]] * (len(wanted) - len(fitting))
    return np.asarray(padded, dtype=np.int32)
