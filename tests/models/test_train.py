from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest

from mace_jax.models import GAN, VAE, checkpoint, train
from mace_jax.models.encoding import Scaling
from tests._support import rest_slow

KINDS = ("GAN", "VAE")


def leaves(fitted):
    return jax.tree.leaves(fitted.parameters)


def same(first, second) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(leaves(first), leaves(second), strict=True))


def here() -> dict[str, str]:
    """The environment of a process that imports this package."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(train.__file__).parents[2]), *sys.path])}


class Killed(BaseException):
    """Stands for the process ending here."""


@pytest.fixture
def short_chunks(monkeypatch):
    monkeypatch.setattr(train, "CHUNK", 10)
    monkeypatch.setattr(train, "CALL_SECONDS", np.inf)
    monkeypatch.setattr(train, "CHECKPOINT_SECONDS", 0.0)


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


@pytest.mark.parametrize(
    ("kind", "signal_kind"),
    rest_slow([(kind, signal) for kind in KINDS for signal in (Killed, KeyboardInterrupt)], ("GAN", Killed).__eq__),
)
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


def test_a_killed_process_loses_only_the_steps_since_its_checkpoint(tiny, table, tmp_path):
    np.save(tmp_path / "table.npy", table)
    script = f"""
import numpy as np
from mace_jax.models import VAE, train
train.CHECKPOINT_SECONDS = 0.0
settings = VAE.from_dict({tiny["VAE"].to_dict()!r})
settings.fit(np.load({str(tmp_path / "table.npy")!r}), steps=10**9, seed=3, checkpoint_dir={str(tmp_path / "run")!r})
"""
    path, begin = tmp_path / "run" / checkpoint.TRAINING_FILE, time.monotonic()
    process = subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.PIPE, text=True, env=here())
    try:
        while not path.exists() or checkpoint.read(path.parent, path.name)["done"] < 300:
            assert process.poll() is None, process.stderr.read()
            assert time.monotonic() - begin < 300.0
            time.sleep(0.01)
    finally:
        process.kill()
        process.wait()
        process.stderr.close()
    assert process.returncode == -signal.SIGKILL
    (path.parent / f".{path.name}.half").write_bytes(b"what a kill while writing leaves")
    done = int(checkpoint.read(path.parent, path.name)["done"])
    resumed = tiny["VAE"].fit(table, steps=done + 130, seed=3, checkpoint_dir=path.parent)
    whole = tiny["VAE"].fit(table, steps=done + 130, seed=3)
    assert same(whole, resumed) and whole.history == resumed.history
    assert sorted(found.name for found in path.parent.iterdir()) == ["history.jsonl", path.name]


@pytest.mark.slow
def test_several_devices_give_the_same_answer(tiny, table, tmp_path):
    np.save(tmp_path / "table.npy", table)
    script = f"""
import jax, jax.numpy as jnp, numpy as np
from mace_jax.models import VAE, train, _devices
from mace_jax.models.vae_trainer import VAETrainer
table = np.load({str(tmp_path / "table.npy")!r})
settings = VAE.from_dict({tiny["VAE"].to_dict()!r})
fits = [settings.fit(table, steps=60, seed=3, devices=devices) for devices in (1, 2, 8)]
one = [np.concatenate([leaf.ravel() for leaf in jax.tree.leaves(fit.parameters)]) for fit in fits]
trainer = VAETrainer(settings, 3, 0)
def program(devices):
    mesh = _devices.mesh_of(devices)
    data = table.astype("f4"), np.zeros((30, 0), "f4")
    state, data = _devices.on_every((trainer.initial(jax.random.key(0)), data), mesh)
    arguments = state, np.zeros(2, "f4"), *data, jax.random.key(1), jnp.int32(0), jnp.int32(5)
    return train._advance.lower(trainer, mesh, *arguments).compile().as_text()
