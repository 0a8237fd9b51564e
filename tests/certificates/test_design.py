"""Designs: the draw, the files, and certificates that hold for simulated training algorithms with known epsilon."""

from __future__ import annotations

import json

import numpy as np
import pytest

from mace_jax.certificates import design, epsilon_from_counts, epsilon_one_run, epsilon_one_run_prior
from mace_jax.certificates.design._models import mean_lower_limit

DRAWS = {
    "coins": lambda seed=0: design.independent_coins(203, seed=seed),
    "rare coins": lambda seed=0: design.independent_coins(203, inclusion_probability=0.1, seed=seed),
    "pairs": lambda seed=0: design.paired_coins(101, seed=seed),
    "retrainings": lambda seed=0: design.retrainings(31, 7, seed=seed),
}


def randomized_response(included, epsilon, rng):
    """Each candidate's coin, reported truly with probability e^epsilon / (1 + e^epsilon)."""
    return included ^ (rng.random(included.shape) < 1 / (1 + np.exp(epsilon)))


def laplace(included, epsilon, rng):
    """Each candidate's coin with Laplace noise: adding or removing one record moves one score by 1."""
    return included + rng.laplace(scale=1 / epsilon, size=included.shape)


def noisy_total(included, epsilon, rng):
    """One noisy number for everybody: all guesses stand or fall together."""
    total = included.sum() + rng.laplace(scale=1 / epsilon)
    return np.full(included.shape, total - included.size / 2)


def paired_laplace(included, epsilon, rng):
    """Both records of a pair move by one when it is replaced, so the noise is twice as wide."""
    return included + rng.laplace(scale=2 / epsilon, size=included.shape)


def too_high(draw, algorithm, epsilon, runs, **settings):
    """How often the certificate exceeds the truth over fresh coins and fresh trainings."""
    rng = np.random.default_rng(7)
    found = []
    for seed in range(runs):
        coins = draw(seed)
        found.append(coins.certify(algorithm(coins.included, epsilon, rng), **settings).epsilon)
    return int((np.asarray(found) > epsilon).sum()), np.asarray(found)


def allowed(runs, level=0.05):
    return level * runs + 3 * np.sqrt(runs * level * (1 - level))


@pytest.mark.parametrize("name", DRAWS)
def test_draws(name):
    drawn, again, other = DRAWS[name](0), DRAWS[name](0), DRAWS[name](1)
    assert np.array_equal(drawn.included, again.included) and drawn.fingerprint == again.fingerprint
    assert not np.array_equal(drawn.included, other.included) and drawn.fingerprint != other.fingerprint
    model = (2,) if name == "retrainings" else ()
    inside, outside = drawn.train_indices(*model), drawn.held_out_indices(*model)
    row = drawn.included[model].ravel() if model else drawn.included.ravel()
    assert np.array_equal(np.sort(np.concatenate([inside, outside])), np.arange(row.size)) and row[inside].all()
    json.dumps(drawn.to_dict())
    assert np.array_equal(drawn.to_dict()["included"], drawn.included)
    assert type(drawn).__name__ in repr(drawn) and len(repr(drawn)) < 120


def test_coins_are_fair_or_as_asked_and_independent():
    coins = design.independent_coins(40_000, seed=0).included
    assert abs(coins.mean() - 0.5) < 0.0075 and abs((coins[1:] ^ coins[:-1]).mean() - 0.5) < 0.0075
    assert abs(design.independent_coins(40_000, inclusion_probability=0.1, seed=0).included.mean() - 0.1) < 0.005
    pairs = design.paired_coins(40_000, seed=0)
    assert (pairs.included.sum(axis=1) == 1).all() and abs(pairs.included[:, 0].mean() - 0.5) < 0.0075
    models = design.retrainings(200, 200, seed=0).included
    assert abs(models.mean() - 0.5) < 0.0075 and abs((models[1:] ^ models[:-1]).mean() - 0.5) < 0.0075
    assert len({DRAWS["coins"]().fingerprint, design.independent_coins(203, seed=3).fingerprint}) == 2


