"""reliability and isotonic recalibration: hand-computed bins, coverage, and a miscalibrated posterior made right."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy import special

from mace_jax import individual_privacy_risk
from mace_jax.datasets._closed_form import GaussianShift
from mace_jax.metrics import reliability
from mace_jax.metrics._calibration import crossfitted_blocks, fit_blocks


def test_bins_by_hand():
    found = reliability([0.1, 0.1, 0.9, 0.9], [0, 1, 1, 1], n_bins=2, prior=0.5)
    # weights: each of three members 1/6, the non-member 1/2
    np.testing.assert_allclose(found.weight, [4 / 6, 2 / 6])
    np.testing.assert_allclose(found.observed, [0.25, 1.0])
    np.testing.assert_allclose(found.predicted, [0.1, 0.9])
    assert found.ece == pytest.approx(4 / 6 * 0.15 + 2 / 6 * 0.1)
    assert found.n_members.tolist() == [1, 2] and found.n_nonmembers.tolist() == [1, 0]
    assert 0.0 <= found.low <= found.ece <= found.high <= 1.0
    json.dumps(found.to_dict())
    assert repr(found).startswith("Reliability(ece=")
    single = reliability([1.0, 0.0], [1, 0], n_bins=1)
    assert single.ece == 0.0


@pytest.mark.parametrize("tilt, truth", [(0.0, 0.0), (0.1, 0.1)])
def test_limits_cover_and_debiasing_removes_most_of_the_bias(tilt, truth):
    """eta uniform on [.1, .9], outcomes with probability eta + tilt; class weights left at the sample's own share."""
    covered, raw, debiased = 0, [], []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        eta = rng.uniform(0.1, 0.9, 600)
        labels = rng.random(600) < eta + tilt
        found = reliability(eta, labels, prior=labels.mean())
        covered += found.low <= truth <= found.high
        raw.append(found.ece)
        debiased.append(found.ece_debiased)
    assert covered >= 190
    if truth == 0.0:
        assert np.mean(debiased) < 0.6 * np.mean(raw)  # chance alone makes the raw error about .05
    else:
        assert abs(np.mean(debiased) - truth) < 0.01


def test_isotonic_blocks_are_monotone_and_free_of_class_weights(rng):
    eta = rng.random(400).round(2)
    labels = (rng.random(400) < eta).astype(int)
    blocks = fit_blocks(eta, labels)
    shares = blocks.members / (blocks.members + blocks.nonmembers)
    assert (np.diff(shares) > 0).all() and (np.diff(blocks.upper) > 0).all()
    assert blocks.members.sum() == labels.sum() and blocks.of(np.asarray([2.0]))[0] == len(shares) - 1
    doubled = fit_blocks(np.append(eta, eta[labels == 1]), np.append(labels, labels[labels == 1]))
    np.testing.assert_array_equal(doubled.upper, blocks.upper)


def test_a_record_never_votes_on_itself():
    """Blocks fitted on the records they judge find a difference where there is none; cross-fitted ones do not."""
    own, unseen = [], []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        eta, labels = rng.random(200), np.repeat([1, 0], 100)
        blocks = fit_blocks(eta, labels)
        place = blocks.of(eta)
        k1, k0, _ = crossfitted_blocks(eta, labels, np.arange(200) % 2, seed=seed)
        for shares, found in (
            ((blocks.members / (blocks.members + blocks.nonmembers))[place], own),
            (k1 / (k1 + k0), unseen),
        ):
            found.append(shares[labels == 1].mean() - shares[labels == 0].mean())
    assert np.mean(own) > 0.02
    assert abs(np.mean(unseen)) < 4 * np.std(unseen) / np.sqrt(60) + 0.005
    with pytest.raises(ValueError, match="at least 4 members"):
        crossfitted_blocks(np.arange(10.0), np.eye(10, dtype=int)[0], np.zeros(10, int), seed=0)


def test_recalibration_mends_an_overconfident_posterior():
    sample = GaussianShift(1.0).draw(1500, 1500, seed=0)
    eta = np.concatenate([sample.members, sample.nonmembers])[:, 0] - 0.5
    labels = np.repeat([1, 0], 1500)
    confident = special.expit(4 * eta)
    k1, k0, share = crossfitted_blocks(confident, labels, np.arange(3000) % 2, seed=0)
    mended = special.expit(np.log((k1 + 0.5) / (k0 + 0.5)) - special.logit(share))
    assert reliability(confident, labels).ece > 0.15
    assert reliability(mended, labels).ece < 0.05


@pytest.mark.slow
@pytest.mark.parametrize("recalibrate", [None, "isotonic"])
def test_calibration_error_is_small_on_a_gaussian_shift(recalibrate):
    for seed in range(3):
        sample = GaussianShift(1.0).draw(5000, 5000, seed=seed)
        risk = individual_privacy_risk(sample, recalibrate=recalibrate, seed=seed)
        eta = np.concatenate([risk.members.posterior, risk.nonmembers.posterior])
        assert reliability(eta, np.repeat([1, 0], 5000)).ece < 0.02


def test_bad_arguments():
    with pytest.raises(ValueError, match="posterior has 2 records but labels 3"):
        reliability([0.1, 0.2], [0, 1, 1])
    with pytest.raises(ValueError, match=r"outside \[0, 1\]"):
        reliability([0.1, 1.2], [0, 1])
    with pytest.raises(ValueError, match="labels must be 0 and 1"):
        reliability([0.1, 0.2], [1, 1])
