from __future__ import annotations

import json

import numpy as np
import pytest

from mace_jax.data import MembershipSample


def test_scores_become_one_column_and_images_are_flattened() -> None:
    sample = MembershipSample([1, 2, 3], np.array([0.5, 0.25], dtype=np.float32))
    assert sample.members.shape == (3, 1) and sample.members.dtype == np.float64 and sample.n_outputs == 1
    assert repr(sample) == "MembershipSample(members=(3, 1), nonmembers=(2, 1))"
    assert json.loads(json.dumps(sample.to_dict())) == {"members": [[1], [2], [3]], "nonmembers": [[0.5], [0.25]]}
    assert MembershipSample(np.zeros((2, 3, 4)), np.zeros((5, 12))).n_outputs == 12


@pytest.mark.parametrize(
    ("members", "nonmembers", "message"),
    [
        ([1.0], [1.0, 2.0], "members has 1 rows; at least 2 are needed"),
        ([1.0, 2.0], [1.0], "nonmembers has 1 rows; at least 2 are needed"),
        ([[1.0, 2.0]] * 2, [1.0, 2.0], "members has 2 columns but nonmembers has 1"),
        ([1.0, np.nan, np.inf], [1.0, 2.0], "members has NaN or infinity in 2 of 3 rows, first in row 1"),
        ([1.0, 2.0], [-np.inf, 2.0], "nonmembers has NaN or infinity in 1 of 2 rows, first in row 0"),
    ],
)
def test_bad_values(members, nonmembers, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MembershipSample(members, nonmembers)


def test_text_is_not_numeric() -> None:
    with pytest.raises(TypeError, match="members has dtype <U1, which is not numeric"):
        MembershipSample(["a", "b"], [1.0, 2.0])
