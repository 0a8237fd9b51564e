from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest
from scipy import stats
from scipy.spatial.distance import cdist

from mace_jax._types import DiscriminatorScores, ReconstructionErrors, SamplesRecords
from mace_jax.models import VAE, FittedMetricPrivateVAE, MetricPrivateVAE, load
from mace_jax.models.latent_noise import clip_norm
from mace_jax.models.metric_privacy import MetricPrivacy
from tests.models.test_gan import auc

SMALL = VAE(latent_dim=3, encoder_hidden=(16,), decoder_hidden=(16,), batch_size=16)


@pytest.fixture(scope="module")
def model(table):
    return MetricPrivateVAE(SMALL, radius=1.2, training_data="public").fit(table, steps=100, seed=0)


@pytest.fixture(scope="module")
def conditional(table):
    return MetricPrivateVAE(SMALL).fit(table, np.arange(30) % 3, steps=20, seed=0)


@pytest.fixture
def identity(model, monkeypatch):
    """The noisy codes themselves, instead of what they decode to."""
    seen = []
    decode = type(model.autoencoder).decode
    monkeypatch.setattr(
        type(model.autoencoder), "decode", lambda self, codes, *rest: seen.append(codes) or decode(self, codes, *rest)
    )
    return seen


def test_codes_are_clipped_and_then_get_the_laplace_noise(model, table, identity):
    clipped = clip_norm(model.autoencoder.encode(table), 1.2)
    lengths = np.linalg.norm(clipped, axis=1)
    assert lengths.max() <= 1.2 * (1 + 1e-12) and lengths.min() < lengths.max()
    release = model.release(table, epsilon=2.5, seed=4, copies=100)
    assert release.records.shape == (3000, 3) and release.labels is None
    noise = identity[0] - np.tile(clipped, (100, 1))
    assert stats.kstest(np.linalg.norm(noise, axis=1), stats.gamma(3, scale=1 / 2.5).cdf).pvalue > 1e-3
    assert len(np.unique(noise, axis=0)) == 3000  # fresh noise for every record and copy
    np.testing.assert_allclose(noise.mean(axis=0), 0.0, atol=4 * math.sqrt(4 / 2.5**2 / 3000))


def test_without_noise_it_reconstructs_and_with_much_noise_it_knows_nothing(model, table):
    clipped = clip_norm(model.autoencoder.encode(table), 1.2)
    clear = model.release(table, epsilon=1e9, seed=1).records
    np.testing.assert_allclose(clear, model.autoencoder.decode(clipped), rtol=1e-5)
    first, second = (model.release(rows, epsilon=1e-6, seed=1).records for rows in (table, table[::-1]))
    np.testing.assert_allclose(first, second, rtol=1e-4)  # the same noise, far larger than any code


def test_a_release_repeats_with_its_seed_only(model, table):
    first = model.release(table, epsilon=1.0, seed=1).records
    assert np.array_equal(first, model.release(table, epsilon=1.0, seed=1).records)
    assert not np.array_equal(first, model.release(table, epsilon=1.0, seed=2).records)
    np.testing.assert_allclose(first[:4], model.release(table[:4], epsilon=1.0, seed=1).records, rtol=1e-6)


def test_a_publisher_uses_every_record_before_any_again(model, table, identity):
    publisher = model.publisher(table, epsilon=1e9)
    assert isinstance(publisher, SamplesRecords)
    assert not isinstance(publisher, ReconstructionErrors) and not isinstance(publisher, DiscriminatorScores)
    samples = publisher.sample(75, seed=3)
    assert np.array_equal(publisher.sample(40, seed=3), samples[:40])
    nearest = cdist(identity[0], publisher.codes).argmin(axis=1)
    assert sorted(nearest[:30]) == sorted(nearest[30:60]) == list(range(30))
    assert len(set(nearest[60:])) == 15
    assert [publisher.privacy(n).copies for n in (1, 30, 31, 75)] == [1, 1, 2, 3]
    assert repr(publisher) == "Publisher(records=30, epsilon=1e+09)"


