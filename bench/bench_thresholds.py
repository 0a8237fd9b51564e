"""Class thresholds: the best balanced accuracy of every class from one sort, and the loop over classes beside.

The bar is 1,000,000 records in 100 classes in 3 s. Beside, on the same records, class after class with NumPy's sort
and search, which reads all records for each class; and on 4,000 records the quadratic rule that the metric attacks
were published with. Answers are compared first: thresholds with the former, accuracies with the latter, whose floating
sums may break ties in another way.
"""

from __future__ import annotations

from typing import Any

from bench.harness import Case, Contender, Contenders, main


def _records(n: int, n_classes: int) -> tuple[Any, Any, Any, Any]:
    import numpy as np

    rng = np.random.default_rng(0)
    own, other = rng.integers(0, n_classes, n // 2), rng.integers(0, n_classes, n - n // 2)
    return rng.normal(0.3, 1.0, len(own)), own, rng.normal(size=len(other)), other


def _fit(inputs: Any) -> Any:
    from mace_jax.attacks._class_thresholds import ClassThresholds

    return ClassThresholds.fit(*inputs)


def _by_class(inputs: Any) -> Any:
    import numpy as np

    members, own, nonmembers, other = inputs
    found = []
    for label in np.unique(np.concatenate([own, other])):
        inside, outside = np.sort(members[own == label]), np.sort(nonmembers[other == label])
        both = np.sort(np.concatenate([inside, outside]))[::-1]
        hits = len(inside) - np.searchsorted(inside, both, "left")
        rejected = np.searchsorted(outside, both, "left")
        found.append(both[np.argmax(len(outside) * hits + len(inside) * rejected)])
    return np.array(found)


def _quadratic(inputs: Any) -> float:
    import numpy as np

    members, own, nonmembers, other = inputs
    right = np.zeros(2)
    for label in np.unique(np.concatenate([own, other])):
        inside, outside = members[own == label], nonmembers[other == label]
        best, chosen = 0.0, 0.0
        for candidate in np.concatenate([inside, outside]):
            accuracy = 0.5 * (np.mean(inside >= candidate) + np.mean(outside < candidate))
            if accuracy > best:
                best, chosen = accuracy, candidate
        right += (inside >= chosen).sum(), (outside < chosen).sum()
    return float(0.5 * (right[0] / len(members) + right[1] / len(nonmembers)))


def _case(name: str, n: int, n_classes: int, *, smoke: bool = False, quadratic: bool = False) -> Case:
    def prepare() -> Any:
        return _records(n, n_classes)

    def beside(inputs: Any) -> Contenders:
        import numpy as np

        fitted = _fit(inputs)
        np.testing.assert_array_equal(fitted.thresholds, _by_class(inputs))
        contenders = {
            "mace_jax": Contender(lambda: _fit(inputs)),
            "numpy_by_class": Contender(lambda: _by_class(inputs)),
        }
        if quadratic:
            np.testing.assert_allclose(fitted.balanced_accuracy(*inputs), _quadratic(inputs), rtol=0, atol=1e-12)
            contenders["quadratic"] = Contender(lambda: _quadratic(inputs))
        return contenders

    parameters = {"records": n, "classes": n_classes}
    return Case(name, prepare, lambda inputs: _fit(inputs).thresholds, parameters, smoke, beside)


CASES = [
    _case("smoke", 2_000, 10, smoke=True, quadratic=True),
    _case("records_4000_classes_10", 4_000, 10, quadratic=True),
    _case("records_1m_classes_100", 1_000_000, 100),
]

if __name__ == "__main__":
    main("bench_thresholds", CASES)
