"""Experiments: rows and tables, models that are trained once, data that are missing, and the real ones shortened."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator

import numpy as np
import pytest
from scipy import stats

import mace_jax.reproduce as package
from mace_jax.models import GAN
from mace_jax.reproduce import EXPERIMENTS, Experiment, Row, markdown, read_rows, reproduce
from mace_jax.reproduce._run import Run
from mace_jax.reproduce._summary import over_seeds

SMALL = GAN(latent_dim=2, generator_hidden=(4,), discriminator_hidden=(4,), batch_size=8)


def row(value: float | None, seed: int | None = 0, **given: object) -> Row:
    return Row("name", "digits", "GAN", "top-n", value=value, seed=seed, **given)  # type: ignore[arg-type]


@pytest.fixture
def small(monkeypatch):
    """An experiment that trains a small GAN on real digits."""

    def rows(run: Run, seeds: tuple[int, ...]) -> Iterator[Row]:
        records = run.dataset("digits").records[:40]
        for seed in seeds:
            model = run.fitted("small", SMALL, records, steps=run.steps(20), seed=seed)
            value = float(model.discriminator_score(records).mean())
            yield row(value, seed, steps=model.steps, note=run.note, accepted=(None, 0.0))

    monkeypatch.setitem(EXPERIMENTS, "small", Experiment("A small one", rows, 3, "a second"))


def test_rows_survive_the_round_trip(tmp_path):
    rows = [row(0.25, low=0.2, high=0.3, accepted=(0.1, None)), row(None, note="no data | none")]
    file = package._table.write_rows(tmp_path / "rows.jsonl", rows)
    assert read_rows(file) == rows
    assert [json.loads(line)["reproduced"] for line in file.read_text().splitlines()] == [True, None]
    file.write_text("[1]\n")
    with pytest.raises(ValueError, match="remove it"):
        read_rows(file)


@pytest.mark.parametrize(
    ("accepted", "value", "expected"),
    [
        (None, 0.5, None),
        ((0.4, 0.6), 0.5, True),
        ((0.4, 0.6), 0.7, False),
        ((None, 0.5), 0.5, True),
        ((0.6, None), 0.5, False),
    ],
)
def test_a_row_says_whether_it_is_in_the_accepted_range(accepted, value, expected):
    assert row(value, accepted=accepted).reproduced is expected


def test_seeds_are_summarized_by_a_t_interval():
    values = [0.5, 0.7, 0.6, 0.9]
    (summary,) = over_seeds([row(value, seed) for seed, value in enumerate(values)])
    low, high = stats.t.interval(0.95, 3, np.mean(values), stats.sem(values))
    assert (summary.value, summary.low, summary.high) == pytest.approx((np.mean(values), low, high))
    assert summary.seed is None
    assert list(over_seeds([row(0.5), row(0.6, 1), row(None)])) == []


@pytest.mark.parametrize(
    ("quantity", "limits"),
    [
        ("TPR at FPR 0.001", (0.0, 1.0)),
        ("gan leaks: AUC", (0.0, 1.0)),
        ("AUC of the distance to the nearest released record", (0.0, 1.0)),
        ("white-box top-n, mean over discriminators", (0.0, 1.0)),
        ("accuracy on non-members", (0.0, 1.0)),
        ("reconstruction: accuracy, single", (0.0, 1.0)),
        ("downstream accuracy", (0.0, 1.0)),
        ("recall", (0.0, 1.0)),
        ("Frechet distance of pixels from 0 to 1", (0.0, None)),
        ("TPR at FPR 0.001 of LiRA over that of the loss attack", (0.0, None)),
        ("full black box: AUC minus that without", (None, None)),
        ("accuracy on members minus that on others", (None, None)),
        ("share of the GAN's excess over chance, mean over discriminators", (None, None)),
        ("recall of something new", (None, None)),
    ],
)
def test_limits_over_seeds_stay_in_the_range_of_the_quantity(quantity, limits):
    """Values far apart: the t interval reaches from -0.5 to 1.6."""
    rows = [dataclasses.replace(row(value, seed), quantity=quantity) for seed, value in enumerate((0.1, 0.525, 0.95))]
    (summary,) = over_seeds(rows)
    reach = stats.t.ppf(0.975, 2) * 0.425 / np.sqrt(3)
    low, high = (0.525 + sign * reach if limit is None else limit for sign, limit in zip((-1, 1), limits, strict=True))
    assert (summary.low, summary.high) == pytest.approx((low, high))
    assert summary.interval.endswith(", cut to its range") is (limits != (None, None))
    (beyond,) = over_seeds([dataclasses.replace(one, value=-one.value) for one in rows])  # of some other kind
    assert (beyond.low, beyond.high) == pytest.approx((-0.525 - reach, -0.525 + reach))


def test_the_table_shows_one_line_per_figure():
    rows = [row(0.25), row(0.75, 1), Row("name", "lfw", "", "all of it", note="no data | none")]
    lines = markdown([*rows, *over_seeds(rows)]).splitlines()
    assert len(lines) == 5
    assert "seed 0 |" in lines[2] and "0.250" in lines[2] and "seed 1 |" in lines[3] and "0.750" in lines[3]
    rows = [row(0.5, 2), *rows]
    lines = markdown([*rows, *over_seeds(rows)]).splitlines()
    assert len(lines) == 4 and not any("seed" in line for line in lines)
    assert "0.500 [" in lines[-1] and "not run" in lines[2] and "no data / none" in lines[2]


def test_models_are_trained_once_and_rows_kept(small, tmp_path):
    told: list[str] = []
    first = reproduce("small", out=tmp_path, announce=told.append)
    assert [entry.seed for entry in first] == [0, 1, 2, None]
    assert read_rows(tmp_path / "small.jsonl") == first
    assert "| digits | GAN | top-n |" in (tmp_path / "small.md").read_text()
    files = {file: file.stat().st_mtime_ns for file in (tmp_path / "models").rglob("*.msgpack")}
    assert len(files) == len(told) == 3
    assert reproduce("small", out=tmp_path) == first
    assert {file: file.stat().st_mtime_ns for file in files} == files


def test_shortened_training_is_said_to_be_none(small, tmp_path):
    found = reproduce("small", out=tmp_path, fraction=0.1, n_seeds=1)
    assert found[0].steps == 2 and "not a reproduction" in found[0].note


def test_missing_data_are_a_row_with_the_command_to_run(monkeypatch, tmp_path):
    def nowhere(name: str, **_: object) -> None:
        raise FileNotFoundError(f"{name} is in none of the folders; install it.")

    monkeypatch.setattr("mace_jax.reproduce._run.load", nowhere)
    (found,) = reproduce("white-box-fashion-mnist", out=tmp_path / "with space")
    assert found.value is None
    assert "install it" in found.note and "mace-jax reproduce white-box-fashion-mnist --out '" in found.note
    assert "not run" in (tmp_path / "with space" / "white-box-fashion-mnist.md").read_text()


def test_bad_arguments_are_named(tmp_path):
    with pytest.raises(ValueError, match="name='lfw' is not known"):
        reproduce("lfw", out=tmp_path)
    with pytest.raises(ValueError, match="fraction=2"):
        reproduce("white-box-digits", out=tmp_path, fraction=2.0)
    with pytest.raises(ValueError, match="n_seeds=0"):
        reproduce("white-box-digits", out=tmp_path, n_seeds=0)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["white-box-digits", "metric-private-vae"])
def test_real_experiments_shortened(name, tmp_path):
    found = reproduce(name, out=tmp_path, fraction=0.02, n_seeds=1)
    assert all(entry.value is not None and np.isfinite(entry.value) for entry in found)
    assert {entry.model for entry in found} and len({entry.quantity for entry in found}) >= 3
    for entry in found:
        if entry.low is not None:
            assert entry.low <= entry.value <= entry.high
