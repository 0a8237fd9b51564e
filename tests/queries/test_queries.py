from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from mace_jax.queries import (
    AbstractQuery,
    CalibratedDistance,
    DiscriminatorScore,
    MonteCarlo,
    NearestSynthetic,
    ReconstructionError,
    Stack,
    default_queries,
)


def auc(members, nonmembers) -> float:
    first, second = members.reshape(-1, 1), nonmembers.reshape(1, -1)
    return float((first > second).mean() + 0.5 * (first == second).mean())


def black_box(synthetic, reference):
    return {
        "nearest": NearestSynthetic(synthetic),
        "k nearest": NearestSynthetic(synthetic, k=3),
        "monte carlo": MonteCarlo(synthetic),
        "monte carlo, reference": MonteCarlo(synthetic, reference),
        "calibrated": CalibratedDistance(synthetic, reference),
        "stack": Stack([NearestSynthetic(synthetic), MonteCarlo(synthetic, reference)]),
    }


CASES = ("nearest", "k nearest", "monte carlo", "monte carlo, reference", "calibrated", "stack")
SCALARS = ("nearest", "monte carlo", "monte carlo, reference", "calibrated")


def all_queries(parts, known):
    return (
        *default_queries(synthetic=parts.fresh, reference=parts.reference, model=known),
        *black_box(parts.fresh, parts.reference).values(),
    )


def test_distances_are_the_euclidean_ones(parts):
    distances = np.sort(cdist(parts.members, parts.fresh), axis=1)
    np.testing.assert_allclose(NearestSynthetic(parts.fresh)(parts.members, seed=0), -distances[:, :1], rtol=1e-12)
    np.testing.assert_allclose(NearestSynthetic(parts.fresh, k=4)(parts.members, seed=0), -distances[:, :4], rtol=1e-12)
    to_reference = cdist(parts.members, parts.reference).min(axis=1, keepdims=True)
    calibrated = CalibratedDistance(parts.fresh, parts.reference)(parts.members, seed=0)
    np.testing.assert_allclose(calibrated, to_reference - distances[:, :1], rtol=1e-9, atol=1e-12)


def test_ball_counts_are_shares_within_the_radius(parts):
    for query in (MonteCarlo(parts.fresh), MonteCarlo(parts.fresh, parts.reference), MonteCarlo(parts.fresh, radius=2)):
        expected = (cdist(parts.members, parts.fresh) <= query.radius).mean(axis=1, keepdims=True)
        assert np.array_equal(query(parts.members, seed=0), expected)


def test_the_radius_is_the_documented_one(parts):
    others = np.sort(cdist(parts.fresh, parts.fresh), axis=1)[:, 5]  # place 0 is the record itself
    assert MonteCarlo(parts.fresh).radius == pytest.approx(np.median(others), rel=1e-12)
    from_reference = np.sort(cdist(parts.reference, parts.fresh), axis=1)[:, 4]
    assert MonteCarlo(parts.fresh, parts.reference).radius == pytest.approx(np.median(from_reference), rel=1e-12)


def test_the_radius_of_many_records_uses_a_thousand_and_a_thousandth():
    synthetic = np.random.default_rng(0).normal(size=(6500, 2))
    rows = np.linspace(0, 6499, 1000).round().astype(int)
    expected = np.median(np.sort(cdist(synthetic[rows], synthetic), axis=1)[:, 7])
    assert MonteCarlo(synthetic).radius == pytest.approx(expected, rel=1e-12)


def test_repeated_synthetic_records_leave_the_smallest_positive_distance():
    synthetic = np.array([[0.0]] * 8 + [[1.0], [1.75], [3.0]])
    assert MonteCarlo(synthetic).radius == 0.75
    assert MonteCarlo(np.repeat([[0.0], [1.0]], 20, axis=0)).radius == 1.0
    for unusable in (np.zeros((50, 2)), np.arange(5.0)):
        with pytest.raises(
            ValueError, match="at least 6 rows that are not all equal; draw more records or pass radius"
        ):
            MonteCarlo(unusable)


@pytest.mark.parametrize("case", CASES)
def test_a_generator_that_copies_is_caught(case, parts, copies):
    query = black_box(copies, parts.reference)[case]
    members, nonmembers = query(parts.members, seed=0), query(parts.nonmembers, seed=0)
    if "nearest" in case:
        assert (members[:, 0] == 0.0).all() and not np.signbit(members).any()
        assert (nonmembers < 0.0).all()
    assert auc(members[:, 0], nonmembers[:, 0]) > (0.9 if case != "monte carlo, reference" else 0.65)


