"""``mace-jax train``: what it leaves behind, going on after an end, tables, labels, and what it refuses."""

from __future__ import annotations

import dataclasses
import functools
import json
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import mace_jax
from mace_jax import _training_inputs, cli, datasets, models
from mace_jax.data import Split, TableEncoder, split_dataset
from mace_jax.models import checkpoint
from mace_jax.models import train as loop
from mace_jax.queries import DiscriminatorScore, NearestSynthetic
from tests.datasets.files import mixed, write_adult

TINY = {"gan": {"latent_dim": 2, "generator_hidden": [8], "discriminator_hidden": [8], "batch_size": 8}}
TINY["vae"] = {"latent_dim": 2, "encoder_hidden": [8], "decoder_hidden": [8], "batch_size": 8}
STEPS = 30


def train(model: str, data: object, out: Path, *more: object, fraction: object = 0.4, steps: object = STEPS):
    given = ("train", model, "--data", data, "--members-fraction", fraction, "--steps", steps, "--out", out, *more)
    return CliRunner().invoke(cli.app, [str(word) for word in given])


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def parameters(folder: Path) -> list[np.ndarray]:
    import jax

    return jax.tree.leaves(models.load(folder).parameters)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Forty records of two numbers and a class."""
    random = np.random.default_rng(0)
    path = tmp_path / "table.csv"
    rows = zip(random.normal(size=(40, 2)), np.arange(40) % 2, strict=True)
    path.write_text("height,weight,kind\n" + "".join(f"{a:.6f},{b:.6f},{kind}\n" for (a, b), kind in rows))
    return path


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Files of small settings, by model."""
    folder = tmp_path_factory.mktemp("settings")
    for model, settings in TINY.items():
        (folder / f"{model}.json").write_text(json.dumps(settings))
    return {model: folder / f"{model}.json" for model in TINY}


def test_digits_are_split_trained_on_and_audited(tmp_path: Path, tiny, monkeypatch) -> None:
    out = tmp_path / "the run"
    result = train("gan", "digits", out, "--settings", tiny["gan"], "--reference-fraction", 0.9499, fraction=0.0223)
    assert result.exit_code == 0, result.output
    lines = result.stderr.splitlines()
    assert lines[1] == "[2/3] Training a GAN on 40 of 1797 records (30 steps) ..." and len(lines) == 3
    digits = datasets.load("digits")
    split = Split.load(out / "split.npz", digits)
    for part in ("members", "nonmembers", "reference"):
        np.testing.assert_array_equal(np.load(out / f"{part}.npy"), digits.records[split.parts[part]])
    fitted = models.load(out)
    assert isinstance(fitted, models.FittedGAN) and len(fitted.labels) == 0
    assert fitted.steps == STEPS and fitted.settings.generator_hidden == (8,)
    direct = models.GAN(**TINY["gan"]).fit(digits.records[split.members], steps=STEPS, seed=0)
    np.testing.assert_array_equal(direct.sample(5, seed=1), fitted.sample(5, seed=1))

    scalar = NearestSynthetic(fitted.sample(200, seed=0)), DiscriminatorScore(fitted)  # quick to compile
    quick = functools.partial(mace_jax.audit, n_permutations=39, n_synthetic=200, queries=scalar)
    monkeypatch.setattr(mace_jax, "audit", quick)
    words = shlex.split(result.stdout.splitlines()[-1])
    assert words[:4] == ["mace-jax", "audit", "--model", str(out)]
    audited = CliRunner().invoke(cli.app, [*words[1:], "--resamples", "200"])
    assert audited.exit_code == 0, audited.output
    found = json.loads((out / "report" / "report.json").read_text())
    assert (found["data"]["n_members"], found["data"]["n_nonmembers"]) == (40, 50)
    assert {"discriminator score", "nearest synthetic distance"} == {query["name"] for query in found["queries"]}
    assert (found["data"]["n_synthetic"], found["data"]["n_reference"]) == (200, 1707)
    assert found["settings"]["files"]["model"] == str(out)


