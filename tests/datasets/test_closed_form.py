from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import integrate, stats

from mace_jax.datasets import closed_form

GAUSSIAN = closed_form.GaussianShift(shift=1.4, scale=2.0)
LAPLACE = closed_form.LaplaceShift(shift=1.5, scale=0.75)
UNIFORM = closed_form.UniformShift(shift=0.3)
RESPONSE = closed_form.RandomizedResponse(epsilon=1.0)
ATOMS = closed_form.Atoms(members=(0.1, 0.2, 0.3, 0.4), nonmembers=(0.4, 0.3, 0.15, 0.15))
ALL = [GAUSSIAN, LAPLACE, UNIFORM, RESPONSE, ATOMS]
EPSILONS = [-3.0, -1.0, -0.2, 0.0, 0.4, 1.0, 1.9, 2.5]

# laws of members and nonmembers written down a second time, through scipy.stats
LAWS = {
    GAUSSIAN: (stats.norm(1.4, 2.0), stats.norm(0.0, 2.0), (-25.0, 25.0)),
    LAPLACE: (stats.laplace(1.5, 0.75), stats.laplace(0.0, 0.75), (-30.0, 30.0)),
    UNIFORM: (stats.uniform(0.3, 1.0), stats.uniform(0.0, 1.0), (-0.5, 1.8)),
}
BREAKS = [-3.0, -1.0, 0.0, 0.3, 0.75, 1.0, 1.3, 1.5, 3.0]


def integral(law: closed_form.AbstractClosedForm, fun) -> float:
    low, high = LAWS[law][2]
    edges = [low, *(point for point in BREAKS if low < point < high), high]
    pieces = [integrate.quad(fun, a, b, limit=400, epsabs=1e-12)[0] for a, b in zip(edges, edges[1:], strict=False)]
    return math.fsum(pieces)


@pytest.mark.parametrize("epsilon", EPSILONS)
@pytest.mark.parametrize("law", LAWS, ids=lambda law: type(law).__name__)
def test_hockey_stick_by_quadrature(law, epsilon: float) -> None:
    p, q, _ = LAWS[law]
    value = integral(law, lambda x: max(p.pdf(x) - math.exp(epsilon) * q.pdf(x), 0.0))
    assert law.hockey_stick(epsilon) == pytest.approx(value, abs=2e-7)


@pytest.mark.parametrize("law", [GAUSSIAN, LAPLACE], ids=lambda law: type(law).__name__)
def test_kl_by_quadrature(law) -> None:
    p, q, _ = LAWS[law]
    assert law.kl == pytest.approx(integral(law, lambda x: p.pdf(x) * (p.logpdf(x) - q.logpdf(x))), abs=1e-8)


@pytest.mark.parametrize("law", LAWS, ids=lambda law: type(law).__name__)
def test_auc_by_quadrature(law) -> None:
    p, q, _ = LAWS[law]  # the ratio never falls with the output, so the output itself ranks as well
    assert law.auc == pytest.approx(integral(law, lambda x: p.pdf(x) * q.cdf(x)), abs=1e-8)


@pytest.mark.parametrize("law", [RESPONSE, ATOMS], ids=lambda law: type(law).__name__)
def test_discrete_truths_by_enumeration(law) -> None:
    p, q = law._laws()
    sets = [[(code >> atom) & 1 for atom in range(len(p))] for code in range(2 ** len(p))]
    for epsilon in EPSILONS:
        best = max(np.dot(choice, p) - math.exp(epsilon) * np.dot(choice, q) for choice in sets)
        assert law.hockey_stick(epsilon) == pytest.approx(best, abs=1e-14)
    assert law.kl == pytest.approx(sum(a * math.log(a / b) for a, b in zip(p, q, strict=True)))
    assert law.epsilon == pytest.approx(max(abs(math.log(a / b)) for a, b in zip(p, q, strict=True)))
    ratio = p / q
    pairs = (
        p[i] * q[j] * (1.0 if ratio[i] > ratio[j] else 0.5 if ratio[i] == ratio[j] else 0.0)
        for i in range(len(p))
        for j in range(len(q))
    )
    assert law.auc == pytest.approx(math.fsum(pairs))


def test_known_numbers() -> None:
    assert closed_form.GaussianShift().optimal_advantage == pytest.approx(0.382925, abs=5e-7)  # 2 Phi(1/2) - 1
    assert closed_form.GaussianShift().auc == pytest.approx(0.760250, abs=5e-7)  # Phi(1 / sqrt 2)
    assert closed_form.RandomizedResponse(1.0).total_variation == pytest.approx(math.tanh(0.5))
    assert closed_form.LaplaceShift().total_variation == pytest.approx(1 - math.exp(-0.5))
    assert closed_form.RandomizedResponse(2.0) == closed_form.RandomizedResponse(epsilon=2.0)