@pytest.mark.parametrize("name", DRAWS)
def test_saved_designs_come_back(name, tmp_path):
    drawn = DRAWS[name]()
    again = design.load_design(drawn.save(tmp_path / "new" / "design.json"))
    assert type(again) is type(drawn) and np.array_equal(again.included, drawn.included)
    assert again.included.dtype == bool and again.seed == drawn.seed and again.fingerprint == drawn.fingerprint
    scores = np.random.default_rng(0).normal(size=drawn.included.shape)
    assert again.certify(scores).to_dict() == drawn.certify(scores).to_dict()
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["design.json"]


def test_changed_and_foreign_files_are_refused(tmp_path):
    path = DRAWS["pairs"]().save(tmp_path / "design.json")
    whole = json.loads(path.read_text())

    def refuses(content, message, error=ValueError):
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        with pytest.raises(error, match=message):
            design.load_design(path)

    refuses({**whole, "seed": 1}, "was changed after it was saved")
    flipped = ("B" if whole["included"][0] == "A" else "A") + whole["included"][1:]
    refuses({**whole, "included": flipped}, "was changed after it was saved")
    refuses({**whole, "more": 1}, "was changed")
    refuses({**whole, "version": 2}, "has version 2; this release reads version 1")
    refuses({**whole, "format": "other"}, "is no design file; pass one that")
    refuses([1, 2], "is no design file")
    refuses("PK not json", "is no design file: it is not JSON")
    with pytest.raises(FileNotFoundError, match=r"absent\.json does not exist"):
        design.load_design(tmp_path / "absent.json")

    def signed(**changes):
        from mace_jax.certificates.design._file import fingerprint_of

        payload = {name: value for name, value in {**whole, **changes}.items() if name not in ("format", "version")}
        del payload["checksum"]
        return {**whole, **changes, "checksum": fingerprint_of(payload)}

    refuses(signed(kind="roulette"), "kind 'roulette'; this release knows independent coins")
    refuses(signed(n_pairs=7), "holds no complete design")
    refuses(signed(included=flipped), "a pair without exactly one included record")
    refuses(signed(included="?"), "holds no complete design")
    refuses(signed(surplus=1), "holds no complete design")


def test_a_failed_save_leaves_nothing(tmp_path):
    (tmp_path / "taken").mkdir()
    with pytest.raises(OSError):
        DRAWS["coins"]().save(tmp_path / "taken")
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


def test_known_counts():
    coins = design.independent_coins(1000, seed=0)
    perfect = coins.certify(coins.included, n_guesses=100)
    assert perfect.epsilon == epsilon_one_run(1000, 100, 100) == pytest.approx(3.492965, abs=1e-6)
    assert perfect.counts[0]["correct"] == perfect.counts[0]["guesses"] == 100
    assert (perfect.claim, perfect.neighbors, perfect.advantage) == (
        "the training algorithm",
        "add or remove one record",
        0.0,
    )
    wrong = coins.certify(~coins.included)
    assert wrong.epsilon == 0.0 and wrong.counts[0]["correct"] <= 50
    cut = coins.certify(np.where(coins.included, 0.7, 0.2), threshold=0.5)
    assert cut.epsilon == epsilon_one_run(1000, 1000, 1000)
    upper = coins.certify(coins.included, n_positive=30)
    assert upper.counts[0]["guesses"] == 30 and "30 highest scores guessed in, the 0 lowest out" in str(upper.counts)
    lower = coins.certify(coins.included, n_negative=30)
    assert lower.epsilon == upper.epsilon == epsilon_one_run(1000, 30, 30)
    with_delta = coins.certify(coins.included, n_guesses=100, delta=1e-5)
    assert 0 < with_delta.epsilon < perfect.epsilon and with_delta.delta == 1e-5


