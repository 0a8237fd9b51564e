"""What every design can do: be saved, be shown, and be told from every other by its fingerprint."""

from __future__ import annotations

import abc
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mace_jax.certificates.design._file import fingerprint_of, write_payload

__all__ = ["AbstractDesign"]


class AbstractDesign(abc.ABC):
    """Coins drawn before training; ``load_design`` reads back what ``save`` wrote."""

    included: NDArray[np.bool_]

    @abc.abstractmethod
    def _payload(self) -> dict[str, Any]:
        """What makes the design, ready for JSON."""

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the design; the same for a saved and loaded one."""
        return fingerprint_of(self._payload())

    def save(self, path: str | Path) -> Path:
        """Write a JSON file that ``load_design`` reads; keep it from whoever makes the scores.

        Raises:
            OSError: the file cannot be written.
        """
        return write_payload(path, self._payload())

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {
            **self._payload(),
            "included": self.included.astype(int).tolist(),
            "fingerprint": self.fingerprint,
        }