@pytest.mark.parametrize("case", SCALARS)
def test_a_generator_that_knows_the_law_alone_is_not(case, parts):
    query = black_box(parts.fresh, parts.reference)[case]
    value = auc(query(parts.members, seed=0), query(parts.nonmembers, seed=0))
    assert abs(value - 0.5) < 4 * np.sqrt(301 / (12 * 150 * 150))


def test_a_record_is_evaluated_alone(parts, known):
    records = np.concatenate([parts.members[:15], parts.nonmembers[:15]])
    order = np.random.default_rng(0).permutation(30)
    for query in all_queries(parts, known):
        together = query(records, seed=3)
        assert together.shape[0] == 30 and together.ndim == 2 and together.dtype == np.float64
        assert np.array_equal(np.concatenate([query(record[None], seed=3) for record in records]), together), query.name
        assert np.array_equal(query(records[order], seed=3), together[order])
        assert np.array_equal(query(np.concatenate([records, parts.nonmembers]), seed=3)[:30], together)


def test_the_radius_does_not_move_with_the_records(parts):
    query = MonteCarlo(parts.fresh)
    before = query.radius
    query(1000.0 * parts.members, seed=0)
    assert query.radius == before == MonteCarlo(parts.fresh).radius


@given(shift=st.floats(-50, 50), scale=st.floats(0.1, 20))
def test_black_box_scores_move_with_the_units(parts, shift, scale):
    synthetic, reference, records = (
        scale * rows + shift for rows in (parts.fresh, parts.reference, parts.members[:10])
    )
    for case, query in black_box(parts.fresh, parts.reference).items():
        if case in ("nearest", "k nearest", "calibrated"):
            moved = black_box(synthetic, reference)[case](records, seed=0)
            np.testing.assert_allclose(moved, scale * query(parts.members[:10], seed=0), rtol=1e-6, atol=1e-9)


def test_a_users_model_is_asked_for_what_it_has(parts, known):
    scores = DiscriminatorScore(known)
    assert scores(parts.members, seed=0).ravel().tolist() == [1.0] * 150
    assert scores(parts.nonmembers, seed=0).ravel().tolist() == [0.0] * 150
    errors = ReconstructionError(known)
    assert errors(parts.members[:2], seed=7).ravel().tolist() == [-0.5, -0.5]
    assert errors(parts.nonmembers[:2], seed=7).ravel().tolist() == [-9.0, -9.0]


def test_several_discriminators_make_a_vector(parts):
    class Ensemble:
        def discriminator_score(self, records):
            return np.stack([records[:, 0], records[:, 1], records.sum(axis=1)], axis=1)

    assert DiscriminatorScore(Ensemble())(parts.members, seed=0).shape == (150, 3)


def test_a_stack_is_its_parts_side_by_side(parts, known):
    queries = [NearestSynthetic(parts.fresh, k=2), DiscriminatorScore(known)]
    expected = np.concatenate([query(parts.members, seed=0) for query in queries], axis=1)
    stack = Stack(queries)
    assert np.array_equal(stack(parts.members, seed=0), expected)
    assert stack.name == "2 nearest synthetic + discriminator score"
    assert stack.source == "Chen et al. (2020); Hayes et al. (2019)"


def test_names_and_descriptions_read_well(parts, known):
    queries = all_queries(parts, known)
    for query in queries:
        assert isinstance(query, AbstractQuery)
        assert 0 < len(query.name) <= 60
        assert query.description.endswith(".") and query.description.count(".") == 1
        assert "(" in query.source and query.source.endswith(")")
    names = [query.name for query in default_queries(synthetic=parts.fresh, reference=parts.reference, model=known)]
    assert names == [
        "nearest synthetic distance",
        "5 nearest synthetic",
        "Monte Carlo ball count",
        "calibrated distance",
        "discriminator score",
        "reconstruction error",
    ]
    shown = [repr(query) for query in black_box(parts.fresh, parts.reference).values()]
    assert shown[1] == "NearestSynthetic(synthetic=(600, 4), k=3)"
    assert shown[2].startswith("MonteCarlo(synthetic=(600, 4), radius=0.")
    assert shown[4] == "CalibratedDistance(synthetic=(600, 4), reference=(150, 4))"


