"""Attacks on generative models at full size: the Monte Carlo attack on samples that are drawn twice and never stored.

The samples lie around 6,000 training records, half of the records under audit are such records, and the radius is the
median over them of the distance to the nearest sample: one pass finds it, a second counts and adds up logarithms. The
bar is 3,000,000 samples, 200 records and 40 features in 60 s and 1 GB on two processors. ``pixels`` has 784 columns
that are mapped to 40 principal components on the way; half of its time goes into drawing them. Beside, on a tenth of
the samples, the same sums from SciPy's distances.
"""

from __future__ import annotations

from typing import Any

from bench.harness import Case, Contender, Contenders, main

N_RECORDS = 200
KINDS = ("count", "log", "nearest")


class Around:
    """A model that gives out its training records with noise, as a linear map of a shorter code."""

    def __init__(self, codes: Any, decoder: Any) -> None:
        self.codes, self.decoder = codes, decoder

    def sample(self, n: int, *, seed: int) -> Any:
        """``n`` records, by the seed alone."""
        import numpy as np

        rng = np.random.Generator(np.random.SFC64(seed))
        codes = self.codes[rng.integers(len(self.codes), size=n)]
        codes = codes + np.float32(0.3) * rng.standard_normal(codes.shape, np.float32)
        return codes if self.decoder is None else codes @ self.decoder


def _case(name: str, n_samples: int, d: int, *, smoke: bool = False, check: bool = False) -> Case:
    def prepare() -> Any:
        import numpy as np

        from mace_jax.attacks import PrincipalComponents

        rng = np.random.default_rng(0)
        codes = rng.standard_normal((6_100, 40)).astype(np.float32)
        decoder = None if d == 40 else rng.standard_normal((40, d)).astype(np.float32)
        records = np.concatenate([codes[:100], codes[6_000:]])
        features = None
        if decoder is not None:
            holdout = rng.standard_normal((2_000, 40)) @ decoder
            records, features = records @ decoder, PrincipalComponents.fit(holdout, 40)
        return records, Around(codes[:6_000], decoder), features, n_samples

    def ours(inputs: Any, scale: int = 1) -> Any:
        from mace_jax.attacks import monte_carlo

        records, model, features, n = inputs
        return monte_carlo(records, model, kind=KINDS, features=features, n_samples=n // scale)

    def beside(inputs: Any) -> Contenders:
        import numpy as np
        from scipy.spatial.distance import cdist

        records, model, _, n = inputs
        few, piece = n // 10, 20_000

        def scipy() -> Any:
            def chunks() -> Any:
                for start in range(0, few, piece):
                    yield cdist(records, model.sample(min(piece, few - start), seed=start))

            nearest = np.min([part.min(axis=1) for part in chunks()], axis=0)
            radius = np.median(nearest)
            count, log = np.zeros(len(records)), np.zeros(len(records))
            for part in chunks():
                inside = part < radius
                count += inside.sum(axis=1)
                log += np.where(inside, -np.log(part / radius), 0.0).sum(axis=1)
            return np.stack([count / few, log / few, -nearest], axis=1)

        first, second = ours(inputs, scale=10), scipy()
        assert ((first[:, 0] == 0.0).sum(), (second[:, 0] == 0.0).sum()) == (N_RECORDS // 2,) * 2
        np.testing.assert_allclose(first[:, 2].mean(), second[:, 2].mean(), rtol=0.05)  # other samples of the same law
        return {"mace_jax": Contender(lambda: ours(inputs, scale=10), few), "scipy_cdist": Contender(scipy, few)}

    parameters = {"samples": n_samples, "records": N_RECORDS, "columns": d, "features": 40}
    return Case(name, prepare, ours, parameters, smoke, beside if check else None)


CASES = [
    _case("smoke", 20_000, 40, smoke=True, check=True),
    _case("monte_carlo_3m", 3_000_000, 40, check=True),
    _case("monte_carlo_3m_pixels", 3_000_000, 784),
]

if __name__ == "__main__":
    main("bench_attacks", CASES)
