"""Defense benchmark: the gain by its definition, its interval, verdicts, and the figure."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from mace_jax.attacks._defense_benchmark import AttackedModel, defense_benchmark
from mace_jax.attacks._metric_attacks import metric_attacks
from mace_jax.attacks._predictions import Predictions
from mace_jax.report._defense import defense_plot


def model(
    train: float, test: float, n: int = 300, seed: int = 0, noise: int = 0, shadow: bool = False
) -> AttackedModel:
    """Logits of fixed records: the true class leads by ``train`` for members and by ``test`` for others."""

    def side(lead: float, stream: int) -> Predictions:
        rng = np.random.default_rng([seed, stream])
        labels, logits = rng.integers(0, 3, n), rng.normal(size=(n, 3))
        logits = logits + 0.3 * np.random.default_rng([seed, stream, noise]).normal(size=(n, 3))
        logits[np.arange(n), labels] += lead
        return Predictions(labels, logits=logits)

    pair = (side(train, 2), side(test, 3)) if shadow else None
    return AttackedModel(side(train, 0), side(test, 1), pair)


def training(n_epochs: int = 6, **further) -> list[AttackedModel]:
    """Test accuracy levels off while the gap keeps growing."""
    return [model(0.8 * epoch, 2.0 * (1 - 0.5**epoch), noise=epoch, **further) for epoch in range(1, n_epochs + 1)]


def by_definition(found) -> tuple[float, int] | None:
    """The lowest attack accuracy among epochs at least as accurate, minus that of the defended model."""
    own = found.defended
    accurate = [
        (epoch.chosen.balanced_accuracy, place)
        for place, epoch in enumerate(found.epochs)
        if epoch.test_accuracy >= own.test_accuracy
    ]
    return (min(accurate)[0] - own.chosen.balanced_accuracy, min(accurate)[1]) if accurate else None


@pytest.mark.parametrize("shadow", [False, True])
def test_a_good_defense_is_told(shadow):
    epochs = training(shadow=shadow)
    found = defense_benchmark(model(1.6, 1.8, shadow=shadow), epochs, n_resamples=500, seed=0)
    assert found.status == "helps" and found.low > 0 and "beats early stopping" in found.verdict
    gain, place = by_definition(found)
    assert found.gain == pytest.approx(gain, abs=1e-15) and found.comparator == place + 1
    assert found.low < found.gain < found.high
    assert found.no_comparator_share < 0.2
    protocol = "shadow" if shadow else "partial knowledge"
    assert {each.protocol for each in (found.defended, *found.epochs)} == {protocol}
    assert all(np.array_equal(each.member_rows, found.defended.member_rows) for each in found.epochs)


def test_a_bad_defense_is_told():
    found = defense_benchmark(model(6.0, 1.0), training(), n_resamples=500, seed=0)
    assert found.status == "worse" and found.high < 0 and "Early stopping is better" in found.verdict
    assert found.gain == pytest.approx(by_definition(found)[0], abs=1e-15)


def test_a_model_beside_itself_gains_nothing():
    one = model(2.0, 1.5)
    found = defense_benchmark(one, {"last": one}, n_resamples=500, seed=0)
    assert (found.gain, found.low, found.high, found.no_comparator_share) == (0.0, 0.0, 0.0, 0.0)
    assert found.status == "not shown to help" and found.comparator == "last"


def test_no_comparator_is_a_status():
    found = defense_benchmark(model(4.0, 4.0), training(3), n_resamples=500, seed=0)
    assert by_definition(found) is None
    assert found.status == "no comparator" and found.gain is found.low is found.high is found.comparator is None
    assert found.verdict.startswith("No comparator") and found.no_comparator_share == 1.0
    plain = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert plain["status"] == "no comparator" and plain["gain"] is None and len(plain["epochs"]) == 3


def test_a_defended_model_as_accurate_as_the_best_epoch_has_resamples_without_comparator():
    epochs = training(3)
    accuracies = [epoch.nonmember.accuracy for epoch in epochs]
    best = epochs[int(np.argmax(accuracies))]
    logits = best.nonmember.logits.copy()
    right, wrong = (np.flatnonzero(best.nonmember.correct == kind)[:12] for kind in (True, False))
    logits[right], logits[wrong] = -logits[right], 0.0
    logits[wrong, best.nonmember.labels[wrong]] = 1.0
    defended = AttackedModel(best.member, Predictions(best.nonmember.labels, logits=logits))
    assert defended.nonmember.accuracy == best.nonmember.accuracy  # on other records
    found = defense_benchmark(defended, epochs, n_resamples=500, seed=0)
    assert 0.2 < found.no_comparator_share < 0.8
    assert found.high == np.inf and found.to_dict()["high"] is None and found.gain is not None


def test_each_model_is_attacked_as_alone_and_order_of_records_does_not_matter(rng):
    defended, epochs = model(2.0, 1.6, shadow=True), training(2, shadow=True)
    found = defense_benchmark(defended, epochs, n_resamples=500, seed=4)
    alone = metric_attacks(defended.member, defended.nonmember, shadow=defended.shadow, seed=4)
    assert found.defended.to_dict() == alone.to_dict()
    i, j = rng.permutation(300), rng.permutation(300)

    def reordered(each: AttackedModel) -> AttackedModel:
        return AttackedModel(each.member.take(i), each.nonmember.take(j))

    halves = [AttackedModel(each.member, each.nonmember) for each in (defended, *epochs)]
    one = defense_benchmark(halves[0], halves[1:], n_resamples=500, seed=4)
    other = defense_benchmark(reordered(halves[0]), [reordered(each) for each in halves[1:]], n_resamples=500, seed=4)
    assert one.gain == other.gain and one.verdict.split("[")[0] == other.verdict.split("[")[0]


def test_resamples_are_a_bootstrap_over_records():
    defended, epochs = model(2.0, 1.5, n=120), training(3, n=120)
    found = defense_benchmark(defended, epochs, n_resamples=2000, seed=0)
    models, results = [*epochs, defended], [*found.epochs, found.defended]
    rng, rows = np.random.default_rng(1), found.defended.nonmember_rows
    rest = np.setdiff1d(np.arange(120), rows)
    gains = []
    for _ in range(1000):
        i, j, k = (rng.integers(0, 60, 60) for _ in range(3))
        attack = [
            0.5 * (r.chosen.member_decisions[i].mean() + 1 - r.chosen.nonmember_decisions[j].mean()) for r in results
        ]
        test = [m.nonmember.correct[np.r_[rows[j], rest[k]]].sum() for m in models]
        accurate = [a for a, t in zip(attack[:-1], test[:-1], strict=True) if t >= test[-1]]
        gains.append(min(accurate) - attack[-1] if accurate else np.inf)
    gains = np.array(gains)
    assert abs(found.no_comparator_share - np.isinf(gains).mean()) < 0.06
    low, high = np.quantile(gains, [0.005, 0.6], method="inverted_cdf")
    assert low - 0.02 < found.low < high


def test_summary_curve_and_figure():
    found = defense_benchmark(
        model(1.6, 1.5), {f"epoch {k}": each for k, each in enumerate(training(3))}, n_resamples=500, seed=0
    )
    assert found.summary().splitlines()[0] == found.verdict and len(found.summary().splitlines()) == 6
    curve = found.curve()
    figure = defense_plot(**curve)
    root = ElementTree.fromstring(figure)
    assert root.get("role") == "img"
    description = root.findtext("desc")
    for value in (*curve["test_accuracy"], *curve["attack_accuracy"], *curve["defended"], *curve["defended_limits"]):
        assert f"{value:.3f}" in description
    assert "epoch 2" in figure and "defended model" in figure
    with pytest.raises(ValueError, match="one number each per epoch"):
        defense_plot([0.5], [0.5, 0.6], defended=(0.5, 0.5))


def test_bad_input_is_named():
    one = model(2.0, 1.5, n=20)
    with pytest.raises(ValueError, match="epochs is empty"):
        defense_benchmark(one, [])
    with pytest.raises(ValueError, match=r"epochs\[1\].member is not of the same records"):
        defense_benchmark(one, [model(2.0, 1.5, n=20, seed=1)])
    with pytest.raises(ValueError, match="both have a shadow model"):
        defense_benchmark(one, [model(2.0, 1.5, n=20, shadow=True)])
    with pytest.raises(TypeError, match=r"epochs\[1\] is a Predictions"):
        defense_benchmark(one, [one.member])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="n_resamples=3"):
        defense_benchmark(one, [one], n_resamples=3)


@pytest.mark.slow
def test_the_interval_covers_the_gain_of_the_law():
    """Thresholds come from a fixed shadow model; the truth is the gain of the same attacks on very many records."""

    def models(n: int, seed: int) -> list[AttackedModel]:
        shadows = [model(t, v, n=500, seed=99, noise=k, shadow=True).shadow for k, (t, v) in enumerate(laws)]
        return [
            AttackedModel(each.member, each.nonmember, shadow)
            for each, shadow in (
                (model(t, v, n=n, seed=seed, noise=k), shadow)
                for k, ((t, v), shadow) in enumerate(zip(laws, shadows, strict=True))
            )
        ]

    laws = [(0.8, 0.9), (1.6, 1.4), (2.6, 1.7), (4.0, 1.8), (1.9, 1.55)]  # the last one is defended
    *epochs, defended = models(200_000, 12345)
    truth = defense_benchmark(defended, epochs, n_resamples=100, seed=0).gain
    covered, runs = 0, 100
    for seed in range(runs):
        *epochs, defended = models(1000, seed)
        found = defense_benchmark(defended, epochs, n_resamples=500, seed=seed)
        covered += found.gain is not None and found.low <= truth <= found.high
    assert covered / runs >= 0.9