def test_default_queries_use_what_is_there(parts, known):
    def names(**arguments):
        usual = {"synthetic": None, "reference": None, "model": None}
        return [query.name for query in default_queries(**{**usual, **arguments})]

    assert names(model=known) == ["discriminator score", "reconstruction error"]
    assert names(synthetic=parts.fresh, model=object(), k=1) == ["nearest synthetic distance", "Monte Carlo ball count"]
    assert names(synthetic=[[1.0]]) == ["nearest synthetic distance"]
    assert names(synthetic=np.zeros(20)) == ["nearest synthetic distance", "5 nearest synthetic"]
    default = default_queries(synthetic=parts.fresh, reference=parts.reference, model=None)[2]
    assert isinstance(default, MonteCarlo) and default.radius == MonteCarlo(parts.fresh, parts.reference).radius
    with pytest.raises(ValueError, match="nothing to ask: pass synthetic records, or a model with"):
        names(reference=parts.reference, model=object())


def test_the_models_of_the_package_are_understood(parts):
    from mace_jax.models import GAN, VAE

    small = {"latent_dim": 2, "batch_size": 8}
    gan = GAN(generator_hidden=(8,), discriminator_hidden=(8,), **small).fit(parts.members, steps=2, seed=0)
    vae = VAE(encoder_hidden=(8,), decoder_hidden=(8,), **small).fit(parts.members, steps=2, seed=0)
    scores = default_queries(synthetic=None, reference=None, model=gan)
    errors = default_queries(synthetic=None, reference=None, model=vae)
    assert [q.name for q in (*scores, *errors)] == ["discriminator score", "reconstruction error"]
    records = parts.members[:6]
    assert np.array_equal(scores[0](records, seed=1)[:, 0], gan.discriminator_score(records))
    assert np.array_equal(errors[0](records, seed=1)[:, 0], -vae.reconstruction_error(records, seed=1))


class _Wrong:
    def __init__(self, answer):
        self.answer = answer

    def discriminator_score(self, records):
        return self.answer


@pytest.mark.parametrize(
    ("answer", "error", "message"),
    [
        ([1.0, 2.0], ValueError, r"_Wrong.discriminator_score returned 2 rows for 3 records; it must return one per"),
        ([1.0, np.nan, 2.0], ValueError, "discriminator_score returned NaN or infinity for 1 of 3 records"),
        (["a", "b", "c"], TypeError, "_Wrong.discriminator_score did not return numbers, one per record"),
        (3.0, ValueError, "_Wrong.discriminator_score did not return numbers, one per record"),
    ],
)
def test_a_models_wrong_answer_names_its_method(answer, error, message):
    with pytest.raises(error, match=message):
        DiscriminatorScore(_Wrong(answer))(np.zeros((3, 2)), seed=0)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: NearestSynthetic([[0.0]], k=2), ValueError, "k=2 exceeds the 1 synthetic records; pass k=1"),
        (lambda: NearestSynthetic([[0.0]], k=0), ValueError, "k=0 must be at least 1"),
        (lambda: NearestSynthetic([[0.0], [np.inf]]), ValueError, "synthetic has NaN or infinity in 1 of 2 rows"),
        (lambda: NearestSynthetic(np.zeros((0, 2))), ValueError, "synthetic has 0 rows; at least 1 are needed"),
        (lambda: NearestSynthetic(["a"]), TypeError, "synthetic has dtype"),
        (lambda: CalibratedDistance([[0.0]], [[0.0, 1.0]]), ValueError, "synthetic has 1 columns but reference has 2"),
        (lambda: MonteCarlo([[0.0]], radius=0.0), ValueError, "radius=0.0 must be above 0; leave it out"),
        (lambda: MonteCarlo([[0.0]], radius=-1.0), ValueError, "radius=-1.0 must be a finite number"),
        (lambda: MonteCarlo([[0.0]], [[0.0, 1.0]]), ValueError, "synthetic has 1 columns but reference has 2"),
        (lambda: DiscriminatorScore(3), TypeError, r"model is a int without discriminator_score\(records\)"),
        (lambda: ReconstructionError(3), TypeError, "model is a int without reconstruction_error"),
        (lambda: Stack([]), ValueError, "queries is empty"),
        (lambda: Stack([3]), TypeError, "queries holds 3, which is not a query"),
        (lambda: default_queries(synthetic=[[0.0]], reference=None, model=None, k=0), ValueError, "k=0 must be at"),
    ],
)
def test_bad_settings_are_refused_by_name(make, error, message):
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize("case", CASES)
def test_bad_records_are_refused_by_name(case, parts):
    query = black_box(parts.fresh, parts.reference)[case]
    with pytest.raises(ValueError, match="records has 3 columns but synthetic has 4"):
        query(parts.members[:, :3], seed=0)
    with pytest.raises(ValueError, match="records has NaN or infinity in 1 of 1 rows"):
        query(np.full((1, 4), np.nan), seed=0)
    with pytest.raises(ValueError, match="records has 0 rows"):
        query(np.zeros((0, 4)), seed=0)
