"""Shadow models: 16 small classifiers of 5,000 records trained together, beside the same 16 one after another.

Both are calls of ``ShadowModels.fit`` on the same membership; "one after another" gives each model its own call, with
its number and its row of the design, and reuses the compiled step. Nothing is compiled while the clock runs. The
answers are checked first: every model has the same losses both ways, up to rounding. The bar is a ratio of 3 on two
processors for ``shadow_16_small``; the other cases show how it falls as one model fills a processor.
"""

from __future__ import annotations

from typing import Any

from bench.harness import Case, Contender, Contenders, main

CLASSES = 10


def _data(n: int, d: int) -> tuple[Any, Any]:
    """Records of ten overlapping classes."""
    import numpy as np

    rng = np.random.default_rng(0)
    labels = rng.integers(CLASSES, size=n)
    return rng.normal(size=(n, d)) + 0.7 * rng.normal(size=(CLASSES, d))[labels], labels


def _case(
    name: str, hidden: tuple[int, ...], *, n: int = 5_000, d: int = 30, models: int = 16, steps: int = 1_000,
    batch: int = 32, smoke: bool = False,
) -> Case:  # fmt: skip
    def prepare() -> Any:
        from mace_jax.models._shadow_design import balanced_membership
        from mace_jax.models.shadow import ShadowModels

        settings = ShadowModels(hidden=hidden, steps=steps, batch_size=batch)
        return settings, *_data(n, d), balanced_membership(models, n, 0.5, 0)

    def together(given: Any) -> Any:
        settings, records, labels, included = given
        return settings.fit(records, labels, included=included, seed=0).losses

    def one_by_one(given: Any) -> Any:
        import numpy as np

        settings, records, labels, included = given
        fits = [
            settings.fit(records, labels, included=included[[model]], first_model=model, seed=0)
            for model in range(models)
        ]
        return np.concatenate([fitted.losses for fitted in fits])

    def beside(given: Any) -> Contenders:
        import numpy as np

        np.testing.assert_allclose(together(given), one_by_one(given), rtol=2e-2, atol=1e-4)
        return {
            "together": Contender(lambda: together(given)),
            "one_by_one": Contender(lambda: one_by_one(given)),
        }

    parameters = {"records": n, "columns": d, "classes": CLASSES, "hidden": list(hidden), "models": models,
                  "steps": steps, "batch": batch}  # fmt: skip
    return Case(name, prepare, together, parameters, smoke, beside)


CASES = [
    _case("smoke", (8,), n=200, d=5, models=4, steps=20, smoke=True),
    _case("shadow_16_small", (32,)),
    _case("shadow_16_medium", (64,), batch=64),
    _case("shadow_16_deep", (64, 64), batch=64),
    _case("shadow_16_wide", (256,), d=100, steps=500, batch=64),
]

if __name__ == "__main__":
    main("bench_shadow", CASES)