@pytest.mark.parametrize("law", ALL, ids=lambda law: type(law).__name__)
def test_relations_every_pair_obeys(law) -> None:
    tv = law.total_variation
    assert tv == law.optimal_advantage == law.hockey_stick(0.0)
    assert 0.5 * (1 + tv) <= law.auc + 1e-12 and law.auc <= 1 - 0.5 * (1 - tv) ** 2 + 1e-12
    assert tv <= math.sqrt(law.kl / 2) if math.isfinite(law.kl) else True  # Pinsker
    curve = [law.hockey_stick(epsilon) for epsilon in EPSILONS]
    assert all(a >= b for a, b in zip(curve, curve[1:], strict=False))
    if math.isfinite(law.epsilon):
        assert law.hockey_stick(law.epsilon) == pytest.approx(0.0, abs=1e-12)
        assert tv <= math.tanh(law.epsilon / 2) + 1e-12  # randomized response is the extreme
    assert law.optimal_accuracy(0.5) == pytest.approx(0.5 * (1 + tv))
    assert law.optimal_accuracy(0.2) >= 0.8 and law.optimal_accuracy(0.9) >= 0.9 - 1e-12


@pytest.mark.parametrize(
    "law",
    [
        closed_form.GaussianShift(shift=0.0),
        closed_form.LaplaceShift(shift=0.0),
        closed_form.UniformShift(shift=0.0),
        closed_form.RandomizedResponse(epsilon=0.0),
        closed_form.Atoms(members=(0.5, 0.5, 0.0), nonmembers=(0.5, 0.5, 0.0)),
    ],
    ids=lambda law: type(law).__name__,
)
def test_equal_laws_leak_nothing(law) -> None:
    assert (law.total_variation, law.kl, law.epsilon) == (0.0, 0.0, 0.0) and law.auc == pytest.approx(0.5)
    assert law.hockey_stick(-1.0) == pytest.approx(1 - math.exp(-1.0))


def test_disjoint_supports_leak_everything() -> None:
    apart = closed_form.Atoms(members=(0.0, 1.0), nonmembers=(1.0, 0.0))
    assert (apart.total_variation, apart.kl, apart.auc, apart.epsilon) == (1.0, math.inf, 1.0, math.inf)
    assert closed_form.UniformShift(shift=1.0).auc == 1.0
    assert UNIFORM.kl == UNIFORM.epsilon == GAUSSIAN.epsilon == math.inf


@pytest.mark.parametrize("law", ALL, ids=lambda law: type(law).__name__)
def test_draws_follow_the_laws(law) -> None:
    n = 4000
    sample = law.draw(n, n + 1, seed=5)
    assert sample.members.shape == (n, 1) and sample.nonmembers.shape == (n + 1, 1)
    again, other = law.draw(n, n + 1, seed=5), law.draw(n, n + 1, seed=6)
    assert np.array_equal(sample.members, again.members) and not np.array_equal(sample.members, other.members)
    for drawn, place in ((sample.members[:, 0], 0), (sample.nonmembers[:, 0], 1)):
        if law in LAWS:
            assert stats.kstest(drawn, LAWS[law][place].cdf).pvalue > 1e-4
        else:
            counts = np.bincount(drawn.astype(int), minlength=len(law._laws()[place]))
            assert stats.chisquare(counts, law._laws()[place] * len(drawn)).pvalue > 1e-4


def test_gaussian_in_many_dimensions_has_the_same_truth() -> None:
    law = closed_form.GaussianShift(shift=1.0, n_outputs=9)
    assert law.total_variation == closed_form.GaussianShift(shift=1.0).total_variation
    sample = law.draw(20_000, 20_000, seed=0)
    gap = sample.members.mean(axis=0) - sample.nonmembers.mean(axis=0)
    assert np.linalg.norm(gap) == pytest.approx(1.0, abs=0.05)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: closed_form.GaussianShift(shift=-1.0), "shift=-1.0 must be a finite number of at least 0"),
        (lambda: closed_form.LaplaceShift(scale=0.0), "scale=0.0 must be a finite number above 0"),
        (lambda: closed_form.RandomizedResponse(epsilon=math.inf), "epsilon=inf must be a finite number"),
        (lambda: closed_form.UniformShift(shift=1.5), "shift=1.5 must be at most 1"),
        (lambda: closed_form.Atoms(members=(1.0,), nonmembers=(0.5, 0.5)), "members has 1 atoms but nonmembers has 2"),
        (lambda: closed_form.Atoms(members=(0.6, 0.6), nonmembers=(0.5, 0.5)), "add up to 1"),
        (lambda: GAUSSIAN.draw(1, 5, seed=0), "n_members=1 must be at least 2"),
        (lambda: GAUSSIAN.optimal_accuracy(1.0), "prior=1.0 must lie strictly between 0 and 1"),
    ],
)
def test_settings_out_of_range(make, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