def test_a_killed_run_goes_on_and_a_finished_one_is_prolonged(tmp_path: Path, table, tiny, child_environment) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    given = ("--settings", str(tiny["gan"]))
    words = ("train", "gan", "--data", str(table), "--members-fraction", "0.4", "--steps", str(STEPS))
    code = (
        "import os, signal, sys\nfrom mace_jax import cli\nfrom mace_jax.models import train\n"
        "keep = train._Keeper.keep\n"
        "def keep_and_die(self, point, *, finished):\n"
        "    keep(self, point, finished=finished)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "train._Keeper.keep, train.CHECKPOINT_SECONDS = keep_and_die, 0.0\n"
        f"sys.argv = {['mace-jax', *words, '--out', str(killed), *given]!r}\ncli.main()\n"
    )
    child = subprocess.run([sys.executable, "-c", code], env=child_environment, capture_output=True, check=False)
    assert child.returncode == -signal.SIGKILL, child.stderr.decode()
    state = checkpoint.read(killed / "checkpoint", checkpoint.TRAINING_FILE)
    assert state["done"] == loop.FIRST_CALL < STEPS and not (killed / "model.msgpack").exists()

    done = train("gan", table, killed, *given)
    assert done.exit_code == 0 and "(30 steps, from the last checkpoint)" in done.stderr, done.output
    assert train("gan", table, whole, *given).exit_code == 0
    for one, other in zip(parameters(killed), parameters(whole), strict=True):
        np.testing.assert_array_equal(one, other)
    longer = train("gan", table, killed, *given, steps=STEPS + 10)
    assert longer.exit_code == 0 and models.load(killed).steps == STEPS + 10
    shorter = train("gan", table, killed, *given, steps=STEPS)
    assert shorter.exit_code == 2 and "is already at step 40, beyond steps=30" in shorter.stderr


def test_an_interrupted_run_says_how_to_go_on(tmp_path: Path, table, tiny, monkeypatch) -> None:
    calls = []

    def interrupt(done: int, began: float) -> int:
        calls.append(done)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return 5

    with monkeypatch.context() as patch:
        patch.setattr(loop, "_next_call", interrupt)
        result = train("gan", table, tmp_path / "run", "--settings", tiny["gan"])
    assert result.exit_code == 130
    assert result.stderr.splitlines()[-1] == "Interrupted; repeat the command to continue."
    state = checkpoint.read(tmp_path / "run" / "checkpoint", checkpoint.TRAINING_FILE)
    assert state["done"] == loop.FIRST_CALL
    assert not list((tmp_path / "run").glob(".*"))


def test_a_table_with_categories_is_encoded_the_same_for_all(tmp_path: Path, tiny) -> None:
    write_adult(tmp_path)
    out = tmp_path / "run"
    given = ("--data-dir", tmp_path, "--labels", "class", "--settings", tiny["vae"])
    result = train("vae", "adult", out, *given, fraction=0.5, steps=2)
    assert result.exit_code == 0, result.output
    adult = datasets.load("adult", data_dir=tmp_path)
    split, encoder = Split.load(out / "split.npz", adult), TableEncoder.load(out / "encoder.json")
    for part in ("members", "nonmembers"):
        decoded = encoder.decode(np.load(out / f"{part}.npy"))
        expected = adult.take(split.parts[part]).table
        assert list(decoded) == list(expected)
        for name, column in expected.items():
            np.testing.assert_array_equal(decoded[name], column)
    fitted = models.load(out)
    assert fitted.labels.values == tuple(sorted(set(adult.labels[split.members].tolist())))
    assert encoder.decode(fitted.sample(3, seed=0))["sex"].shape == (3,)


