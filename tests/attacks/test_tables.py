"""Attacks on tables: every score against sums written from the definition, missing values, and planted members."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from sklearn.datasets import load_breast_cancer

from mace_jax.attacks import NeighborDensity, domias
from mace_jax.attacks._tables import (
    domias_table,
    encode_tables,
    gan_leaks_table,
    monte_carlo_table,
    nearest_synthetic_table,
)
from mace_jax.metrics import roc
from mace_jax.neighbors import Gower


def people(n: int, seed: int, missing: float = 0.1) -> dict[str, np.ndarray]:
    """Numbers, labels, truth values and codes, some of them missing."""
    rng = np.random.default_rng(seed)
    age, income = rng.normal(45, 15, n), rng.lognormal(10, 1, n)
    city = np.array(["Bonn", "Rome", "Oslo"], object)[rng.integers(3, size=n)]
    age[rng.random(n) < missing], city[rng.random(n) < missing] = np.nan, None
    return {"age": age, "income": income, "city": city, "owner": rng.random(n) < 0.5, "code": rng.integers(4, size=n)}


def rows_of(table: dict[str, np.ndarray], rows: np.ndarray | slice) -> dict[str, np.ndarray]:
    return {name: column[rows] for name, column in table.items()}


def gower(x: dict, y: dict, ranges: dict, labels: tuple[str, ...]) -> np.ndarray:
    """Gower's distance of all pairs, pair by pair."""
    n, m = (len(next(iter(table.values()))) for table in (x, y))
    found = np.full((n, m), np.inf)
    for i in range(n):
        for j in range(m):
            terms = []
            for name in x:
                a, b = x[name][i], y[name][j]
                if a is None or b is None or a != a or b != b:
                    continue
                if name not in labels and ranges[name] == 0:
                    continue
                terms.append(float(a != b) if name in labels else abs(float(a) - float(b)) / ranges[name])
            if terms:
                found[i, j] = np.mean(terms)
    return found


def ranges_of(*tables: dict) -> dict:
    return {
        name: float(np.ptp(values[~np.isnan(values)]))
        for name in ("age", "income")
        for values in [np.concatenate([table[name] for table in tables])]
    }


LABELS = ("city", "owner", "code")
CODES = ("code",)


def test_scores_are_sums_from_the_definition():
    asked, made, other = people(12, 0), people(30, 1), people(30, 2)
    expected = gower(asked, made, ranges_of(made), LABELS)
    near = nearest_synthetic_table(asked, made, categorical=CODES)
    np.testing.assert_allclose(near, -expected.min(axis=1), rtol=1e-12)
    np.testing.assert_array_equal(gan_leaks_table(asked, made, categorical=CODES), near)
    both = ranges_of(made, other)
    calibrated = gower(asked, other, both, LABELS).min(axis=1) - gower(asked, made, both, LABELS).min(axis=1)
    np.testing.assert_allclose(
        gan_leaks_table(asked, made, reference_synthetic=other, categorical=CODES), calibrated, atol=1e-12
    )
    radius = 0.21
    np.testing.assert_allclose(
        monte_carlo_table(asked, made, radius=radius, categorical=CODES), (expected < radius).mean(axis=1)
    )
    np.testing.assert_array_equal(monte_carlo_table(asked, made, kind="nearest", categorical=CODES), near)


def test_the_ball_is_open_and_its_median_radius_leaves_half_outside():
    assert monte_carlo_table({"age": [20.0]}, {"age": [30.0, 60.0]}, radius=1 / 3).tolist() == [0.0]
    asked, made = people(40, 3), people(200, 4)
    found = monte_carlo_table(asked, made, categorical=CODES)
    near = nearest_synthetic_table(asked, made, categorical=CODES)
    assert np.sum(found == 0) == 20
    np.testing.assert_array_equal(found > 0, near > np.median(near))


def test_a_record_is_scored_alone_and_equal_models_cancel():
    asked, made = people(15, 5), people(60, 6)
    for attack in (nearest_synthetic_table, lambda x, y, **given: monte_carlo_table(x, y, radius=0.2, **given)):
        together = attack(asked, made, categorical=CODES)
        alone = [attack(rows_of(asked, slice(i, i + 1)), made, categorical=CODES)[0] for i in range(4)]
        np.testing.assert_array_equal(alone, together[:4])
    assert not gan_leaks_table(asked, made, reference_synthetic=made, categorical=CODES).any()


