"""What DP-SGD guarantees, by privacy loss distributions."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, final

from mace_jax import _validate
from mace_jax._optional import require
from mace_jax.models.dp_trainer import sampling_probability

__all__ = ["DPSGDGuarantee", "noise_multiplier_for"]


@final
@dataclasses.dataclass(frozen=True)
class DPSGDGuarantee:
    """Guarantee of ``steps`` Gaussian releases of Poisson samples, for adding or removing one record.

    Args:
        noise_multiplier: Standard deviation of the noise divided by the clipping norm.
        sampling_probability: Probability that a step takes a given record.
        steps: Number of steps.

    Example:
        >>> round(DPSGDGuarantee(1.1, 0.01, 1000).epsilon(delta=1e-5), 2)
        1.52
    """

    noise_multiplier: float
    sampling_probability: float
    steps: int

    def epsilon(self, delta: float) -> float:
        """Smallest epsilon that holds with this delta, rounded up by the accountant; infinite without noise.

        Args:
            delta: Between 0 and 1, far below 1 / n.

        Raises:
            ImportError: dp-accounting is not installed.
            ValueError: ``delta`` is out of range.
        """
        delta = _validate.in_open_unit(delta=delta)
        return math.inf if self.noise_multiplier == 0.0 else float(self._accountant().get_epsilon(delta))

    def delta(self, epsilon: float) -> float:
        """Smallest delta that holds with this epsilon; 1 without noise.

        Raises:
            ImportError: dp-accounting is not installed.
            ValueError: ``epsilon`` is negative.
        """
        epsilon = _validate.non_negative(epsilon=epsilon)
        return 1.0 if self.noise_multiplier == 0.0 else float(self._accountant().get_delta(epsilon))

    def statement(self, delta: float) -> str:
        """The guarantee in words."""
        return (
            f"Adding or removing one training record changes the law of the weights by at most epsilon = "
            f"{self.epsilon(delta):.4g} at delta = {delta:g}: {self.steps} steps, each taking every record on its own "
            f"with probability {self.sampling_probability:.6g} (Poisson sampling), with Gaussian noise of "
            f"{self.noise_multiplier:g} clipping norms. The number of records, the bounds and the settings count as "
            "public; choosing settings by looking at the records is not covered. The bound is on real numbers, not on "
            "floating-point noise, and on those who do not know the seed."
        )

    def _accountant(self) -> Any:
        library = require("dp_accounting", extra="dp")
        relation = library.NeighboringRelation.ADD_OR_REMOVE_ONE
        accountant = library.pld.PLDAccountant(relation)
        event = _event(library, self.noise_multiplier, self.sampling_probability)
        return accountant.compose(event, self.steps)


def noise_multiplier_for(*, epsilon: float, delta: float, n_records: int, batch_size: int, steps: int) -> float:
    """Noise multiplier with which DP-SGD keeps to (epsilon, delta), at most 1e-3 above the smallest one.

    Args:
        epsilon: Above 0.
        delta: Between 0 and 1.
        n_records: Training records.
        batch_size: Expected size of a batch.
        steps: Updates.

    Returns:
        The noise multiplier.

    Raises:
        ImportError: dp-accounting is not installed.
        ValueError: an argument is out of range.

    Example:
        >>> round(noise_multiplier_for(epsilon=1.52, delta=1e-5, n_records=6400, batch_size=64, steps=1000), 1)
        1.1
    """
    library = require("dp_accounting", extra="dp")
    epsilon, delta = _validate.non_negative(epsilon=epsilon), _validate.in_open_unit(delta=delta)
    if epsilon == 0.0:
        raise ValueError("epsilon=0.0 must be above 0.")
    probability = sampling_probability(_validate.positive_int(batch_size=batch_size), n_records)
    relation = library.NeighboringRelation.ADD_OR_REMOVE_ONE
    return float(
        library.calibrate_dp_mechanism(
            lambda: library.pld.PLDAccountant(relation),
            lambda noise: library.SelfComposedDpEvent(_event(library, noise, probability), steps),
            epsilon,
            delta,
            library.LowerEndpointAndGuess(0.0, 1.0),
            tol=1e-3,
        )
    )


def _event(library: Any, noise_multiplier: float, probability: float) -> Any:
    """One step of DP-SGD as the library describes it."""
    return library.PoissonSampledDpEvent(probability, library.GaussianDpEvent(noise_multiplier))