def test_labels_are_a_column_of_the_file(table) -> None:
    records = mace_jax.load_records(table).values
    source = _training_inputs.read_source(str(table), data_dir=None, labels="kind")
    np.testing.assert_array_equal(source.labels, records[:, 2])
    np.testing.assert_array_equal(source.numbers, records[:, :2])
    whole = _training_inputs.read_source(str(table), data_dir=None, labels=None)
    np.testing.assert_array_equal(whole.numbers, records)
    assert whole.labels.tolist() == [0] * 40 and source.encoder is whole.encoder is None


@pytest.mark.filterwarnings("ignore:1 of 2 nonmembers equal a member")
def test_missing_numbers_are_encoded_and_a_single_class_is_no_condition(monkeypatch) -> None:
    people = mixed()
    monkeypatch.setattr(_training_inputs, "load", lambda name, data_dir: people)
    source = _training_inputs.read_source("people", data_dir=None, labels="class")
    assert source.encoder is not None and np.isfinite(source.numbers).all()
    assert np.isnan(source.encoder.decode(source.numbers)["weight"]).tolist() == np.isnan(people.records[:, 0]).tolist()
    split_dataset(source, members=0.5, seed=0).check(people)
    people = dataclasses.replace(people, labels=np.zeros(len(people), np.int64))
    with pytest.raises(ValueError, match="labels='class', but 'people' has a single class; leave labels out"):
        _training_inputs.read_source("people", data_dir=None, labels="class")


@pytest.mark.slow
@pytest.mark.parametrize("model", ["gan", "wgan-gp", "privgan", "pigan"])
def test_conditional_models_are_trained_and_read_back(tmp_path: Path, table, tiny, model: str) -> None:
    result = train(model, table, tmp_path / "run", "--labels", "kind", "--settings", tiny["gan"], steps=3)
    assert result.exit_code == 0, result.output
    fitted = models.load(tmp_path / "run")
    assert type(fitted.settings).__name__ == _training_inputs.MODELS[model] and fitted.steps == 3
    kinds = mace_jax.load_records(table).values[Split.load(tmp_path / "run" / "split.npz").members, 2]
    assert fitted.labels.values == (0, 1) and fitted.labels.shares[1] == kinds.mean()
    assert fitted.sample(4, seed=0).shape == (4, 2)