def test_a_memorizer_is_found_by_every_attack_and_a_fresh_sample_is_not():
    members, nonmembers, reference = people(60, 7), people(60, 8), people(150, 9)
    asked = {name: np.concatenate([members[name], nonmembers[name]]) for name in members}
    copies = rows_of(members, np.arange(150) % 60)
    rng = np.random.default_rng(1)
    copies = copies | {"age": copies["age"] + rng.normal(0, 0.5, 150), "income": copies["income"] * 1.01}
    attacks = {
        "nearest": lambda made: nearest_synthetic_table(asked, made, categorical=CODES),
        "calibrated": lambda made: gan_leaks_table(asked, made, reference_synthetic=reference, categorical=CODES),
        "count": lambda made: monte_carlo_table(asked, made, categorical=CODES),
        "domias": lambda made: domias_table(asked, made, reference, categorical=CODES),
    }
    for name, attack in attacks.items():
        scores = attack(copies)
        least = 0.75 if name == "domias" else 0.8  # wide kernels blur what a distance sees
        assert roc(scores[:60], scores[60:]).auc > least, name
        fresh = attack(people(150, 10))
        assert abs(roc(fresh[:60], fresh[60:]).auc - 0.5) < 0.16, name  # three standard deviations


def test_numbers_and_labels_become_columns_learned_from_the_side_sets():
    asked, made, known = people(10, 11), people(40, 12), people(50, 13)
    values, samples, others = encode_tables(asked, made, known, categorical=CODES)
    widths = {name: 2 for name in ("age", "income")} | {"city": 4, "owner": 3, "code": 5}
    assert [part.shape for part in (values, samples, others)] == [(n, sum(widths.values())) for n in (10, 40, 50)]
    ages = np.concatenate([made["age"], known["age"]])
    expected = (asked["age"] - np.nanmean(ages)) / np.nanstd(ages)
    np.testing.assert_allclose(values[:, 0], np.nan_to_num(expected), atol=1e-12)
    np.testing.assert_array_equal(values[:, 1], np.isnan(asked["age"]))


def test_domias_is_that_of_the_encoded_records():
    asked, made, known = people(10, 14), people(40, 15), people(50, 16)
    values, samples, others = encode_tables(asked, made, known, categorical=CODES)
    width = 50 ** (-1 / 9)

    def kernels(centers: np.ndarray) -> np.ndarray:
        logs = stats.norm.logpdf(values[:, None], centers, width).sum(axis=2)
        return np.logaddexp.reduce(logs, axis=1) - np.log(len(centers))

    found = domias_table(asked, made, known, categorical=CODES)
    np.testing.assert_allclose(found, kernels(samples) - kernels(others), rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(
        domias_table(asked, made, known, density=NeighborDensity(3), categorical=CODES),
        domias(values, samples, others, density=NeighborDensity(3)),
    )


def test_a_table_of_numbers_alone():
    records = load_breast_cancer().data[:, :6]
    rng = np.random.default_rng(0)
    rows = rng.permutation(len(records))
    members, nonmembers, reference = (records[rows[part]] for part in (slice(80), slice(80, 160), slice(160, 460)))
    made = members[rng.integers(80, size=300)] * rng.normal(1.0, 0.005, (300, 6))
    asked = np.concatenate([members, nonmembers])
    for scores, least in ((nearest_synthetic_table(asked, made), 0.9), (domias_table(asked, made, reference), 0.7)):
        assert roc(scores[:80], scores[80:]).auc > least


def test_bad_input_is_named():
    made = people(8, 1)
    with pytest.raises(ValueError, match="ranges='union'"):
        nearest_synthetic_table(made, made, metric=Gower())
    with pytest.raises(TypeError, match="no Gower"):
        nearest_synthetic_table(made, made, metric="gower")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="ranges='given'"):
        gan_leaks_table(made, made, reference_synthetic=made, metric=Gower(ranges="reference"))
    with pytest.raises(ValueError, match="7 rows but synthetic has 8"):
        gan_leaks_table(made, made, reference_synthetic=people(7, 2))
    with pytest.raises(ValueError, match="first row 1"):
        nearest_synthetic_table({"age": [1.0, np.nan]}, {"age": [0.0, 4.0]})
    with pytest.raises(ValueError, match="the radius is 0"):
        monte_carlo_table(made, made)
    with pytest.raises(ValueError, match="radius=0 must"):
        monte_carlo_table(made, made, radius=0.0)
    with pytest.raises(ValueError, match="kind='log'"):
        monte_carlo_table(made, made, kind="log")
    with pytest.raises(ValueError, match=r"names \['size'\]"):
        nearest_synthetic_table(made, made, categorical=("size",))
    with pytest.raises(ValueError, match="'Paris'"):
        domias_table({"city": ["Paris"]}, {"city": ["Rome"]}, {"city": ["Bonn"]})
    with pytest.raises(ValueError, match="different columns"):
        encode_tables({"a": [1.0]}, {"a": [1.0]}, {"b": [1.0]})
    with pytest.raises(ValueError, match="others is empty"):
        encode_tables(made)
