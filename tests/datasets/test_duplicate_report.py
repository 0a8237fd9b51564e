from __future__ import annotations

import json

import numpy as np
import pytest

from mace_jax.data import split_dataset
from mace_jax.datasets import duplicate_report, load
from tests.datasets.files import mixed


def parts() -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    return {"members": random.integers(0, 9, (70, 2)) * 1.0, "nonmembers": random.integers(0, 9, (50, 2)) * 1.0}


def test_counts_against_the_definition() -> None:
    found = duplicate_report(parts())
    rows = {name: [tuple(row) for row in part.tolist()] for name, part in parts().items()}
    assert found.sizes == {"members": 70, "nonmembers": 50}
    assert found.repeated == {name: len(part) - len(set(part)) for name, part in rows.items()}
    for one, other in (("members", "nonmembers"), ("nonmembers", "members")):
        assert found.equal_rows[f"{one} in {other}"] == sum(row in set(rows[other]) for row in rows[one])
    assert json.loads(json.dumps(found.to_dict()))["metric"] == "euclidean"
    assert f"{found.repeated['members']} of 70 members" in found.summary


def test_distances_against_the_definition() -> None:
    found = duplicate_report(parts(), quantiles=(0.1, 0.5, 0.9))
    a, b = parts().values()
    table = np.sqrt(((a[:, None] - b[None]) ** 2).sum(-1))
    own = np.sqrt(((b[:, None] - b[None]) ** 2).sum(-1)) + np.where(np.eye(50) == 1, np.inf, 0)
    levels = (0.1, 0.5, 0.9)
    np.testing.assert_allclose(found.distances["members in nonmembers"], np.quantile(table.min(1), levels))
    np.testing.assert_allclose(found.distances["nonmembers in members"], np.quantile(table.min(0), levels))
    np.testing.assert_allclose(found.distances["nonmembers"], np.quantile(own.min(1), levels))
    assert found.closer["members in nonmembers"] == np.mean(table.min(1) < np.quantile(own.min(1), 0.1))


def test_copies_of_members_show_as_closer() -> None:
    random = np.random.default_rng(1)
    members = random.normal(size=(300, 3))
    near = members[:100] + 1e-6 * random.normal(size=(100, 3))
    found = duplicate_report({"members": members, "synthetic": near, "fresh": random.normal(size=(300, 3))})
    assert found.closer["synthetic in members"] == 1.0 and found.closer["fresh in members"] < 0.06
    assert set(found.equal_rows.values()) == {0}


def test_a_sample_of_queries_is_drawn_by_seed() -> None:
    one, same, other = (duplicate_report(parts(), most_queries=10, seed=seed) for seed in (0, 0, 1))
    assert one.to_dict() == same.to_dict() != other.to_dict()
    assert one.equal_rows == other.equal_rows == duplicate_report(parts()).equal_rows


def test_a_data_set_and_its_split() -> None:
    digits = load("digits")
    split = split_dataset(digits, members=200, nonmembers=300, seed=0)
    found = duplicate_report(digits, split, most_queries=50)
    assert found.sizes == {"members": 200, "nonmembers": 300} and set(found.equal_rows.values()) == {0}
    assert list(duplicate_report(digits, most_queries=20).sizes) == ["records"]
    with pytest.raises(ValueError, match="is not the one that was split"):
        duplicate_report(digits.take(np.arange(9)), split)


def test_a_mixed_table_is_measured_by_gower() -> None:
    data = mixed()
    found = duplicate_report(data, quantiles=(0.0,))
    assert found.metric == "gower" and found.repeated == {"records": 1} and found.distances == {"records": (0.0,)}
    # Alone but for one number: weight 41.5 against missing is 1, city missing against Bonn 1, answer yes = yes 0.
    found = duplicate_report(data.take([1, 2]), quantiles=(0.0, 0.5))
    np.testing.assert_allclose(found.distances["records"], (2 / 3, 2 / 3))


@pytest.mark.parametrize(
    ("given", "options", "error", "message"),
    [
        ({"a": [1.0]}, {"quantiles": ()}, ValueError, "at least one level, ascending"),
        ({"a": [1.0]}, {"quantiles": (0.5, 0.1)}, ValueError, "ascending"),
        ({"a": [1.0]}, {"most_queries": 0}, ValueError, "most_queries=0"),
        ({"a": []}, {}, ValueError, "a has 0 rows"),
        ({"a": [[1.0]], "b": [[1.0, 2.0]]}, {}, ValueError, "a has 1 columns but"),
        ({"a": [np.nan]}, {}, ValueError, "a has NaN"),
        ([1.0], {}, TypeError, "must map names to records"),
    ],
)
def test_bad_input(given, options: dict, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        duplicate_report(given, **options)