def test_rare_coins_use_their_own_bound():
    coins = design.independent_coins(2000, inclusion_probability=0.1, seed=0)
    found = coins.certify(coins.included + np.random.default_rng(0).laplace(scale=0.3, size=2000))
    row = found.counts[0]
    expected = epsilon_one_run_prior(200, 1800, row["correct"], inclusion_probability=0.1)
    assert found.epsilon == expected > 0 and "200 highest scores guessed in, the 1800 lowest" in row["rule"]
    for settings in ({"delta": 1e-5}, {"method": "one_run_fdp", "delta": 1e-5}):
        with pytest.raises(ValueError, match=r"inclusion_probability=0\.1 has a bound for method='one_run' at delta=0"):
            coins.certify(coins.included, **settings)


def test_pairs_guess_the_larger_gaps():
    pairs = design.paired_coins(100, seed=0)
    scores = pairs.included * np.linspace(0.1, 1, 100)[:, None]
    scores[:40] = -scores[:40]  # the small gaps are wrong
    best = pairs.certify(scores, n_guesses=60)
    assert best.counts[0]["correct"] == 60 and best.neighbors == "replace one record"
    assert pairs.certify(scores).counts[0]["correct"] == 60
    assert pairs.certify(scores.ravel()).to_dict() == pairs.certify(scores).to_dict()
    endless = np.where(pairs.included, np.inf, -np.inf)
    assert pairs.certify(endless).counts[0]["correct"] == 100


def test_several_rules_pay_for_the_choice():
    coins = design.independent_coins(500, seed=0)
    scores = laplace(coins.included, 2.0, np.random.default_rng(0))
    one, three = coins.certify(scores, n_guesses=200), coins.certify(scores, n_guesses=(200, 300, 500))
    assert three.counts[0]["epsilon"] < one.epsilon and "Bonferroni over 3 rules" in three.method
    assert three.epsilon == max(row["epsilon"] for row in three.counts)


@pytest.mark.parametrize(
    "draw, algorithm, settings",
    [
        (lambda seed: design.independent_coins(200, seed=seed), randomized_response, {}),
        (lambda seed: design.independent_coins(200, seed=seed), randomized_response, {"threshold": 0.5}),
        (lambda seed: design.independent_coins(200, seed=seed), randomized_response, {"delta": 1e-3}),
        (lambda seed: design.independent_coins(50, seed=seed), randomized_response, {"n_positive": 10}),
        (lambda seed: design.independent_coins(200, seed=seed), laplace, {"n_guesses": 40}),
        (lambda seed: design.independent_coins(200, seed=seed), laplace, {"n_guesses": (10, 20, 40, 80, 200)}),
        (lambda seed: design.independent_coins(20, seed=seed), noisy_total, {"threshold": 0.0}),
        (
            lambda seed: design.independent_coins(200, inclusion_probability=0.2, seed=seed),
            randomized_response,
            {"threshold": 0.5},
        ),
        (lambda seed: design.paired_coins(100, seed=seed), paired_laplace, {}),
        (lambda seed: design.paired_coins(100, seed=seed), paired_laplace, {"n_guesses": 20}),
        (lambda seed: design.retrainings(20, 10, seed=seed), randomized_response, {}),
        (lambda seed: design.retrainings(20, 10, seed=seed), laplace, {"method": "models"}),
        (lambda seed: design.retrainings(3, 60, seed=seed), laplace, {"method": "clopper_pearson", "candidate": 1}),
        (lambda seed: design.retrainings(3, 60, seed=seed), laplace, {"method": "clopper_pearson"}),
    ],
)
def test_certificates_exceed_the_truth_no_more_often_than_allowed(draw, algorithm, settings):
    runs = 400
    above, _ = too_high(draw, algorithm, 1.0, runs, **settings)
    assert above <= allowed(runs)


