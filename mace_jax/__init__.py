"""How much does a trained generative model reveal about the records it was trained on?

The main job is one call, ``audit``; every step of it is also a public verb. Names load on first use, so importing
this package costs next to nothing.

>>> import numpy as np
>>> import mace_jax as mj
>>> rng = np.random.default_rng(0)
>>> sample = mj.MembershipSample(rng.normal(1.0, 1.0, 200), rng.normal(0.0, 1.0, 200))
>>> sample
MembershipSample(members=(200, 1), nonmembers=(200, 1))
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mace_jax import (
        attacks,
        certificates,
        data,
        datasets,
        divergences,
        estimators,
        metrics,
        models,
        neighbors,
        queries,
        utility,
    )
    from mace_jax._audit import audit
    from mace_jax._audit_predictions import audit_predictions
    from mace_jax._score_report import ScoreReport, score_report
    from mace_jax._self_test import SelfTest, self_test
    from mace_jax.bootstrap import bootstrap
    from mace_jax.certificates import Certificate, certify
    from mace_jax.data import MembershipSample, load_records
    from mace_jax.metrics import individual_privacy_risk, optimal_membership_advantage
    from mace_jax.report import Report

    __version__: str

_HOME = {
    "ScoreReport": "mace_jax._score_report",
    "SelfTest": "mace_jax._self_test",
    "Certificate": "mace_jax.certificates",
    "MembershipSample": "mace_jax.data",
    "Report": "mace_jax.report",
    "audit": "mace_jax._audit",
    "audit_predictions": "mace_jax._audit_predictions",
    "bootstrap": "mace_jax.bootstrap",
    "certify": "mace_jax.certificates",
    "individual_privacy_risk": "mace_jax.metrics",
    "load_records": "mace_jax.data",
    "optimal_membership_advantage": "mace_jax.metrics",
    "score_report": "mace_jax._score_report",
    "self_test": "mace_jax._self_test",
}
_SUBMODULES = frozenset(
    (
        "attacks",
        "certificates",
        "data",
        "datasets",
        "divergences",
        "estimators",
        "metrics",
        "models",
        "neighbors",
        "queries",
        "utility",
    )
)

__all__ = [
    "Certificate",
    "MembershipSample",
    "Report",
    "ScoreReport",
    "SelfTest",
    "__version__",
    "attacks",
    "audit",
    "audit_predictions",
    "bootstrap",
    "certificates",
    "certify",
    "data",
    "datasets",
    "divergences",
    "estimators",
    "individual_privacy_risk",
    "load_records",
    "metrics",
    "models",
    "neighbors",
    "optimal_membership_advantage",
    "queries",
    "score_report",
    "self_test",
    "utility",
]


def __getattr__(name: str) -> Any:
    import importlib

    if name == "__version__":
        value: Any = _version()
    elif name in _HOME:
        home = importlib.import_module(_HOME[name])
        value = home if home.__name__ == f"{__name__}.{name}" else getattr(home, name)  # a package that is a verb
    elif name in _SUBMODULES:
        return importlib.import_module(f"mace_jax.{name}")
    else:
        raise AttributeError(f"module 'mace_jax' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def _version() -> str:
    """The installed version; a source tree that was never installed has none."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("mace-jax")
    except PackageNotFoundError:
        return "0+uninstalled"
