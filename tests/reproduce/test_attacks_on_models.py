"""The attack experiments: kept scores, all decoders, held-out selection, and every experiment shortened."""

from __future__ import annotations

import numpy as np
import pytest

from mace_jax.data import MembershipSample
from mace_jax.datasets import Dataset
from mace_jax.models import GAN, PIGAN, VAE, PrivGAN
from mace_jax.reproduce import _black_box, _cvae, _full_black_box
from mace_jax.reproduce._decoders import decoders
from mace_jax.reproduce._every_attack import Budget, Side, Victim, every_attack
from mace_jax.reproduce._held_out import Decided, bounds, chosen, fixed
from mace_jax.reproduce._kept import digest, kept
from mace_jax.reproduce._run import Run

SMALL = {"latent_dim": 2, "generator_hidden": (4,), "discriminator_hidden": (4,), "batch_size": 8}


def test_arrays_are_made_once_for_the_same_inputs(tmp_path):
    run, made = Run(tmp_path), []

    def make() -> dict[str, np.ndarray]:
        made.append(len(made))
        return {"scores": np.array([1.5, len(made)]), "names": np.array(["a", "bc"])}

    first, again = (kept(run, "GAN: white box", digest(np.ones(3), "x"), make) for _ in range(2))
    assert made == [0]
    assert {name: values.tolist() for name, values in again.items()} == {
        name: values.tolist() for name, values in first.items()
    }
    assert kept(run, "GAN: white box", digest(np.zeros(3), "x"), make)["scores"].tolist() == [1.5, 2.0]
    assert digest(np.ones(4)) != digest(np.ones((2, 2))) != digest(np.ones((2, 2), np.float32))


@pytest.mark.parametrize(
    ("settings", "n"),
    [
        pytest.param(GAN(**SMALL), 1, marks=pytest.mark.slow),
        pytest.param(PrivGAN(privacy_pretraining=1, **SMALL), 2, marks=pytest.mark.slow),
        (PIGAN(classifier_pretraining=1, **SMALL), 2),
    ],
)
def test_every_generator_is_reached_and_makes_the_models_own_records(settings, n, rng):
    model = settings.fit(rng.normal(size=(20, 3)), steps=2, seed=0)
    found = decoders(model)
    assert len(found) == n and {z for _, z in found} == {2}
    import jax
    import jax.numpy as jnp

    from mace_jax import _random

    key = _random.key(5, "sample")
    noise = jnp.stack([jax.random.normal(jax.random.fold_in(key, row), (2,), jnp.float32) for row in range(12)])
    own = np.stack([np.asarray(decode(noise)) for decode, _ in found])
    drawn = model.sample(12, seed=5)
    gaps = np.abs(own - drawn).max(axis=2)
    assert gaps.min(axis=0).max() < 1e-5  # every sample is one generator's
    assert set(gaps.argmin(axis=0).tolist()) == set(range(n))


def test_a_model_without_noise_has_no_decoder():
    assert decoders(None) == ()


@pytest.mark.slow
def test_every_attack_that_a_model_allows_scores_every_record(tmp_path, rng):
    records, reference = rng.normal(size=(24, 16)), rng.normal(size=(20, 16))
    gan, vae = GAN(**SMALL), VAE(latent_dim=2, encoder_hidden=(4,), decoder_hidden=(4,), batch_size=8)
    side = Side(reference, (4, 4, 1), gan, 2)
    budget = Budget(3, 2, 1, 8, 2, 2, 2)
    seen = {}
    for name, settings in (("gan", gan), ("vae", vae), ("release", None)):
        models = [None if settings is None else settings.fit(part, steps=2, seed=0) for part in (records, reference)]
        samples = [rng.normal(size=(30, 16)) if model is None else model.sample(30, seed=0) for model in models]
        victim = Victim(name, models[0], samples[0], models[1], samples[1])
        scores = every_attack(Run(tmp_path), victim, side, records, budget=budget, seed=0)
        assert all(values.shape == (24,) and np.isfinite(values).all() for values in scores.values())
        again = every_attack(Run(tmp_path), victim, side, records, budget=budget, seed=0)
        assert all(np.array_equal(again[attack], values) for attack, values in scores.items())
        np.testing.assert_allclose(scores["GAN-Leaks full black box"], -(scores["nearest synthetic record"] ** 2) / 16)
        seen[name] = set(scores)
    assert "LOGAN white box" in seen["gan"] - seen["vae"] and "reconstruction" in seen["vae"] - seen["gan"]
    assert seen["release"] < seen["gan"] & seen["vae"]