def test_publishing_everything_with_probability_delta_is_within_the_level():
    """One model's counts would certify a large epsilon whenever it happens; the design's bound knows delta."""
    rng, runs, delta = np.random.default_rng(0), 400, 0.1
    above = fooled = 0
    for seed in range(runs):
        coins = design.independent_coins(100, seed=seed)
        published = rng.random() < delta
        scores = coins.included if published else np.zeros(100)
        above += coins.certify(scores, delta=delta).epsilon > 0
        hits, alarms = int(scores[coins.included].sum()), int(scores[~coins.included].sum())
        n = int(coins.included.sum())
        fooled += epsilon_from_counts(hits, n, alarms, 100 - n, delta=delta) > 0
    assert above <= allowed(runs) < fooled


def test_the_gaussian_family_on_a_gaussian_mechanism():
    """Unit noise on each coin is 1-GDP: epsilon 4.377178 at delta 1e-5."""
    rng, found = np.random.default_rng(0), []
    for seed in range(300):
        coins = design.independent_coins(300, seed=seed)
        scores = coins.included + rng.normal(size=300)
        found.append(coins.certify(scores, method="one_run_fdp", delta=1e-5).epsilon)
    assert np.sum(np.asarray(found) > 4.377178) <= allowed(300)
    assert np.median(found) > 1.0
    named = coins.certify(scores, method="one_run_fdp", delta=1e-5)
    assert any("Gaussian differential privacy" in sentence for sentence in named.assumptions)
    with pytest.raises(ValueError, match="no finite epsilon at delta 0"):
        coins.certify(scores, method="one_run_fdp")


def test_tight_with_many_canaries():
    rng = np.random.default_rng(0)
    single, paired, models = [], [], []
    for seed in range(9):
        coins = design.independent_coins(10_000, seed=seed)
        single.append(coins.certify(randomized_response(coins.included, 1.0, rng), threshold=0.5).epsilon)
        pairs = design.paired_coins(10_000, seed=seed)
        answers = randomized_response(pairs.included[:, 0], 1.0, rng)
        paired.append(pairs.certify(np.stack([answers, ~answers], axis=1)).epsilon)
        again = design.retrainings(500, 20, seed=seed)
        models.append(again.certify(randomized_response(again.included, 1.0, rng), threshold=0.5).epsilon)
    assert min(np.median(single), np.median(paired), np.median(models)) >= 0.9
    assert max(np.median(single), np.median(paired), np.median(models)) <= 1.0


def test_ties_need_no_luck():
    """Scores without information are right as often as coins; the order of the design does not help."""
    right = [
        design.independent_coins(100, seed=seed).certify(np.zeros(100)).counts[0]["correct"] for seed in range(200)
    ]
    assert abs(np.mean(right) - 50) < 3 * 5 / np.sqrt(200)


def test_models_certify_the_mean_advantage():
    models = design.retrainings(200, 60, seed=0)
    scores = randomized_response(models.included, 1.0, np.random.default_rng(0))
    found = models.certify(scores, method="models", threshold=0.5)
    assert 0.35 < found.advantage < np.tanh(0.5) and found.epsilon == pytest.approx(
        np.log((1 + found.advantage) / (1 - found.advantage))
    )
    assert found.counts[0]["models"] == 60 and found.counts[0]["mean_advantage"] > found.advantage
    half = models.certify(scores, method="models", n_guesses=100, delta=0.01)
    assert 0.0 < half.advantage < found.advantage and half.delta == 0.01
    assert "Bonferroni over 2 rules" in models.certify(scores, method="models", threshold=(0.5, 0.7)).method


