"""One self-contained HTML page: no script, nothing loaded, every name escaped."""

from __future__ import annotations

import datetime
import math
import numbers
from collections.abc import Sequence
from importlib import resources
from typing import Any

import numpy as np

from mace_jax.certificates import Certificate, epsilon_from_advantage
from mace_jax.metrics import IndividualRisk, RecordRisks
from mace_jax.report import _plots
from mace_jax.report._report import Report
from mace_jax.report._text import at_least, number, p_value, per_cent, visible

__all__ = ["render"]

_TOP = 20
_PRIORS = (0.5, 0.1, 0.01, 0.001)
_Q_LEVEL = 0.05
_HEADERS = {
    "true_positives": "Members accused",
    "false_positives": "Non-members accused",
    "true_positive_rate_low": "TPR ≥",
    "false_positive_rate_high": "FPR ≤",
    "advantage": "Advantage ≥",
    "epsilon": "ε ≥",
}


def render(report: Report) -> str:
    """The page as text; the same report gives the same page."""
    import jinja2
    from markupsafe import Markup

    folder = resources.files("mace_jax.report").joinpath("templates")
    names = ("report.html.j2", "report.css")
    environment = jinja2.Environment(
        loader=jinja2.DictLoader({name: folder.joinpath(name).read_text(encoding="utf-8") for name in names}),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value,
    )
    environment.filters.update(number=number, at_least=at_least, per_cent=per_cent, p_value=p_value, when=_when)
    riskiest = _riskiest(report.individual_risk)
    figures = {name: Markup(svg) for name, svg in _figures(report).items()}
    return environment.get_template("report.html.j2").render(
        report=report,
        headline=max(report.queries, key=lambda query: (query.advantage.low, query.advantage.advantage), default=None),
        controls=dict(report.control.queries) if report.control else {},
        figures=figures,
        counts=_counts,
        epsilon_forms=_epsilon_forms(report.certificate),
        riskiest=riskiest,
        as_risky=_as_risky(report.individual_risk, riskiest),
        risk_table=_risk_table(report.individual_risk),
        flagged=_flagged(report.individual_risk),
        q_level=_Q_LEVEL,
        settings=[(str(name), _words(value)) for name, value in report.settings.items()],
        words=_humanize,
    )


def _figures(report: Report) -> dict[str, str]:
    rows = [(query.name, query.advantage) for query in report.queries]
    controls = list(report.control.queries) if report.control else []
    limits = _plots.shared_range([result for _, result in rows + controls])
    title = "Advantage of every query"
    figures = {"forest": _plots.forest(rows, limits=limits, uid="forest", title=title)}
    if controls:
        title = "Negative control: the same between two halves of the non-members"
        figures["control"] = _plots.forest(controls, limits=limits, uid="control", title=title, control=True)
    for place, query in enumerate(report.queries, 1):
        n = report.data.n_nonmembers
        figures[f"roc-{place}"] = _plots.roc_linear(query.roc, uid=f"roc-{place}", name=query.name)
        figures[f"log-{place}"] = _plots.roc_log(query.roc, uid=f"log-{place}", name=query.name, n_nonmembers=n)
        figures[f"scores-{place}"] = _plots.score_histogram(query.histogram, uid=f"scores-{place}", name=query.name)
    risk = report.individual_risk
    figures["risk"] = _plots.risk_histogram(
        risk.members.posterior, risk.nonmembers.posterior, prior=risk.prior, uid="risk"
    )
    return figures


def _counts(certificate: Certificate, skip: str = "") -> tuple[list[str], list[list[tuple[str, str]]]]:
    """Header and rows of (CSS class, text); the columns are all keys that occur, in the order they occur first."""
    counts = [_joined(row) for row in certificate.counts]
    keys = [key for key in dict.fromkeys(key for row in counts for key in row) if key != skip]
    header = [_HEADERS.get(key) or _humanize(key) for key in keys]
    return header, [[_cell(key, row.get(key, "")) for key in keys] for row in counts]


