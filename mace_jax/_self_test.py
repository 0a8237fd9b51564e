"""self_test: the user's exact pipeline on records of which none was trained on, many times over."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any, Literal

from mace_jax import _validate
from mace_jax._progress import open_stages
from mace_jax._random import as_seed, generator
from mace_jax._self_test_checks import Reading, SelfTestCheck, judge, read_result
from mace_jax._types import FloatArray, Seed
from mace_jax.data import MembershipSample

__all__ = ["SelfTest", "self_test"]

_FEWEST_REPEATS = 20
_FEWEST_ROWS = 2  # per group


@dataclasses.dataclass(frozen=True, repr=False)
class SelfTest:
    """Whether a pipeline keeps to its own error rates where nothing can be leaked.

    ``passed`` is False if any check found more alarms, or smaller p-values, than the pipeline's level allows; a
    calibrated pipeline fails with probability at most 1 - ``confidence_level``. ``assumptions`` says of what.
    """

    passed: bool
    verdict: str
    checks: tuple[SelfTestCheck, ...]
    n_repeats: int
    n_members: int  # records that play the members in each repeat
    n_nonmembers: int
    splits: Literal["random", "disjoint"]
    confidence_level: float
    p_values: dict[str, tuple[float, ...]]  # per check that has them, in the order of the repeats
    assumptions: tuple[str, ...]
    seed: int

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        plain = dataclasses.asdict(self)
        plain["p_values"] = {name: list(values) for name, values in self.p_values.items()}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in plain.items()}

    def __repr__(self) -> str:
        found = ", ".join(f"{check.name}: {check.n_alarms}/{check.n_repeats}" for check in self.checks)
        return f"SelfTest({'passed' if self.passed else 'failed'}, {found})"


def self_test(
    pipeline: Callable[[MembershipSample, int], Any],
    nonmembers: Any,
    *,
    n_repeats: int = 100,
    n_members: int | None = None,
    confidence_level: float = 0.95,
    splits: Literal["random", "disjoint"] = "random",
    null_value: float = 0.0,
    seed: Seed,
    progress: bool | Callable[[str, float], None] = False,
) -> SelfTest:
    """Run a pipeline on never-trained records that are called members and non-members at random.

    Nothing can be leaked, so p-values must be uniform or larger, and certificates above 0 and intervals without 0 must
    be as rare as their level says. Per reading, the number of alarms A among R repeats is tested against
    A <= Binomial(R, level), and p-values against U(0, 1) by the one-sided Kolmogorov-Smirnov distance
    max_i(i / R - p_(i)), which ties and discrete p-values can only lower. All tests together fail a calibrated pipeline
    with probability at most 1 - confidence_level (Bonferroni).

    With ``splits="random"`` every repeat splits the same records anew. Given the records, the splits are independent,
    so A is binomial with the pipeline's alarm rate *on these records*; that rate is at most the level for whatever is
    valid given the pooled records (permutation tests), and close to it, not exactly bounded, for what is valid on
    average over records (binomial certificates, bootstrap intervals). With ``splits="disjoint"`` every repeat gets its
    own records: R independent draws from the population, exact for either, at samples R times smaller.

    Args:
        pipeline: Called as ``pipeline(sample, seed)`` with a ``MembershipSample`` and an integer. Returns a p-value, a
            bool (found a leak), a ``Certificate``, a ``Report``, or anything with ``p_value`` (``AdvantageEstimate``)
            or ``low`` and ``high`` (``BootstrapResult``). Pass all of it: whatever chooses thresholds, k or queries.
        nonmembers: Records, or query outputs, of which none was trained on ``(n, q)`` or ``(n,)``.
        n_repeats: At least 20. 100 notice an alarm rate of about 0.15 instead of 0.05, 1,000 one of 0.08.
        n_members: Records that play the members; half by default. Pass a number to copy an unequal audit.
        confidence_level: Of the p-values' threshold, of intervals that do not say theirs, and of this test.
        splits: "random" or "disjoint".
        null_value: What intervals must contain where nothing is leaked: 0 for advantages and divergences, 0.5 for AUC.
        seed: Fixes splits and the seeds the pipeline gets.
        progress: True shows a bar on a terminal; a function is called with (stage, fraction done).

    Returns:
        The verdict, and per reading the number of alarms with exact limits of their rate.

    Raises:
        TypeError: a result that makes no claim.
        ValueError: too few repeats or records, p-values outside [0, 1], results that change their kind.

    Passing is about false alarms only: a pipeline that never finds anything passes.

    References: Massey (1951) for the distance; Lehmann and Romano (2005) for p-values larger than uniform.

    Example:
        >>> import numpy as np
        >>> from scipy import stats
        >>> welch = lambda sample, seed: float(stats.ttest_ind(sample.members, sample.nonmembers).pvalue[0])
        >>> self_test(welch, np.random.default_rng(0).normal(size=200), seed=0).passed
        True
    """
    if not callable(pipeline):
        raise TypeError(f"pipeline={pipeline!r} must be callable as pipeline(sample, seed).")
    n_repeats = _validate.positive_int(minimum=_FEWEST_REPEATS, n_repeats=n_repeats)
    confidence_level = _validate.in_open_unit(confidence_level=confidence_level)
    if splits not in ("random", "disjoint"):
        raise ValueError(f"splits={splits!r} is not known; pass 'random' or 'disjoint'.")
    records = _validate.finite(nonmembers=_validate.as_records(nonmembers=nonmembers))
    per_repeat = len(records) // n_repeats if splits == "disjoint" else len(records)
    n_members = _checked_sizes(len(records), per_repeat, n_members, n_repeats)
    seed = as_seed(seed)
    repeats: list[list[Reading]] = []
    with open_stages(progress) as stages, stages.stage("null self-test") as done:
        for place, sample in enumerate(_samples(records, per_repeat, n_members, n_repeats, splits, seed)):
            own_seed = int(generator(seed, "self-test", "pipeline", place).integers(2**31))
            try:
                result = pipeline(sample, own_seed)
                readings = read_result(result, confidence_level=confidence_level, null_value=null_value)
            except Exception as error:
                error.add_note(
                    f"in repeat {place} of {n_repeats} of the self-test, with the pipeline's seed {own_seed}"
                )
                raise
            repeats.append(readings)
            done((place + 1) / n_repeats)
    checks = judge(repeats, confidence_level=confidence_level)
    passed = all(check.passed for check in checks)
    columns = zip(*repeats, strict=True)
    return SelfTest(
        passed=passed,
        verdict=_verdict(checks, passed),
        checks=checks,
        n_repeats=n_repeats,
        n_members=n_members,
        n_nonmembers=per_repeat - n_members,
        splits=splits,
        confidence_level=confidence_level,
        p_values={
            column[0].name: tuple(reading.p_value for reading in column if reading.p_value is not None)
            for column in columns
            if column[0].p_value is not None
        },
        assumptions=(_EXCHANGEABLE, _RANDOM if splits == "random" else _DISJOINT, _ALARMS_ONLY),
        seed=seed,
    )


def _checked_sizes(n: int, per_repeat: int, n_members: int | None, n_repeats: int) -> int:
    if per_repeat < 2 * _FEWEST_ROWS:
        fewest = 2 * _FEWEST_ROWS * (n_repeats if per_repeat < n else 1)
        raise ValueError(f"nonmembers has {n} rows; at least {fewest} are needed for two groups in every repeat.")
    if n_members is None:
        return per_repeat // 2
    n_members = _validate.positive_int(minimum=_FEWEST_ROWS, n_members=n_members)
    if n_members > per_repeat - _FEWEST_ROWS:
        raise ValueError(
            f"n_members={n_members} leaves fewer than {_FEWEST_ROWS} of the {per_repeat} records of a repeat as "
            "non-members; pass a smaller number."
        )
    return n_members


def _samples(
    records: FloatArray, per_repeat: int, n_members: int, n_repeats: int, splits: str, seed: int
) -> Iterator[MembershipSample]:
    """One sample per repeat; rows come in random order, so nothing hangs on how the file was sorted."""
    if splits == "disjoint":
        order = generator(seed, "self-test", "blocks").permutation(len(records))
    for repeat in range(n_repeats):
        if splits == "disjoint":
            rows = order[repeat * per_repeat : (repeat + 1) * per_repeat]
        else:
            rows = generator(seed, "self-test", "split", repeat).permutation(len(records))
        yield MembershipSample(records[rows[:n_members]], records[rows[n_members:]])


def _verdict(checks: tuple[SelfTestCheck, ...], passed: bool) -> str:
    if passed:
        counts = "; ".join(_count(check) for check in checks)
        noticed = max(check.noticeable_rate for check in checks)
        return (
            f"No miscalibration found: {counts}. An alarm rate of {noticed:.2g} would have been noticed nine times in "
            "ten."
        )
    failed = [check for check in checks if not check.passed]
    counts = "; ".join(
        _count(check)
        + (
            f", its p-values too small (Kolmogorov-Smirnov p = {check.uniform_p_value:.2g})"
            if check.uniform_p_value is not None and check.uniform_p_value < check.alarm_p_value
            else ""
        )
        for check in failed
    )
    return (
        f"Not calibrated: {counts}. Records that nobody trained on look like a leak to this pipeline, so what it finds "
        "on a model cannot be trusted."
    )


def _count(check: SelfTestCheck) -> str:
    return f"{check.name} in {check.n_alarms} of {check.n_repeats} repeats where a rate of {check.level:.4g} is allowed"


_EXCHANGEABLE = (
    "None of the records was used for training, or for anything that the pipeline was given beforehand; which of them "
    "play the members is drawn uniformly at random, so the two groups are exchangeable, exactly."
)
_RANDOM = (
    "Every repeat splits the same records. Given the records the repeats are independent, and the counts are binomial "
    "with the pipeline's alarm rate on these records; over the draw of the records they are dependent. A pipeline "
    "that is valid on average over records, but not for each pool of records, can have a rate on one pool that is "
    "slightly above its level: splits='disjoint' tests the average."
)
_DISJOINT = (
    "Every repeat has records of its own, so the repeats are independent draws from the population, at a sample size "
    "that is smaller than that of the audit by the number of repeats."
)
_ALARMS_ONLY = "This is about false alarms. It says nothing about the power to find a leak."
