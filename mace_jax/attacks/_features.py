"""Feature maps for distances between images: principal components and histograms of oriented gradients."""

from __future__ import annotations

import dataclasses
from typing import Any, final

import numpy as np

from mace_jax import _validate
from mace_jax._types import FloatArray
from mace_jax.attacks._inputs import finite_records

__all__ = ["OrientedGradients", "PrincipalComponents", "features_of"]

_BLOCK_BYTES = 16 << 20
_CLIP, _FLOOR = 0.2, 1e-5


@final
@dataclasses.dataclass(frozen=True, eq=False)
class PrincipalComponents:
    """Coordinates along the directions in which held-out records vary most.

    Fit it on records that are neither members nor non-members under audit: a map fitted on members would itself tell
    them apart.

    Args:
        mean: Of the held-out records, ``(d,)``.
        directions: Orthonormal rows, largest variance first, ``(q, d)``.

    Example:
        >>> found = PrincipalComponents.fit([[0.0, 0.0], [2.0, 0.0], [4.0, 0.1]], n_components=1)
        >>> np.abs(found([[4.0, 0.1]])).round(1).tolist()
        [[2.0]]
    """

    mean: FloatArray
    directions: FloatArray

    @classmethod
    def fit(cls, holdout: Any, n_components: int = 40) -> PrincipalComponents:
        """Directions of the largest variance of ``holdout``.

        Args:
            holdout: Records apart from those under audit, ``(n, d)``.
            n_components: Number of directions, at most the smaller of n - 1 and d.

        Raises:
            TypeError: ``holdout`` is not numeric or ``n_components`` is not an integer.
            ValueError: NaN, or more components than the records allow.
        """
        from sklearn.decomposition import PCA

        values = finite_records("holdout", holdout)
        n, d = values.shape
        if _validate.positive_int(n_components=n_components) > min(n - 1, d):
            raise ValueError(
                f"n_components={n_components} exceeds what holdout with {n} rows and {d} columns has; "
                f"pass at most {min(n - 1, d)}."
            )
        fitted = PCA(n_components, svd_solver="covariance_eigh" if n > d else "full").fit(values)
        return cls(np.asarray(fitted.mean_, np.float64), np.asarray(fitted.components_, np.float64))

    def __call__(self, records: Any) -> FloatArray:
        """Coordinates ``(n, q)``."""
        values = finite_records("records", records)
        if values.shape[1] != len(self.mean):
            raise ValueError(f"records has {values.shape[1]} columns but the map was fitted on {len(self.mean)}.")
        return values @ self.directions.T - self.directions @ self.mean


@final
@dataclasses.dataclass(frozen=True)
class OrientedGradients:
    """Histograms of oriented gradients: how strong edges of each direction are in each cell of an image.

    The gradient is half the difference of the two neighbors, 0 at the border; of several colors the one with the
    strongest gradient counts. Its strength is added to the bin of its direction, without sign, in its cell; pixels
    beyond the last whole cell are left out. Every block of cells is divided by its norm, clipped at 0.2 and divided
    by its norm again. There is nothing to fit.

    Args:
        image_shape: Height, width and colors of a record, which enters as a flat row in that order.
        orientations: Bins of 0 to 180 degrees.
        cell: Side of a cell in pixels.
        block: Side of a block in cells; fewer where the image has not so many.

    Raises:
        TypeError: a setting is not an integer.
        ValueError: a setting is below 1, or an image is smaller than a cell.

    References:
        Dalal and Triggs (2005), Histograms of oriented gradients for human detection.

    Example:
        >>> OrientedGradients((28, 28, 1))(np.eye(28).reshape(1, -1)).shape
        (1, 81)
    """

    image_shape: tuple[int, int, int]
    orientations: int = 9
    cell: int = 9
    block: int = 3

    def __post_init__(self) -> None:
        for name in ("orientations", "cell", "block"):
            _validate.positive_int(**{name: getattr(self, name)})
        shape = tuple(_validate.positive_int(image_shape=side) for side in self.image_shape)
        if len(shape) != 3 or min(shape[:2]) < self.cell:
            raise ValueError(
                f"image_shape={self.image_shape} must be (height, width, colors), "
                f"with sides of at least cell={self.cell}."
            )
        object.__setattr__(self, "image_shape", shape)

    def __call__(self, records: Any) -> FloatArray:
        """Normalized histograms ``(n, q)``, block by block."""
        values = finite_records("records", records)
        size = int(np.prod(self.image_shape))
        if values.shape[1] != size:
            raise ValueError(f"records has {values.shape[1]} columns but image_shape={self.image_shape} needs {size}.")
        step = max(1, _BLOCK_BYTES // (8 * size))
        parts = [self._histograms(values[start : start + step]) for start in range(0, len(values), step)]
        return np.concatenate(parts)

    def _histograms(self, values: FloatArray) -> FloatArray:
        images = values.reshape(-1, *self.image_shape)
        down, across = np.zeros_like(images), np.zeros_like(images)
        down[:, 1:-1] = (images[:, 2:] - images[:, :-2]) / 2
        across[:, :, 1:-1] = (images[:, :, 2:] - images[:, :, :-2]) / 2
        strength = np.hypot(down, across)
        strongest = strength.argmax(axis=3)[..., None]
        down, across, strength = (
            np.take_along_axis(part, strongest, axis=3)[..., 0] for part in (down, across, strength)
        )
        angle = np.rad2deg(np.arctan2(down, across)) % 180.0
        bins = np.minimum((angle * self.orientations / 180.0).astype(np.int64), self.orientations - 1)
        cells = self._cells(bins, strength)
        side = min(self.block, *cells.shape[1:3])
        blocks = np.lib.stride_tricks.sliding_window_view(cells, (side, side), axis=(1, 2))
        return _normalized(_normalized(blocks, clip=True)).reshape(len(images), -1)

    def _cells(self, bins: np.ndarray, strength: FloatArray) -> FloatArray:
        """Mean strength per pixel, by cell and direction."""
        n, rows, columns = len(bins), self.image_shape[0] // self.cell, self.image_shape[1] // self.cell
        bins, strength = (part[:, : rows * self.cell, : columns * self.cell] for part in (bins, strength))
        row, column = (np.arange(count * self.cell) // self.cell for count in (rows, columns))
        place = (np.arange(n)[:, None, None] * rows + row[:, None]) * columns + column
        counted = np.bincount(
            (place * self.orientations + bins).ravel(), strength.ravel(), n * rows * columns * self.orientations
        )
        return counted.reshape(n, rows, columns, self.orientations) / self.cell**2


def _normalized(blocks: FloatArray, *, clip: bool = False) -> FloatArray:
    """Each block ``(n, row, column, bin, y, x)`` at norm 1, or clipped after that."""
    norm = np.sqrt(np.square(blocks).sum(axis=(3, 4, 5), keepdims=True) + _FLOOR**2)
    return np.minimum(blocks / norm, _CLIP) if clip else blocks / norm


def features_of(features: Any, records: FloatArray, name: str) -> FloatArray:
    """What a map, a fitted transformer or None makes of records; checked."""
    if features is None:
        return records
    apply = features if callable(features) else getattr(features, "transform", None)
    if apply is None:
        raise TypeError(f"features={features!r} is neither callable nor has transform(records); pass one that is.")
    values = finite_records(f"features of {name}", apply(records))
    if len(values) != len(records):
        raise ValueError(f"features returned {len(values)} rows for {len(records)} {name}; it must keep every row.")
    return values