def test_limits_are_those_of_two_proportions_and_pairs_share_resamples():
    rng = np.random.default_rng(0)
    hit, alarm = rng.random(400) < 0.6, rng.random(900) < 0.3
    one, other = Decided(hit, alarm, ()), Decided(~hit, alarm, ())
    found = bounds(one, one, seed=0)
    error = np.sqrt(hit.mean() * (1 - hit.mean()) / 400 + alarm.mean() * (1 - alarm.mean()) / 900)
    np.testing.assert_allclose(
        found.stacked, one.advantage + np.array([0.0, -1.96, 1.96]) * error, atol=0.06 * error * 1.96 + 0.002
    )
    assert found.difference == (0.0, 0.0, 0.0)
    opposed = bounds(one, other, seed=0)
    assert opposed.difference[0] == pytest.approx(2 * hit.mean() - 1)
    assert opposed.difference[2] - opposed.difference[1] > 1.5 * (2 * 1.96 * np.sqrt(0.24 / 400))


@pytest.mark.slow
def test_a_stack_sees_what_no_single_query_sees_and_noise_is_not_chosen_for():
    rng = np.random.default_rng(1)
    hidden = rng.normal(size=(800, 1))
    members = np.column_stack([rng.normal(size=800), hidden[:, 0] + 0.9, hidden[:, 0]])
    hidden = rng.normal(size=(800, 1))
    nonmembers = np.column_stack([rng.normal(size=800), hidden[:, 0], hidden[:, 0] + rng.normal(0, 0.3, 800)])
    names = ("noise", "shifted", "own")
    stacked, single = chosen(MembershipSample(members, nonmembers), names, seed=0)
    found = bounds(stacked, single, seed=0)
    assert found.difference[1] > 0.1 and found.single[0] == pytest.approx(0.35, abs=0.1)
    assert all("shifted" in name and "own" in name for name in stacked.names)
    nothing = MembershipSample(rng.normal(size=(500, 3)), rng.normal(size=(500, 3)))
    for decided in (*chosen(nothing, names, seed=0), fixed(nothing, 1, names, seed=0)):
        assert abs(decided.advantage) < 0.13  # four standard deviations


def shrunk(monkeypatch, module, **values: object) -> None:
    for name, value in values.items():
        monkeypatch.setattr(module, name, value)


def fake_fashion(run: Run, name: str) -> Dataset:
    from mace_jax.datasets import load

    assert name == "fashion_mnist"
    digits = load("digits")
    import dataclasses

    return dataclasses.replace(digits, name=name)


@pytest.mark.slow
def test_attacks_on_digits_shortened(tmp_path, monkeypatch):
    shrunk(
        monkeypatch,
        _black_box,
        _DIGITS=_black_box._DIGITS._replace(sizes=(40, 60, 40), budget=Budget(8, 3, 1, 8, 2, 5, 5)),
        _N_SYNTHETIC=60,
        _MODELS=("VAE", "MetricPrivateVAE"),
    )
    rows = list(_black_box.attacks_digits(Run(tmp_path, fraction=0.003), (0,)))
    assert all(row.value is not None and np.isfinite(row.value) for row in rows)
    assert len({row.model for row in rows}) == 3 and len(rows) > 50
    assert {row.quantity for row in rows if row.accepted} == {
        "share of models on which the stack's lower limit is at least the single attack's",
        "smallest lower limit of a stack minus that of the single attack",
    }
    assert list(_black_box.attacks_digits(Run(tmp_path, fraction=0.003), (0,))) == rows


@pytest.mark.slow
def test_full_black_box_and_conditional_autoencoder_shortened(tmp_path, monkeypatch):
    monkeypatch.setattr(Run, "dataset", fake_fashion)
    shrunk(monkeypatch, _full_black_box, _MEMBERS=(16, 64), _N_NONMEMBERS=80, _N_SYNTHETIC=100)
    rows = list(_full_black_box.full_black_box_fashion_mnist(Run(tmp_path, fraction=0.002), (0,)))
    assert [row.n_members for row in rows] == [16] * 5 + [64] * 8
    for plain, alike, larger, *differences in (rows[:5], rows[5:10]):
        for calibrated, difference in zip((alike, larger), differences, strict=True):
            assert difference.value == pytest.approx(calibrated.value - plain.value)
            assert difference.low <= difference.value <= difference.high
    assert rows[6].value == rows[7].value and rows[0].model == "VAE of 16 members"
    assert [row.value for row in rows[10:]] == pytest.approx([rows[5 + i].value - rows[i].value for i in range(3)])
    shrunk(
        monkeypatch, _cvae, _N_TRAIN=1_500, _N_MEMBERS=150, _N_ASKED=100, _N_COMPONENTS=5, _PER_CLASS=20, _N_DRAWS=2,
        _SIZE=20, _N_SETS=5,
    )  # fmt: skip
    rows = list(_cvae.cvae_fashion_mnist(Run(tmp_path, fraction=0.0005), (0,)))
    assert len(rows) == 4 and all(0.0 <= row.low <= row.value <= row.high <= 1.0 for row in rows)