def test_labels_answer_by_randomized_response_once_per_record(conditional, table):
    labels = np.arange(30) % 3
    release = conditional.release(table, labels, epsilon=1.0, epsilon_label=0.7, copies=200, seed=0)
    copies = release.labels.reshape(200, 30)
    assert (copies == copies[0]).all()
    answers = [conditional.release(table, labels, epsilon=1.0, epsilon_label=0.7, seed=s).labels for s in range(60)]
    kept = np.mean(np.concatenate(answers) == np.tile(labels, 60))
    keep = math.exp(0.7) / (math.exp(0.7) + 2)
    assert abs(kept - keep) < 4 * math.sqrt(keep * (1 - keep) / 1800)
    assert release.privacy.with_label == pytest.approx(2 * math.sqrt(3) * 200 + 0.7)
    assert np.array_equal(conditional.release(table, labels, epsilon=1.0, seed=0).labels, labels)


def test_the_released_label_and_not_the_true_one_reaches_the_decoder(conditional, table, monkeypatch):
    seen, model = [], type(conditional.autoencoder)
    decode = model.decode
    monkeypatch.setattr(model, "decode", lambda *args: seen.append(args[2]) or decode(*args))
    release = conditional.release(table, np.arange(30) % 3, epsilon=1.0, epsilon_label=0.0, seed=0)
    assert np.array_equal(seen[0], release.labels) and not np.array_equal(release.labels, np.arange(30) % 3)


def test_an_unconditional_model_passes_labels_on(model, table):
    names = np.array(["a", "b"])[np.arange(30) % 2]
    assert np.array_equal(model.release(table, names, epsilon=1.0, seed=0).labels, names)
    private = model.release(table, names, epsilon=1.0, epsilon_label=0.5, label_values=["a", "b", "c"], seed=0)
    assert set(private.labels) == {"a", "b", "c"} and private.privacy.labels.n_labels == 3
    with pytest.raises(ValueError, match=r"epsilon_label=0.5 needs labels, and label_values"):
        model.release(table, names, epsilon=1.0, epsilon_label=0.5, seed=0)


def test_the_guarantee_in_numbers():
    one = MetricPrivacy(epsilon=0.5, radius=3.0, latent_dim=8, training_data="public")
    assert (one.per_distance, one.per_record, one.with_label, one.typical) == (0.5, 3.0, 3.0, 2.0)
    four = MetricPrivacy(epsilon=0.5, radius=3.0, latent_dim=2, training_data="public", copies=4)
    assert (four.per_distance, four.per_record, four.typical) == (2.0, 12.0, 4.0)
    assert four.between(np.array([3.0, 0.0]), np.array([0.0, -2.0])) == pytest.approx(2.0 * math.sqrt(13.0))
    assert MetricPrivacy(0.5, 3.0, 2, "public", labels_released=True).with_label == math.inf
    with pytest.raises(ValueError, match=r"second=\[3.0, 1.0\] must be 2 numbers of norm 3.0 or less"):
        four.between(np.zeros(2), np.array([3.0, 1.0]))


def test_the_bound_holds_for_clipped_codes_on_random_triples(model):
    privacy, rng = model.privacy(0.8, copies=1), np.random.default_rng(2)
    first, second = (clip_norm(rng.normal(size=(2000, 3)), privacy.radius) for _ in range(2))
    seen = 4.0 * rng.normal(size=(2000, 3))
    gap = privacy.noise.log_density(seen - first) - privacy.noise.log_density(seen - second)
    assert (gap <= [privacy.between(a, b) + 1e-9 for a, b in zip(first, second, strict=True)]).all()
    assert gap.max() <= privacy.per_record


def test_the_guarantee_in_words(model, conditional):
    words = str(model.privacy(0.5, copies=3))
    assert "at most exp(1.5 d) (epsilon 0.5 times 3 copies)" in words
    assert "3.6-local differential privacy" in words and "trained on other, public records" in words
    assert "No labels are released" in words and "floating point" in words
    words = str(conditional.privacy(0.5))
    assert "no guarantee covers what the weights and the scaling reveal" in words
    assert "Labels are released as they are: they have no protection" in words
    words = str(conditional.privacy(0.5, epsilon_label=1.0))
    assert "randomized response with epsilon 1, once for all copies" in words
    words = str(MetricPrivateVAE(SMALL, training_data="dp_sgd").around(conditional.autoencoder).privacy(1.0))
    assert "trained by DP-SGD" in words


