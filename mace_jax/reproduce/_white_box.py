"""The white-box attack on a GAN and on its two defenses, beside what the records they make are good for."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from mace_jax import utility
from mace_jax.attacks import TopN, excess_ratio, top_n_accuracy
from mace_jax.data import split_records
from mace_jax.reproduce._row import Row
from mace_jax.reproduce._run import Run
from mace_jax.utility._downstream import fit_classifier

__all__ = ["white_box_digits", "white_box_fashion_mnist"]

_NOTEBOOKS = "Mukherjee et al. (2021), the authors' recorded notebooks"
_RECORDS = "records under this model"
_HALF = "{} for 500 epochs, half the updates"  # of each discriminator: two of them have as many as the GAN's one
_SHORT = "{}, half the updates"
_COMPARED = (
    _SHORT.format("PrivGAN(2)"),
    _SHORT.format("PIGAN(2, weight 3 towards uniform)"),
    _SHORT.format("PIGAN(2, weight 10 towards uniform)"),
    "PrivGAN(2)",
    "PIGAN(2, weight 1)",
    _HALF.format("PrivGAN(2)"),
    _HALF.format("PIGAN(2, weight 1)"),
    _HALF.format("PIGAN(2, weight 3 towards uniform)"),
    "PIGAN(2, weight 10 towards uniform)",
    _HALF.format("PIGAN(2, weight 10 towards uniform)"),
)
_ONE = "top-n"  # of the only discriminator
_MEAN, _MAX, _LOGITS = "mean over discriminators", "maximum over discriminators", "mean logit over discriminators"
_MOST_LEFT = {_MEAN: 0.5, _MAX: 0.7}  # of the GAN's excess over chance, by the compared defenses


class _Setting(NamedTuple):
    """What differs between data sets.

    All models but the ``shorter`` get the same number of discriminator updates; those trained ``once`` have one seed.
    """

    experiment: str
    dataset: str
    n_members: int
    epoch: int
    steps: int
    models: dict[str, Any]
    shorter: dict[str, int]
    published: dict[tuple[str, str], float]
    accepted: dict[tuple[str, str], tuple[float | None, float | None]]
    once: frozenset[str] = frozenset()


def white_box_digits(run: Run, seeds: tuple[int, ...]) -> Iterator[Row]:
    """8x8 digits, 200 of 1,797 members, small networks, 3,000 steps."""
    from mace_jax.models import GAN, PrivGAN

    gan = GAN(
        latent_dim=32,
        generator_hidden=(128, 128),
        discriminator_hidden=(256, 128),
        generator_learning_rate=1e-3,
        discriminator_learning_rate=1e-3,
        scaling="common",
    )
    common = {name: value for name, value in vars(gan).items() if name != "real_target"}
    privgan = PrivGAN(
        privacy_delay=600, privacy_pretraining=200, privacy_learning_rate=1e-3, real_target=0.95, **common
    )
    models = {"GAN": gan, "PrivGAN(2)": privgan, **_pigans(common, 1e-3, 200)}
    compared = ("PrivGAN(2)", "PIGAN(2, weight 3 towards uniform)", "PIGAN(2, weight 10 towards uniform)")
    halves = {_SHORT.format(name): models[name] for name in compared}
    setting = _Setting(
        "white-box-digits",
        "digits",
        n_members=200,
        epoch=3,
        steps=3_000,
        models={**models, **halves},
        shorter=dict.fromkeys(halves, 1_500),
        published={},
        accepted={("GAN", _ONE): (0.333, None)},
    )
    return _rows(run, setting, seeds)


def white_box_fashion_mnist(run: Run, seeds: tuple[int, ...]) -> Iterator[Row]:
    """Fashion-MNIST, 7,000 of 70,000 members, published perceptrons, 500 epochs of the GAN.

    Beyond the first seed only the GAN and the two defenses that are compared at equal updates in all are trained.
    """
    from mace_jax.models import published

    n_members = 7_000
    gan, privgan = published.privgan_mnist_gan(), published.privgan_mnist(n_members)
    common = {name: value for name, value in vars(gan).items() if name != "real_target"}
    pigans = _pigans(common, 2e-4, 1_400)
    compared = ("PIGAN(2, weight 3 towards uniform)", "PIGAN(2, weight 1)", "PIGAN(2, weight 0)")
    others = ("PIGAN(2, weight 3 towards uniform, together)", "PIGAN(2, weight 10 towards uniform)")
    halves = {_HALF.format(name): pigans[name] for name in (*compared, *others)}
    as_published, steps = _HALF.format("PrivGAN(2)"), published.privgan_gan_steps(n_members)
    setting = _Setting(
        "white-box-fashion-mnist",
        "fashion_mnist",
        n_members=n_members,
        epoch=published.privgan_gan_steps(n_members, epochs=1),
        steps=steps,
        models={
            "GAN": gan,
            "PrivGAN(2)": privgan,
            as_published: privgan,
            **{name: pigans[name] for name in ("PIGAN(2, weight 1)", "PIGAN(2, weight 10 towards uniform)")},
            **halves,
        },
        shorter={as_published: published.privgan_steps(n_members), **dict.fromkeys(halves, steps // 2)},
        published={
            ("GAN", _ONE): 0.466,
            (as_published, _MAX): 0.267,
            (as_published, _MEAN): 0.147,
        },
        accepted={("GAN", _ONE): (0.35, 0.65)},
        once=frozenset({"PrivGAN(2)", *pigans, *halves} - {_HALF.format(compared[0])}),
    )
    return _rows(run, setting, seeds)


def _pigans(common: dict[str, Any], rate: float, pretraining: int) -> dict[str, Any]:
    """PIGAN with the networks of the GAN: the one compared, and others to see what matters."""
    from mace_jax.models import PIGAN

    def kind(weight: float, **options: Any) -> PIGAN:
        return PIGAN(
            privacy_ratio=weight, classifier_learning_rate=rate, classifier_pretraining=pretraining, **options, **common
        )

    return {
        "PIGAN(2, weight 1)": kind(1.0),
        "PIGAN(2, weight 0)": kind(0.0),
        "PIGAN(2, weight 3 towards uniform)": kind(3.0, penalty="uniform"),
        "PIGAN(2, weight 3 towards uniform, together)": kind(3.0, penalty="uniform", updates="together"),
        "PIGAN(2, weight 10)": kind(10.0),
        "PIGAN(2, weight 10 towards uniform)": kind(10.0, penalty="uniform"),
        "PIGAN(2, weight 1, one discriminator)": kind(1.0, discriminators="shared"),
    }


def _rows(run: Run, setting: _Setting, seeds: tuple[int, ...]) -> Iterator[Row]:
    dataset = run.dataset(setting.dataset)
    for seed in seeds:
        n = setting.n_members
        rows = split_records(len(dataset), (n, len(dataset) - n), seed=seed)
        members, nonmembers = (dataset.records[chosen] for chosen in rows)
        base = Row(
            setting.experiment,
            setting.dataset,
            "",
            "",
            n_members=n,
            n_nonmembers=len(nonmembers),
            steps=run.steps(setting.steps),
            seed=seed,
            note=run.note,
        )
        white = 1.0 if dataset.feature_range is None else dataset.feature_range[1]
        judge = _Judge.of(nonmembers, dataset.labels[rows[1]], white, seed)
        yield from _useful(base, judge, "training records themselves", members, dataset.labels[rows[0]])
        early = run.fitted(
            f"{setting.dataset}-GAN-one-epoch", setting.models["GAN"], members, steps=setting.epoch, seed=seed
        )
        for _, row, _ in _attacked(base, setting, "GAN", early, members, nonmembers):
            control = {"model": "GAN after one epoch", "published": None, "accepted": None, "steps": setting.epoch}
            yield dataclasses.replace(
                row, **control, note="negative control: its interval should hold the chance level"
            )
        plain: TopN | None = None
        for name, settings in setting.models.items():
            if seed != seeds[0] and name in setting.once:
                continue
            slug = re.sub(r"\W+", "-", name).strip("-")
            steps = run.steps(setting.shorter.get(name, setting.steps))
            own = dataclasses.replace(base, steps=steps)
            model = run.fitted(f"{setting.dataset}-{slug}", settings, members, steps=steps, seed=seed)
            for way, row, found in _attacked(own, setting, name, model, members, nonmembers):
                yield row
                if plain is None:
                    plain = found
                elif plain.value > plain.chance:
                    yield _left(row, way, found, plain)
            yield from _useful(own, judge, name, model.sample(n, seed=seed), None)


def _attacked(
    base: Row, setting: _Setting, name: str, model: Any, members: np.ndarray, nonmembers: np.ndarray
) -> Iterator[tuple[str, Row, TopN]]:
    """Top-n accuracy by every way of joining the discriminators."""
    ways: dict[str, dict[str, str]] = {_ONE: {}}
    if name != "GAN":
        ways = {
            _MEAN: {"reduce": "mean", "scale": "probability"},
            _MAX: {"reduce": "max"},
            _LOGITS: {"reduce": "mean", "scale": "logit"},
        }
    for way, options in ways.items():
        scores = [model.discriminator_score(records, **options) for records in (members, nonmembers)]
        found = top_n_accuracy(*scores, seed=base.seed or 0)
        row = dataclasses.replace(
            base,
            model=name,
            quantity=_quantity("white-box top-n", way),
            value=found.value,
            low=found.low,
            high=found.high,
            interval=_RECORDS,
            chance=found.chance,
            published=setting.published.get((name, way)),
            source=_NOTEBOOKS if (name, way) in setting.published else "",
            accepted=setting.accepted.get((name, way)),
        )
        yield way, row, found


def _quantity(name: str, way: str) -> str:
    return name if way == _ONE else f"{name}, {way}"


def _left(row: Row, way: str, found: TopN, plain: TopN) -> Row:
    """The share of the GAN's excess over chance that a defense leaves."""
    ratio, low, high = excess_ratio(found, plain)
    most = _MOST_LEFT.get(way) if row.model in _COMPARED else None
    return dataclasses.replace(
        row,
        quantity=_quantity("share of the GAN's excess over chance", way),
        value=ratio,
        low=low,
        high=high,
        chance=0.0,
        published=None,
        source="",
        accepted=None if most is None else (None, most),
    )