@pytest.mark.parametrize("n", [5, 40, 200])
@pytest.mark.parametrize("law", ["coin", "beta", "rare"])
def test_the_mean_over_models_is_covered(n, law):
    rng = np.random.default_rng(n)
    draw, mean = {
        "coin": (lambda: rng.integers(0, 2, n) * 1.0, 0.5),
        "beta": (lambda: rng.beta(6, 2, n), 0.75),
        "rare": (lambda: (rng.random(n) < 0.03) * 1.0, 0.03),
    }[law]
    found = np.asarray([mean_lower_limit(draw(), 0.05) for _ in range(500)])
    assert (found > mean).sum() <= allowed(500)
    assert ((found >= 0) & (found <= 1)).all()
    if law == "beta" and n == 200:
        assert np.median(found) > 0.75 - np.sqrt(np.log(20) / 400)  # Hoeffding's limit
    assert mean_lower_limit(np.ones(n), 0.05) < 1 and mean_lower_limit(np.zeros(n), 0.05) == 0.0


def test_one_candidate_over_models():
    models = design.retrainings(4, 400, seed=0)
    scores = randomized_response(models.included, 2.0, np.random.default_rng(0)) * 1.0
    fixed = models.certify(scores, method="clopper_pearson", candidate=2, threshold=0.5, epsilons=[0.0, 1.0])
    inside, guessed = models.included[:, 2], scores[:, 2] > 0.5
    counts = int(guessed[inside].sum()), int(inside.sum()), int(guessed[~inside].sum()), int((~inside).sum())
    assert fixed.epsilon == pytest.approx(epsilon_from_counts(*counts))
    assert fixed.profile[0][1] == pytest.approx(fixed.advantage) and 0 < fixed.profile[1][1] < fixed.advantage
    single = models.certify(scores[:, 2], method="clopper_pearson", candidate=2, threshold=0.5)
    assert single.epsilon == fixed.epsilon
    split = models.certify(scores, method="clopper_pearson", candidate=2)
    assert split.counts[0]["members"] + split.counts[0]["nonmembers"] == 200 and 0 < split.epsilon < fixed.epsilon
    several = models.certify(scores, method="clopper_pearson")
    assert len(several.counts) == 4 and "Bonferroni over 4 candidates" in several.method
    chosen = [any("candidate was chosen" in text for text in one.assumptions) for one in (split, several)]
    assert chosen == [True, False]
    two = models.certify(scores, method="katz", candidate=0, threshold=(0.2, 0.5))
    assert "2 thresholds" in two.method and any("approximation" in text for text in two.assumptions)
    gaussian = models.certify(scores, method="gdp", candidate=0, threshold=0.5, delta=1e-5)
    assert gaussian.counts[0]["mu"] > 0 and gaussian.epsilon > fixed.epsilon


def test_few_models_certify_nothing_but_do_not_fail():
    for seed in range(20):
        models = design.retrainings(2, 2, seed=seed)
        assert models.certify(models.included, method="clopper_pearson").epsilon == 0.0
        assert models.certify(models.included, method="clopper_pearson", threshold=0.5).epsilon == 0.0
        assert models.certify(models.included, method="models").epsilon < 1.0


def test_assumptions_say_what_the_claim_rests_on():
    coins = DRAWS["coins"]()
    text = " ".join(coins.certify(np.zeros(203)).assumptions)
    for words in (
        "203 candidates was included in training by its own independent coin with probability 0.5",
        "did not depend on the coins",
        "without knowledge of the coins",
        "no proof of privacy",
    ):
        assert words in text
    json.dumps(coins.certify(np.zeros(203)).to_dict())


def test_fingerprints_tell_runs_apart():
    coins = DRAWS["coins"]()
    scores = np.arange(203.0)
    prints = {
        coins.certify(scores).fingerprint,
        coins.certify(scores[::-1]).fingerprint,
        coins.certify(scores, delta=1e-5).fingerprint,
        DRAWS["coins"](1).certify(scores).fingerprint,
    }
    assert len(prints) == 4 and coins.certify(scores).fingerprint in prints