def test_it_is_a_model_for_audits_and_files(model, table, tmp_path):
    assert isinstance(model, SamplesRecords) and isinstance(model, ReconstructionErrors)
    assert np.array_equal(model.sample(5, seed=2), model.autoencoder.sample(5, seed=2))
    model.save(tmp_path)
    again = load(tmp_path)
    assert isinstance(again, FittedMetricPrivateVAE) and again.settings == model.settings
    assert np.array_equal(
        again.release(table, epsilon=1.0, seed=0).records, model.release(table, epsilon=1.0, seed=0).records
    )
    for score in ("elbo", "reconstruction_error"):
        expected = getattr(model.autoencoder, score)(table, seed=1)
        assert np.array_equal(getattr(again, score)(table, seed=1), expected)
    assert (again.steps, again.seed, again.history) == (100, 0, model.history)
    assert repr(again) == "FittedMetricPrivateVAE(features=3, labels=0, steps=100, training_data='public')"
    settings = MetricPrivateVAE.from_dict(json.loads(json.dumps(model.settings.to_dict())))
    assert settings == model.settings and hash(settings) == hash(model.settings)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: MetricPrivateVAE(vae=3), TypeError, "vae=3 must be the settings of a VAE"),
        (lambda: MetricPrivateVAE(radius=0.0), ValueError, "radius=0.0 must be above 0"),
        (lambda: MetricPrivateVAE(training_data="x"), ValueError, "training_data='x' is not known"),
        (
            lambda: MetricPrivateVAE(SMALL, training_data="dp_sgd").fit([[0.0], [1.0]], steps=1, seed=0),
            ValueError,
            "but fit adds no noise",
        ),
    ],
)
def test_bad_settings_are_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(epsilon=0.0), "epsilon=0.0 must be above 0"),
        (dict(copies=0), "copies=0 must be at least 1"),
        (dict(records=[[1.0, 2.0]]), "records has 2 columns but the model was fitted on 3"),
        (dict(epsilon_label=1.0), "epsilon_label=1.0 needs labels"),
    ],
)
def test_bad_releases_are_refused(changes, message, model, table):
    with pytest.raises(ValueError, match=message):
        model.release(**{"records": table, "epsilon": 1.0, "seed": 0, **changes})


def test_another_autoencoder_is_refused(model):
    with pytest.raises(ValueError, match="trained with other settings than vae"):
        MetricPrivateVAE(VAE()).around(model.autoencoder)


@pytest.mark.slow
def test_the_attack_on_a_release_falls_to_chance_with_epsilon(digits):
    """Members are 100 digits released by a model trained on others; their nearest released record gives them away."""
    public, members, others = digits.members, digits.nonmembers[:100], digits.nonmembers[100:]
    settings = MetricPrivateVAE(VAE(latent_dim=16, scaling="common"), radius=4.0, training_data="public")
    model = settings.fit(public, steps=3000, seed=0)
    draws = np.random.default_rng(0).integers(0, 100, (2, 400, 100))

    def attack(epsilon):
        """AUC of minus the nearest distance, averaged over releases, and its values under 400 resamplings."""
        distances = [
            cdist(np.vstack([members, others]), model.release(members, epsilon=epsilon, seed=seed).records).min(axis=1)
            for seed in range(5)
        ]
        pairs = [(-near[:100], -near[100:]) for near in distances]
        resampled = [np.mean([auc(a[i], b[j]) for a, b in pairs]) for i, j in zip(*draws, strict=True)]
        return np.mean([auc(*pair) for pair in pairs]), np.array(resampled)

    results = {epsilon: attack(epsilon) for epsilon in (100.0, 30.0, 10.0, 3.0, 1.0, 0.1)}
    print(
        {epsilon: (round(value, 3), np.quantile(r, [0.025, 0.975]).round(3)) for epsilon, (value, r) in results.items()}
    )
    values = list(results.values())
    for (_, high), (_, low) in zip(values[:-1], values[1:], strict=True):
        assert np.quantile(high - low, 0.975) >= 0.0  # paired: nowhere does the attack grow as epsilon falls
    assert np.quantile(values[0][1], 0.025) > 0.6
    low, high = np.quantile(values[-1][1], [0.025, 0.975])
    assert low <= 0.5 <= high

    # the caveat is real: trained on the members themselves, the decoder gives them away whatever the noise
    model = dataclasses.replace(settings, training_data="private").fit(members, steps=3000, seed=0)
    assert np.quantile(attack(0.1)[1], 0.025) > 0.55