shares = ["all-reduce" in program(devices) for devices in (1, 8)]
part = "f32[1,8]" in program(8)  # the hidden layer of one of eight records on each device
np.savez({str(tmp_path / "out.npz")!r}, *one, shares=shares, part=part)
"""
    environment = here() | {"XLA_FLAGS": "--xla_force_host_platform_device_count=8", "JAX_PLATFORMS": "cpu"}
    subprocess.run([sys.executable, "-c", script], check=True, env=environment, timeout=300)
    out = np.load(tmp_path / "out.npz")
    assert out["shares"].tolist() == [False, True] and out["part"]
    here_one = np.concatenate([leaf.ravel() for leaf in leaves(tiny["VAE"].fit(table, steps=60, seed=3))])
    np.testing.assert_allclose(out["arr_0"], here_one, atol=1e-5)
    for name in ("arr_1", "arr_2"):
        assert np.abs(out["arr_0"]).max() > 0.5
        np.testing.assert_allclose(out[name], out["arr_0"], atol=2e-4)


def test_devices_must_exist(tiny, table):
    with pytest.raises(ValueError, match="devices=4096, but JAX sees"):
        tiny["VAE"].fit(table, steps=1, seed=0, devices=4096)
    with pytest.raises(ValueError, match="devices=0 must be at least 1"):
        tiny["VAE"].fit(table, steps=1, seed=0, devices=0)


def test_the_history_is_written_beside_the_checkpoint(tiny, table, tmp_path, short_chunks):
    first = tiny["VAE"].fit(table, steps=15, seed=1, checkpoint_dir=tmp_path)
    rows = [json.loads(line) for line in (tmp_path / "history.jsonl").read_text().splitlines()]
    assert [tuple(row.values()) for row in rows] == list(first.history) and len(rows) == 2
    assert list(rows[0]) == ["step", "reconstruction", "divergence"]
    longer = tiny["VAE"].fit(table, steps=30, seed=1, checkpoint_dir=tmp_path)
    rows = [json.loads(line) for line in (tmp_path / "history.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [10, 20, 30]
    assert longer.history == tiny["VAE"].fit(table, steps=30, seed=1).history  # no trace of the stop at 15


def test_checkpoints_are_written_by_the_clock(tiny, table, tmp_path, monkeypatch, short_chunks):
    clock, written, advance, write = [0.0], [], train._advance, checkpoint.write
    monkeypatch.setattr(train, "CHECKPOINT_SECONDS", 30.0)
    monkeypatch.setattr(train.time, "monotonic", lambda: clock[0])

    def slow(*args):
        clock[0] += 7.0
        return advance(*args)

    monkeypatch.setattr(train, "_advance", slow)
    monkeypatch.setattr(checkpoint, "write", lambda *args: written.append(args[2]["done"]) or write(*args))
    tiny["VAE"].fit(table, steps=120, seed=1, checkpoint_dir=tmp_path)
    assert written == [50, 100, 120]  # after 35 and 70 seconds, and at the end

    def costly(*args):
        clock[0] += 10.0
        return write(*args)

    written.clear()
    monkeypatch.setattr(checkpoint, "write", lambda *args: written.append(args[2]["done"]) or costly(*args))
    tiny["VAE"].fit(table, steps=600, seed=2, checkpoint_dir=tmp_path / "slow disk")
    assert written == [50, 340, 600]  # a write of 10 seconds is worth 200 seconds of training


def test_an_interruption_from_the_keyboard_saves_what_was_done(tiny, table, tmp_path, monkeypatch, short_chunks):
    calls, advance = [], train._advance

    def interrupted(*args):
        calls.append(args)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return advance(*args)

    monkeypatch.setattr(train, "CHECKPOINT_SECONDS", 1e9)
    monkeypatch.setattr(train, "_advance", interrupted)
    with pytest.raises(KeyboardInterrupt):
        tiny["VAE"].fit(table, steps=100, seed=1, checkpoint_dir=tmp_path)
    assert checkpoint.read(tmp_path, checkpoint.TRAINING_FILE)["done"] == 30


def test_slow_steps_are_called_a_few_at_a_time_with_the_same_result(tiny, table, monkeypatch):
    whole = tiny["VAE"].fit(table, steps=300, seed=1)
    clock, lengths, advance = [0.0], [], train._advance
    monkeypatch.setattr(train.time, "monotonic", lambda: clock[0])

    def slow(*args):
        lengths.append(int(args[-1]) - int(args[-2]))
        clock[0] += 0.5 * lengths[-1]
        return advance(*args)

    monkeypatch.setattr(train, "_advance", slow)
    parts = tiny["VAE"].fit(table, steps=300, seed=1)
    assert same(whole, parts) and whole.history == parts.history
    assert lengths[:2] == [10, 20] and max(lengths) == 20 and sum(lengths) == 300


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
        (lambda: GAN(scaling="rows"), ValueError, "scaling='rows' is not known; pass one of 'per_column', 'common'"),
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
