"""What the command line says about counts: a bound, and what it proves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mace_jax.certificates._counted import METHOD_NAMES, checked_method
from mace_jax.certificates._epsilon import epsilon_from_counts
from mace_jax.certificates._gdp import epsilon_gdp
from mace_jax.certificates._joint_beta import epsilon_joint_beta
from mace_jax.certificates._one_run import epsilon_one_run
from mace_jax.certificates._one_run_fdp import epsilon_one_run_fdp
from mace_jax.certificates.design import load_design
from mace_jax.data import load_records

__all__ = ["of_counts", "of_design"]

_FAMILY = " If the trade-off curve is not Gaussian, it may lie above the truth."


def of_counts(counts: dict[str, int | None], *, method: str | None, delta: float, confidence_level: float) -> list[str]:
    """A line with the bound and one with what follows from it.

    Raises:
        ValueError: counts that are missing or of two kinds, or that the method cannot use.
    """
    given = {name: value for name, value in counts.items() if value is not None}
    names = _ONE_RUN if any(name in given for name in _ONE_RUN) else _RATES
    foreign, missing = [name for name in given if name not in names], [name for name in names if name not in given]
    if foreign or missing:
        raise ValueError(
            f"pass {_options(_RATES)}, or {_options(_ONE_RUN)}; "
            + (f"{_options(foreign)} belongs to the others." if foreign else f"{_options(missing)} is missing.")
        )
    level = {"delta": delta, "confidence_level": confidence_level}
    values = [given[name] for name in names]
    if names is _ONE_RUN:
        return _one_run(values, "one_run" if method is None else method, level)
    return _rates(values, "clopper_pearson" if method is None else method, level)


def of_design(
    design: Path | None,
    scores: Path | None,
    counts: dict[str, int | None],
    *,
    method: str | None,
    delta: float,
    confidence_level: float,
) -> list[str]:
    """The same from a design file and the scores of its candidates.

    Raises:
        FileNotFoundError: a file that does not exist.
        ValueError: one of the files is missing, counts beside them, or scores that do not fit the design.
    """
    others = [name for name, value in counts.items() if value is not None and name != "guesses"]
    if design is None or scores is None or others:
        raise ValueError(
            "pass --design and --scores together, with --guesses at most; "
            + (f"{_options(others)} belongs to counts." if others else "one of them is missing.")
        )
    drawn = load_design(design)
    chosen: dict[str, Any] = {} if method is None else {"method": method}
    if counts["guesses"] is not None:
        chosen["n_guesses"] = counts["guesses"]
    values = load_records(scores).values
    certificate = drawn.certify(values, delta=delta, confidence_level=confidence_level, **chosen)
    level = {"delta": delta, "confidence_level": confidence_level}
    about = f"This is about the training algorithm, and data sets that differ so: {certificate.neighbors}. It assumes:"
    proves = about if certificate.epsilon else _NOTHING
    lines = [_bound(certificate.epsilon, level, certificate.method), proves]
    return lines + [f"- {sentence}" for sentence in certificate.assumptions if certificate.epsilon]


def _one_run(values: list[int], method: str, level: dict[str, Any]) -> list[str]:
    if method not in ("one_run", "one_run_fdp"):
        raise ValueError(f"method={method!r} needs {_options(_RATES)}; with canaries pass one_run or one_run_fdp.")
    gaussian = method == "one_run_fdp"
    epsilon = (epsilon_one_run_fdp if gaussian else epsilon_one_run)(*values, **level)
    name = "one run, Gaussian family" if gaussian else "one run"
    proves = _ALGORITHM + (_FAMILY if gaussian else "")
    return [_bound(epsilon, level, name), proves if epsilon > 0.0 else _NOTHING]


def _rates(values: list[int], method: str, level: dict[str, Any]) -> list[str]:
    hits, n_members, alarms, n_nonmembers = values
    if method == "joint_beta":
        epsilon_from_counts(*values, **level)  # the same checks of the counts
        low, high = epsilon_joint_beta(hits, n_members - hits, alarms, n_nonmembers - alarms, **level)
        inside = f"credible {level['confidence_level']:g}, delta {level['delta']:g}, joint beta"
        return [f"epsilon in [{low:.4f}, {high:.4f}] ({inside})", _CREDIBLE]
    checked_method(method, level["delta"])
    if method == "gdp":
        epsilon_from_counts(*values, **level)  # names the counts as they were given
        mu, epsilon = epsilon_gdp(n_members - hits, n_members, alarms, n_nonmembers, **level)
        return [
            _bound(epsilon, level, f"Gaussian family, mu >= {mu:.4f}"),
            _MODEL + _FAMILY if epsilon > 0.0 else _NOTHING,
        ]
    epsilon = epsilon_from_counts(*values, method=method, **level)  # type: ignore[arg-type]
    rough = "" if method == "clopper_pearson" else " The method is a large-sample approximation."
    return [_bound(epsilon, level, METHOD_NAMES[method]), (_MODEL if epsilon > 0.0 else _NOTHING) + rough]


def _bound(epsilon: float, level: dict[str, Any], name: str) -> str:
    return f"epsilon >= {epsilon:.4f} (confidence {level['confidence_level']:g}, delta {level['delta']:g}, {name})"


def _options(names: Any) -> str:
    options = ["--" + name.replace("_", "-") for name in names]
    return options[0] if len(options) == 1 else ", ".join(options[:-1]) + " and " + options[-1]


_RATES = ("true_positives", "members", "false_positives", "nonmembers")
_ONE_RUN = ("canaries", "guesses", "correct")
_MODEL = (
    "What produced these counts is not differentially private at any smaller epsilon. Counts from one trained model "
    "speak for that model; the training algorithm's epsilon needs records included by independent coin flips."
)
_ALGORITHM = (
    "The training algorithm is not differentially private at any smaller epsilon, if every canary was included by a "
    "fair coin of its own, and guessed about without knowledge of the coins."
)
_NOTHING = "These counts prove no leakage at this confidence. That is not a proof of privacy."
_CREDIBLE = (
    "A credible interval under Jeffreys priors, not a certificate: its lower end may exceed the truth more often than "
    "its level says."
)