@pytest.mark.parametrize(
    "name, scores, settings, error, message",
    [
        ("coins", np.zeros(202), {}, ValueError, r"scores has shape \(202,\); the design needs \(203,\)"),
        ("coins", np.zeros((203, 2)), {}, ValueError, "scores has shape"),
        ("coins", np.r_[np.nan, np.zeros(202)], {}, ValueError, "scores has NaN at 0;"),
        ("coins", np.full(203, "a"), {}, TypeError, "not numeric"),
        ("coins", np.zeros(203), {"n_guesses": 204}, ValueError, "n_guesses=204 exceeds the 203 candidates"),
        ("coins", np.zeros(203), {"n_guesses": 0}, ValueError, "n_guesses=0 must be at least 1"),
        ("coins", np.zeros(203), {"n_guesses": ()}, ValueError, "at least one choice"),
        ("coins", np.zeros(203), {"n_positive": 0}, ValueError, "at least one guess is needed"),
        ("coins", np.zeros(203), {"n_positive": 200, "n_negative": 4}, ValueError, "=204 exceeds the 203"),
        ("coins", np.zeros(203), {"n_positive": 2, "threshold": 0.0}, ValueError, "pass only one of n_guesses"),
        ("coins", np.zeros(203), {"threshold": np.nan}, ValueError, "threshold=nan must be a number"),
        ("coins", np.zeros(203), {"method": "gdp"}, ValueError, "method='gdp' is not known for this design"),
        ("coins", np.zeros(203), {"delta": 1.0}, ValueError, "delta=1.0"),
        ("coins", np.zeros(203), {"confidence_level": 1.0}, ValueError, "confidence_level=1.0"),
        ("pairs", np.zeros((101, 3)), {}, ValueError, r"needs \(101, 2\), two scores per pair"),
        ("pairs", np.zeros((101, 2)), {"n_guesses": 102}, ValueError, "exceeds the 101 pairs"),
        ("pairs", np.zeros((101, 2)), {"n_guesses": ()}, ValueError, "at least one number"),
        ("pairs", np.full((101, 2), np.nan), {}, ValueError, "NaN at 0, 0"),
        ("retrainings", np.zeros((31, 7)), {}, ValueError, r"needs \(7, 31\), one row per model"),
        ("retrainings", np.zeros((7, 31)), {"candidate": 31}, ValueError, "below the 31 candidates"),
        ("retrainings", np.zeros((7, 31)), {"candidate": 3}, ValueError, "pass method='clopper_pearson'"),
        ("retrainings", np.zeros((7, 31)), {"epsilons": [1.0]}, ValueError, "gives no profile"),
        (
            "retrainings",
            np.zeros((7, 31)),
            {"method": "clopper_pearson", "n_guesses": 3},
            ValueError,
            "n_guesses has no meaning",
        ),
        ("retrainings", np.zeros((7, 31)), {"method": "joint_beta"}, ValueError, "credible interval"),
        ("retrainings", np.zeros((7, 31)), {"method": "wald"}, ValueError, "method='wald' is not known"),
        (
            "retrainings",
            np.zeros((7, 31)),
            {"method": "katz", "threshold": [np.nan]},
            ValueError,
            "one number or several",
        ),
    ],
)
def test_bad_scores_and_settings(name, scores, settings, error, message):
    with pytest.raises(error, match=message):
        DRAWS[name]().certify(scores, **settings)


def test_bad_draws():
    with pytest.raises(ValueError, match="n_records=0"):
        design.independent_coins(0, seed=0)
    with pytest.raises(ValueError, match="inclusion_probability=1"):
        design.independent_coins(5, inclusion_probability=1, seed=0)
    with pytest.raises(ValueError, match="n_models=1 must be at least 2"):
        design.retrainings(5, 1, seed=0)
    with pytest.raises(ValueError, match="model=7 must be below the 7 models"):
        DRAWS["retrainings"]().train_indices(7)
    with pytest.raises(TypeError, match="scores is a MembershipSample"):
        from mace_jax import MembershipSample

        DRAWS["coins"]().certify(MembershipSample(np.zeros(100), np.zeros(103)))
