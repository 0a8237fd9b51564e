from __future__ import annotations

import json
import signal

import jax
import numpy as np
import pytest

from mace_jax.models import GAN, VAE, checkpoint, train
from mace_jax.models.encoding import Scaling

KINDS = ("GAN", "VAE")


def leaves(fitted):
    return jax.tree.leaves(fitted.parameters)


def same(first, second) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(leaves(first), leaves(second), strict=True))


class Killed(BaseException):
    """Stands for the process ending here."""


@pytest.fixture
def short_chunks(monkeypatch):
    monkeypatch.setattr(train, "CHUNK", 10)


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seed_gives_the_same_weights(kind, tiny, table):
    first, again, other = (tiny[kind].fit(table, steps=20, seed=seed) for seed in (5, 5, 6))
    assert same(first, again) and first.history == again.history
    assert not same(first, other)
    assert np.array_equal(first.sample(4, seed=0), again.sample(4, seed=0))


def test_the_callers_precision_does_not_change_the_weights(tiny, table):
    with jax.enable_x64(False):
        narrow = tiny["GAN"].fit(table, steps=20, seed=5)
    with jax.enable_x64(True):
        wide = tiny["GAN"].fit(table, steps=20, seed=5)
        samples = wide.sample(6, seed=0)
    assert same(narrow, wide) and np.array_equal(narrow.sample(6, seed=0), samples)


def test_a_jax_key_is_a_seed(tiny, table):
    first = tiny["GAN"].fit(table, steps=5, seed=jax.random.key(9))
    assert same(first, tiny["GAN"].fit(table, steps=5, seed=9))
    assert first.sample(2, seed=jax.random.key(1)).shape == (2, 3)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("signal_kind", [Killed, KeyboardInterrupt])
def test_an_interrupted_run_ends_bit_for_bit_like_an_uninterrupted_one(
    kind, signal_kind, tiny, table, tmp_path, monkeypatch, short_chunks
):
    labels = np.arange(30) % 2
    whole = tiny[kind].fit(table, labels, steps=35, seed=2)
    calls, advance = [], train._advance

    def interrupted(*args):
        calls.append(args)
        if len(calls) == 3:
            raise signal_kind
        return advance(*args)

    monkeypatch.setattr(train, "_advance", interrupted)
    with pytest.raises(signal_kind):
        tiny[kind].fit(table, labels, steps=35, seed=2, checkpoint_dir=tmp_path / "run")
    assert checkpoint.read(tmp_path / "run", checkpoint.TRAINING_FILE)["done"] == 20
    calls.clear()
    monkeypatch.setattr(train, "_advance", lambda *args: calls.append(args) or advance(*args))
    resumed = tiny[kind].fit(table, labels, steps=35, seed=2, checkpoint_dir=tmp_path / "run")
    assert len(calls) == 2  # steps 20 to 30 and 30 to 35; the first 20 were not repeated
    assert same(whole, resumed) and whole.history == resumed.history


def test_chunk_length_does_not_change_the_weights(tiny, table, monkeypatch):
    weights = [tiny["GAN"].fit(table, steps=23, seed=1)]
    for chunk in (1, 7):
        monkeypatch.setattr(train, "CHUNK", chunk)
        weights.append(tiny["GAN"].fit(table, steps=23, seed=1))
    assert same(weights[0], weights[1]) and same(weights[0], weights[2])


def test_a_finished_run_can_be_repeated_or_continued(tiny, table, tmp_path, short_chunks):
    first = tiny["VAE"].fit(table, steps=15, seed=1, checkpoint_dir=tmp_path)
    assert same(first, tiny["VAE"].fit(table, steps=15, seed=1, checkpoint_dir=tmp_path))
    longer = tiny["VAE"].fit(table, steps=30, seed=1, checkpoint_dir=tmp_path)
    assert same(longer, tiny["VAE"].fit(table, steps=30, seed=1))
    with pytest.raises(ValueError, match="already at step 30, beyond steps=20; pass steps=30 or more"):
        tiny["VAE"].fit(table, steps=20, seed=1, checkpoint_dir=tmp_path)


def test_a_checkpoint_of_another_run_is_refused(tiny, table, tmp_path):
    tiny["GAN"].fit(table, steps=2, seed=1, checkpoint_dir=tmp_path)
    changed = table.copy()
    changed[0, 0] += 1.0
    for settings, records, seed in ((tiny["GAN"], table, 2), (tiny["GAN"], changed, 1), (tiny["VAE"], table, 1)):
        with pytest.raises(
            ValueError, match="holds a run with other settings, seed or records; pass an empty directory"
        ):
            settings.fit(records, steps=2, seed=seed, checkpoint_dir=tmp_path)


def test_a_crash_while_writing_leaves_the_old_file(tmp_path, monkeypatch):
    checkpoint.write(tmp_path, "a.msgpack", {"step": 1})

    def crash(*args):
        raise Killed

    monkeypatch.setattr(checkpoint.os, "replace", crash)
    with pytest.raises(Killed):
        checkpoint.write(tmp_path, "a.msgpack", {"step": 2})
    assert checkpoint.read(tmp_path, "a.msgpack") == {"step": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["a.msgpack"]


def test_a_damaged_checkpoint_is_named(tiny, table, tmp_path):
    path = tmp_path / checkpoint.TRAINING_FILE
    tiny["GAN"].fit(table, steps=2, seed=1, checkpoint_dir=tmp_path)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match=r"training\.msgpack cannot be read .* delete it"):
        tiny["GAN"].fit(table, steps=2, seed=1, checkpoint_dir=tmp_path)