def test_the_settings_of_every_model() -> None:
    def choose(model: str, **given):
        usual = {"settings": None, "published": False, "pixels": False, "n_members": 7_000}
        return _training_inputs.choose_settings(model, **{**usual, **given})

    for model, name in _training_inputs.MODELS.items():
        kind = getattr(models, name)
        assert choose(model) == (kind(), _training_inputs.STEPS)
        assert choose(model, pixels=True)[0] == kind(scaling="common")
    assert choose("gan", published=True) == (models.published.privgan_mnist_gan(), 13_500)
    assert choose("privgan", published=True) == (models.published.privgan_mnist(7_000), 6_500)
    assert choose("vae", published=True, n_members=6_000) == (models.published_cvae(), 14_062)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": "dcgan"}, "model='dcgan' is not known; pass one of 'gan', 'wgan-gp', 'privgan', 'pigan', 'vae'"),
        ({"data": "didgits"}, "name='didgits' is not a known data set; use one of 'adult'"),
        ({"data": "absent.npy"}, r"absent\.npy does not exist; check the path"),
        ({"data": "words.csv"}, r"column 'city' is not numeric .*'Rome'.* Encode it as numbers"),
        ({"--data-dir": "."}, "data_dir='.' is for data sets by name"),
        ({"--members-fraction": 1.0}, "members_fraction=1.0 must lie strictly between 0 and 1"),
        ({"--members-fraction": "nan"}, "members_fraction=nan must lie strictly between 0 and 1"),
        ({"--members-fraction": 0.01}, "members has 1 rows; at least 2 are needed"),
        ({"--members-fraction": 0.99}, "exceed the 40 records there are; at least 1 must be a nonmember"),
        ({"--reference-fraction": 0.6}, "members_fraction=0.4 and reference_fraction=0.6 leave no nonmembers"),
        ({"--steps": 0}, "steps=0 must be at least 1"),
        ({"--seed": -1}, "seed=-1 must be at least 0"),
        ({"--duplicates": "drop"}, "duplicates='drop' is not known; pass one of 'warn'"),
        ({"--labels": "sort"}, "labels='sort': .* has no column of that name; it has 'height', 'weight', 'kind'"),
        ({"--labels": "height"}, r"labels='height': .* holds .* in row 0 .*; labels must be whole numbers"),
        ({"data": "digits", "--labels": "digit"}, "labels='digit' is no column of 'digits'; pass 'class'"),
        ({"--settings": "absent.json"}, "settings='absent.json' is not a file"),
        ({"--settings": "broken.json"}, "settings='broken.json' is not JSON"),
        ({"--settings": "list.json"}, "settings='list.json' holds no dictionary"),
        ({"--settings": "vae.json"}, "kind='VAE' does not belong to GAN"),
        ({"--settings": "unknown.json"}, r"GAN has no settings \['depth'\]"),
        ({"--settings": "type.json"}, "latent_dim must be an integer, got '2'"),
        ({"model": "pigan", "--published": None}, "nothing is published for model='pigan'"),
        ({"--published": None}, "n_records=16 in 1 parts is less than a batch of 256"),
        ({"--published": None, "--settings": "vae.json"}, "settings='vae.json' and published exclude each other"),
        ({"--out": "table.csv"}, "out='table.csv' cannot be a folder"),
    ],
)
def test_bad_input_is_refused_before_anything_is_written(tmp_path: Path, table, monkeypatch, change, message) -> None:
    monkeypatch.chdir(tmp_path)
    files = {"broken": "{", "list": "[1]", "vae": '{"kind": "VAE"}', "unknown": '{"depth": 3}'}
    for name, text in {**files, "type": '{"latent_dim": "2"}'}.items():
        (tmp_path / f"{name}.json").write_text(text)
    (tmp_path / "words.csv").write_text("height,city\n1,Rome\n2,Oslo\n")
    before = contents(tmp_path)
    given = {"model": "gan", "data": table.name, "--members-fraction": 0.4, "--out": "run", **change}
    model, data = given.pop("model"), given.pop("data")
    words = [str(word) for pair in given.items() for word in pair if word is not None]
    result = CliRunner().invoke(cli.app, ["train", model, "--data", data, *words])
    assert result.exit_code == 2, result.output
    assert re.search(message, result.stderr), result.stderr
    assert "Traceback" not in result.output and result.stderr.splitlines()[-1].startswith("Error: ")
    assert contents(tmp_path) == before


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path, table, tiny) -> None:
    out = tmp_path / "run"
    given = ("--settings", tiny["gan"])
    assert train("gan", table, out, *given, steps=2).exit_code == 0
    before = contents(out)
    for other, message in (
        (train("gan", table, out, *given, "--seed", 1, steps=2), "holds a run on other members"),
        (train("gan", table, out, *given, steps=2, fraction=0.5), "holds a run on other members"),
        (train("vae", table, out, "--settings", tiny["vae"], steps=2), "holds a run with other settings"),
    ):
        assert other.exit_code == 2 and message in other.stderr, other.output
        assert contents(out) == before
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "members.npy").write_text("mine")
    result = train("gan", table, foreign, *given)
    assert result.exit_code == 2 and "holds members.npy but no split.npz" in result.stderr
    assert contents(foreign) == {"members.npy": b"mine"}


def test_training_that_diverges_is_bad_input(tmp_path: Path, table, tiny, monkeypatch) -> None:
    monkeypatch.setattr(loop, "_advance", lambda _trainer, _mesh, state, totals, *_: (state, totals * np.nan))
    result = train("gan", table, tmp_path / "run", "--settings", tiny["gan"])
    assert result.exit_code == 2 and "Error: training diverged between steps 0 and 10" in result.stderr
    assert "Traceback" not in result.stderr and not (tmp_path / "run" / "model.msgpack").exists()