def _joined(row: dict[str, Any]) -> dict[str, Any]:
    """The row with each count and its total in one entry: 12 of 300."""
    joined = dict(row)
    for hits, total in (("true_positives", "members"), ("false_positives", "nonmembers")):
        if hits in row and total in row:
            joined[hits] = f"{number(row[hits])} of {number(joined.pop(total))}"
    return joined


def _cell(key: str, value: Any) -> tuple[str, str]:
    if isinstance(value, float) and (key in ("advantage", "epsilon") or key.endswith("_low")):
        return "", at_least(value)
    if isinstance(value, float | numbers.Integral) and not isinstance(value, bool):
        return "", number(value)
    return "" if key in ("true_positives", "false_positives") else "text", _words(value)


def _when(created: str) -> str:
    try:
        moment = datetime.datetime.fromisoformat(created)
    except ValueError:
        return created
    zone = "" if moment.tzinfo is None else " UTC"
    return (moment.astimezone(datetime.UTC) if zone else moment).strftime("%Y-%m-%d %H:%M") + zone


def _humanize(key: str) -> str:
    return str(key).replace("_", " ").replace("nonmember", "non-member").capitalize()


def _words(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name}: {_words(entry)}" for name, entry in value.items()) or "none"
    if isinstance(value, list | tuple):
        return ", ".join(_words(entry) for entry in value) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none" if value is None else str(value)


def _epsilon_forms(proof: Certificate) -> list[tuple[str, float]]:
    """What the certified advantage alone says about epsilon; each is weaker than or equal to the certificate."""
    a = proof.advantage
    if not 0.0 < a < 1.0:
        return []
    sharp = epsilon_from_advantage(a, delta=proof.delta)
    forms = [("ln((1 + A − 2δ) / (1 − A)), from A ≤ (e^ε − 1 + 2δ) / (e^ε + 1)", sharp)]
    if proof.delta == 0.0:
        forms += [
            ("ln(1 + A), from A ≤ e^ε − 1 (Yeom et al. 2018)", math.log1p(a)),
            ("−ln(1 − A), from A ≤ 1 − e^−ε (Erlingsson et al. 2019)", -math.log1p(-a)),
        ]
    return forms


def _riskiest(risk: IndividualRisk) -> list[dict[str, Any]]:
    """The records at highest posterior; ties go to the smaller q-value, then to the higher lower limit."""
    rows = []
    for group, records in (("member", risk.members), ("non-member", risk.nonmembers)):
        order = np.lexsort((-records.low, records.q_value, -records.posterior))[:_TOP]
        rows += [_record(group, int(row), records) for row in order]
    return sorted(rows, key=lambda row: (-row["posterior"], row["q_value"], -row["low"]))[:_TOP]


def _as_risky(risk: IndividualRisk, riskiest: Sequence[dict[str, Any]]) -> int:
    """Records whose posterior is at least that of the last one listed."""
    if not riskiest:
        return 0
    last = riskiest[-1]["posterior"]
    return int(np.sum(risk.members.posterior >= last) + np.sum(risk.nonmembers.posterior >= last))


def _record(group: str, row: int, records: RecordRisks) -> dict[str, Any]:
    values = {name: float(getattr(records, name)[row]) for name in ("posterior", "low", "high", "q_value")}
    return {"group": group, "row": row, **values}


def _risk_table(risk: IndividualRisk) -> list[tuple[float, list[float]]]:
    """Median, 99% quantile and maximum of the members' posterior at several priors."""
    ratios = risk.members.log_ratio
    if not len(ratios):
        return []
    picked = np.array([np.median(ratios), np.quantile(ratios, 0.99), ratios.max()])
    return [(prior, (1.0 / (1.0 + np.exp(-picked) * (1 - prior) / prior)).tolist()) for prior in _PRIORS]


def _flagged(risk: IndividualRisk) -> Sequence[tuple[str, int, int]]:
    groups = (("members", risk.members), ("non-members", risk.nonmembers))
    return [(name, int(np.sum(records.q_value <= _Q_LEVEL)), len(records.q_value)) for name, records in groups]