def test_progress_stays_silent_away_from_a_terminal(tiny, table, capfd):
    tiny["GAN"].fit(table, steps=3, seed=0, progress=True)
    assert capfd.readouterr() == ("", "")


def test_progress_shows_a_bar_on_a_terminal(tiny, table, capfd, monkeypatch, short_chunks):
    monkeypatch.setenv("FORCE_COLOR", "1")
    tiny["GAN"].fit(table, steps=25, seed=0, progress=True)
    out, err = capfd.readouterr()
    assert out == "" and "Training GAN" in err


def test_interruption_handlers_are_left_alone(tiny, table):
    before = signal.getsignal(signal.SIGINT)
    tiny["GAN"].fit(table, steps=2, seed=0)
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize("kind", KINDS)
def test_samples_come_back_in_the_units_of_each_column(kind, tiny, table):
    samples = tiny[kind].fit(table, steps=5, seed=0).sample(50, seed=0)
    tolerance = 1e-9 * np.abs(table).max()
    assert (samples >= table.min(axis=0) - tolerance).all() and (samples <= table.max(axis=0) + tolerance).all()
    assert (samples[:, 2] == 4.0).all()


def test_one_range_for_all_columns_keeps_their_proportions(table):
    scaling = Scaling.fit(table, "common")
    assert np.ptp(scaling.low) == 0.0 and np.ptp(scaling.span) == 0.0
    assert scaling.low[0] == table.min() and scaling.low[0] + scaling.span[0] == pytest.approx(table.max())


def test_images_and_other_numbers_are_taken(tiny):
    images = np.arange(90).reshape(30, 3, 1).astype(np.uint8)
    fitted = tiny["GAN"].fit(images, steps=2, seed=0)
    assert fitted.sample(3, seed=0).shape == (3, 3)
    assert fitted.discriminator_score(images).shape == (30,)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(records=[[1.0, 2.0]]), "records has 1 rows; at least 2 are needed"),
        (dict(records=[[1.0], [np.nan]]), "records has NaN or infinity in 1 of 2 rows"),
        (dict(steps=0), "steps=0 must be at least 1"),
        (dict(seed=-1), "seed=-1 must be at least 0"),
        (dict(labels=[0, 1]), r"labels has shape \(2,\); pass one label per record: \(30,\)"),
    ],
)
@pytest.mark.parametrize("kind", KINDS)
def test_bad_input_is_refused_by_name(kind, arguments, message, tiny, table):
    usual = {"records": table, "steps": 1, "seed": 0}
    with pytest.raises(ValueError, match=message):
        tiny[kind].fit(**{**usual, **arguments})


def test_labels_must_be_integers_or_strings_and_known(tiny, table):
    with pytest.raises(TypeError, match="labels has dtype float64; pass one integer or string per record"):
        tiny["GAN"].fit(table, np.zeros(30), steps=1, seed=0)
    names = np.array(["ham", "spam"], dtype=object)[np.arange(30) % 2]
    fitted = tiny["GAN"].fit(table, names, steps=1, seed=0)
    assert fitted.labels.values == ("ham", "spam") and fitted.sample(2, seed=0, labels=["ham", "spam"]).shape == (2, 3)
    with pytest.raises(ValueError, match=r"labels holds \['eggs'\], which the model never saw"):
        fitted.sample(1, seed=0, labels=["eggs"])
    with pytest.raises(ValueError, match="this model was fitted without labels; leave labels out"):
        tiny["GAN"].fit(table, steps=1, seed=0).sample(1, seed=0, labels=[1])


def test_scoring_checks_its_records(tiny, table):
    fitted = tiny["GAN"].fit(table, steps=1, seed=0)
    with pytest.raises(ValueError, match="records has 2 columns but the model was fitted on 3"):
        fitted.discriminator_score(table[:, :2])
    with pytest.raises(ValueError, match="n=0 must be at least 1"):
        fitted.sample(0, seed=0)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: GAN(latent_dim=0), ValueError, "latent_dim=0 must be at least 1"),
        (lambda: GAN(generator_hidden=128), TypeError, "generator_hidden must be a tuple of layer widths"),
        (lambda: GAN(discriminator_hidden=(0,)), ValueError, "discriminator_hidden=0 must be at least 1"),
        (lambda: GAN(generator_learning_rate=0.0), ValueError, "generator_learning_rate=0.0 must be above 0"),
        (lambda: GAN(beta1=1.0), ValueError, "beta1=1.0 must be a probability"),
        (lambda: GAN(real_target=0.5), ValueError, r"real_target=0.5 must lie in \(0.5, 1\]"),
        (lambda: GAN(scaling="rows"), ValueError, "scaling='rows' is unknown; choose one of 'per_column', 'common'"),
        (lambda: VAE(noise_sd=-1.0), ValueError, "noise_sd=-1.0 must be a finite number"),
        (lambda: VAE(beta=-1.0), ValueError, "beta=-1.0 must be a finite number"),
        (lambda: GAN.from_dict({"kind": "VAE"}), ValueError, "kind='VAE' does not belong to GAN"),
        (lambda: VAE.from_dict({"depth": 3}), ValueError, r"VAE has no settings \['depth'\]"),
    ],
)
def test_bad_settings_are_refused_by_name(make, error, message):
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize("settings", [GAN(), GAN(generator_hidden=(4, 5)), VAE(beta=0.5, scaling="common")])
def test_settings_survive_json(settings):
    again = type(settings).from_dict(json.loads(json.dumps(settings.to_dict())))
    assert again == settings and hash(again) == hash(settings)