class _Judge(NamedTuple):
    """Real records that no model saw: some to learn classes and features from, others to test on; the largest gray."""

    teacher: Any
    tested: np.ndarray
    labels: np.ndarray
    white: float
    features: Any

    @classmethod
    def of(cls, records: np.ndarray, labels: np.ndarray, white: float, seed: int) -> _Judge:
        size = min(10_000, len(records) // 2)
        known, tested = split_records(len(records), (size, size), seed=seed)
        return cls(
            fit_classifier("mlp", records[known], labels[known], seed),
            records[tested],
            labels[tested],
            white,
            utility.ClassifierFeatures.fit(records[known], labels[known], scaling="common", seed=seed),
        )


def _useful(base: Row, judge: _Judge, name: str, records: np.ndarray, labels: Any) -> Iterator[Row]:
    """What a classifier trained on these records is worth, and how far they are from real ones."""
    note = base.note
    if labels is None:
        labels = judge.teacher.predict(records)
        note = "; ".join(filter(None, (note, "labels of the records by a classifier of other real records")))
    found = utility.downstream_accuracy(
        records, labels, judge.tested, judge.labels, classifier="mlp", seed=base.seed or 0
    )
    limits = {"low": found.low, "high": found.high, "interval": "real records under this classifier"}
    row = dataclasses.replace(base, model=name, note=note)
    yield dataclasses.replace(row, quantity="downstream accuracy", value=found.value, chance=found.majority, **limits)
    real, made = judge.tested[: len(records)] / judge.white, records / judge.white
    distance = utility.frechet_distance(real, made)
    yield dataclasses.replace(row, quantity="Frechet distance of pixels from 0 to 1", value=distance.value)
    in_features = utility.frechet_distance(judge.tested[: len(records)], records, features=judge.features)
    yield dataclasses.replace(row, quantity="Frechet distance in features of a classifier", value=in_features.value)
    near = utility.precision_recall_density_coverage(real, made)
    for quantity in ("precision", "recall"):
        yield dataclasses.replace(row, quantity=quantity, value=getattr(near, quantity))
