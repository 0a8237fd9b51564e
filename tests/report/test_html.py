"""The page: self-contained, escaped, well-formed, accessible, free of single records."""

from __future__ import annotations

import dataclasses
import html
import os
import re
import subprocess
import sys
from html.parser import HTMLParser

import numpy as np
import pytest

from mace_jax.metrics import IndividualRisk, RecordRisks
from mace_jax.report._html import render

VOID = {"meta", "br", "link", "img", "input", "hr"}
NASTY = "<script>alert(1)</script> $\\frac{x$ & \"q\" 'a' {{ 7*7 }}"


class Page(HTMLParser):
    """Collects text, attributes and ids, and fails on a tag that closes what is not open."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_startendtag(tag, attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open.pop() == tag, f"</{tag}> at {self.getpos()}"

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    def values(self, name: str) -> list[str]:
        return [value for _, key, value in self.attributes if key == name]


@pytest.fixture(scope="module")
def text(report):
    return render(report)


@pytest.fixture(scope="module")
def page(text):
    return Page(text)


def test_page_is_well_formed_and_its_ids_are_unique_and_resolve(page, text):
    assert page.open == []
    ids = page.values("id")
    assert len(ids) == len(set(ids))
    wanted = {value.removeprefix("#") for value in page.values("href")}
    wanted |= {part for value in page.values("aria-labelledby") for part in value.split()}
    wanted |= set(re.findall(r"url\(#([^)]+)\)", text))
    assert wanted <= set(ids)


def test_page_loads_nothing_and_runs_nothing(page, text):
    assert not {"script", "link", "img", "iframe", "object", "image"} & set(page.tags)
    assert "http://" not in text and "https://" not in text and "@import" not in text
    assert all(value.startswith("#") for value in page.values("href"))
    assert not page.values("src")
    assert not [name for _, name, _ in page.attributes if name.startswith("on")]
    assert "default-src 'none'" in text


def test_page_says_what_an_officer_needs(page, report):
    words = " ".join(" ".join(page.words).split())
    assert report.verdict in words
    assert "0 = no better than guessing, 1 = perfect" in words
    assert "no upper bound and no proof of privacy" in words
    for sentence in (*report.certificate.assumptions, *report.warnings, report.certificate.method, report.device):
        assert sentence in words
    for query in report.queries:
        assert words.count(query.name) >= 4
        for result in query.advantages:
            assert f"[{result.low:.3f}, {result.high:.3f}]" in words
            assert f"{result.plug_in:.3f}" in words
    assert report.control.sentence in words
    for name, version in report.versions.items():
        assert name in words and version in words


def test_bounds_are_rounded_down(make_report):
    base = make_report()
    proof = dataclasses.replace(base.certificate, epsilon=0.70971, advantage=0.31299)
    page = render(dataclasses.replace(base, certificate=proof))
    assert "0.709" in page and "0.710" not in page.split("Held-out counts")[0]
    assert "0.312" in page


def test_every_figure_has_a_title_and_a_description(page):
    n = page.tags.count("svg")
    assert n == 2 + 3 * 2 + 1
    assert page.tags.count("desc") == n
    assert [value for tag, name, value in page.attributes if tag == "svg" and name == "role"] == ["img"] * n


def test_figures_follow_the_color_scheme(text):
    figures = "".join(re.findall(r"<svg.*?</svg>", text, flags=re.DOTALL))
    assert re.sub(r"var\(--[a-z]+, #[0-9a-f]{6}\)", "", figures).count("#") == len(
        re.findall(r"url\(#|href=\"#", figures)
    )
    assert "prefers-color-scheme: dark" in text
    defined = set(re.findall(r"(--[a-z-]+):", text))
    assert set(re.findall(r"var\((--[a-z-]+)", text)) <= defined


def test_same_report_same_page(report, text):
    assert render(report) == text


def test_hostile_names_stay_text(make_report):
    base = make_report((NASTY, "a\x1b[31m\x00b\udc80\u202ec"))
    query = dataclasses.replace(
        base.queries[0],
        description=NASTY,
        histogram=dataclasses.replace(base.queries[0].histogram, label=NASTY),
        roc=dataclasses.replace(base.queries[0].roc, score=NASTY),
    )
    report = dataclasses.replace(
        base,
        verdict=NASTY,
        queries=(query, base.queries[1]),
        control=dataclasses.replace(base.control, sentence=NASTY),
        warnings=(NASTY,),
        settings={NASTY: [NASTY]},
        versions={NASTY: NASTY},
        device=NASTY,
        created=NASTY,
        individual_risk_query=NASTY,
    )
    text = render(report)
    page = Page(text)
    assert "script" not in page.tags and "<script" not in text
    words = "".join(page.words)
    assert NASTY in words and "49" not in re.findall(r"\{\{ (\d+) \}\}", words)
    figures = "".join(re.findall(r"<svg.*?</svg>", text, flags=re.DOTALL))
    assert html.escape("<script>alert(1)</script> $\\frac{x", quote=False) in figures
    assert "a\\x1b[31m\\x00b\\udc80\\u202ec" in words
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f\u202e\ud800-\udfff]", text)
    text.encode("utf-8")


def test_names_outside_the_plot_font_are_kept(make_report):
    assert "距離" in "".join(Page(render(make_report(("距離",)))).words)


def test_very_long_name_is_cut_in_figures_only(make_report):
    name = "x" * 400
    text = render(make_report((name,)))
    texts = re.findall(r"<text[^>]*>(x+…?)</text>", text)
    assert texts and max(map(len, texts)) <= 60
    assert name in Page(text).words


def test_page_holds_only_the_top_records(make_report):
    n = 5000
    rng = np.random.default_rng(1)

    def risks() -> RecordRisks:
        p = rng.uniform(0.1, 0.9, n)
        return RecordRisks(posterior=p, log_ratio=np.log(p / (1 - p)), low=p - 0.1, high=p + 0.1, q_value=1 - p)

    members, nonmembers = risks(), risks()
    members.posterior[123] = 0.987
    report = make_report(individual_risk=IndividualRisk(members, nonmembers, 0.5, 0.95, 45))
    text = render(report)
    table = text[text.index("The 20 records at highest posterior") :]
    table = table[: table.index("</table>")]
    rows = re.findall(r'<th scope="row">([\d,]+)</th><td class="text">(member|non-member)</td><td>([\d.]+)</td>', table)
    assert len(rows) == 20 and rows[0] == ("123", "member", "0.987")
    shown = [float(row[2]) for row in rows]
    best = np.sort(np.concatenate([members.posterior, nonmembers.posterior]))[::-1][:20]
    np.testing.assert_allclose(shown, best, atol=6e-4)
    assert text.count("<tr>") < 70  # the rows above and the fixed tables


def test_other_outcomes_have_their_words(make_report):
    base = make_report()
    proof = dataclasses.replace(
        base.certificate, claim="the training algorithm", epsilon=0.0, advantage=0.0, delta=1e-5, counts=()
    )
    text = render(
        dataclasses.replace(
            base, leak_detected=False, control=None, control_skipped="too few rows", certificate=proof, warnings=()
        )
    )
    words = " ".join(" ".join(Page(text).words).split())
    assert "No leak detected" in words
    assert "An ε of 0 means that this many records could not prove a leak" in words
    assert "About the training algorithm . No leak could be certified from these records" in words
    assert "differentially private for any" not in words
    assert "δ = 1e-05" in words.replace("\u00a0", " ")
    assert "The negative control was not run: too few rows" in words
    assert "1 warning" not in words
    proof = dataclasses.replace(proof, epsilon=0.5)
    assert "it is not (ε, δ)-differentially private for any ε below 0.500" in render(
        dataclasses.replace(base, certificate=proof)
    )
    failed = dataclasses.replace(base, control=dataclasses.replace(base.control, passed=False))
    assert "✗ Failed" in render(failed)


def test_certified_advantage_alone_gives_the_published_forms_of_epsilon(make_report):
    base = make_report()
    page = render(
        dataclasses.replace(base, certificate=dataclasses.replace(base.certificate, advantage=0.4, delta=0.0))
    )
    for value in ("0.847", "0.336", "0.510"):  # 2 artanh A, ln(1 + A), -ln(1 - A) = 0.5108, rounded down
        assert f"<td>{value}</td>" in page


def test_status_of_an_estimate_is_shown_once(make_report):
    report = make_report()
    sentence = report.queries[0].advantage.status[0]
    assert render(report).count(sentence) == len(report.queries)


def test_counts_and_skewed_bins_of_every_kind_are_shown(make_report):
    base = make_report()
    counts = (
        {"rule": "x >= 1", "true_positives": 3, "members": np.int64(1200), "extra": {"fold": [1, True, None]}},
        {"rule": "y", "epsilon": 0.98765, "k": np.int64(1234)},
    )
    edges = (0.0, 1.0, 10.0, 1000.0)
    histogram = dataclasses.replace(base.queries[0].histogram, edges=edges, members=(5, 0, 1), nonmembers=(0, 0, 0))
    query = dataclasses.replace(base.queries[0], histogram=histogram, kind="vector", n_outputs=3)
    page = render(
        dataclasses.replace(base, queries=(query,), certificate=dataclasses.replace(base.certificate, counts=counts))
    )
    for words in ("<td>0.987</td>", "<td>1,234</td>", "3 of 1,200", "fold: 1, yes, none"):
        assert words in page
    assert "Share of the group per unit" in page and "vector, 3 outputs" in page


def test_rendering_is_what_imports_matplotlib_and_jinja2():
    code = "import mace_jax.report, sys; print([m for m in ('matplotlib', 'jinja2', 'jsonschema') if m in sys.modules])"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.strip() == "[]"
