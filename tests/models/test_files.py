from __future__ import annotations

import json

import jax
import numpy as np
import pytest

from mace_jax.models import FittedGAN, FittedVAE, checkpoint, load
from tests._support import rest_slow


@pytest.mark.parametrize(
    ("kind", "labels"),
    rest_slow(
        [(kind, labels) for kind in ("GAN", "VAE") for labels in (None, ["a", "b"] * 15)], lambda c: c[1] is None
    ),
)
def test_a_saved_model_comes_back_whole(kind, labels, tiny, table, tmp_path):
    fitted = tiny[kind].fit(table, labels, steps=4, seed=2**40)
    path = fitted.save(tmp_path / "new" / "model")
    again = load(path.parent)
    assert type(again) is type(fitted)
    assert again.settings == fitted.settings and again.labels == fitted.labels
    assert (again.steps, again.seed, again.history) == (4, 2**40, fitted.history)
    assert np.array_equal(again.sample(5, seed=1), fitted.sample(5, seed=1))
    for first, second in zip(jax.tree.leaves(again.parameters), jax.tree.leaves(fitted.parameters), strict=True):
        assert np.array_equal(first, second)
    again.save(path.parent)
    assert [found.name for found in path.parent.iterdir()] == ["model.msgpack"]


def test_scores_survive_saving(gan, vae, digits, tmp_path):
    gan.save(tmp_path / "gan")
    vae.save(tmp_path / "vae")
    records = digits.members[:9]
    again = FittedGAN.load(tmp_path / "gan")
    assert np.array_equal(again.discriminator_score(records), gan.discriminator_score(records))
    assert np.array_equal(FittedVAE.load(str(tmp_path / "vae")).elbo(records, seed=1), vae.elbo(records, seed=1))


def test_the_wrong_class_is_named(vae, tmp_path):
    vae.save(tmp_path)
    with pytest.raises(ValueError, match="holds a VAE, not a GAN; use mace_jax.models.load"):
        FittedGAN.load(tmp_path)


def test_a_missing_model_is_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="does not exist; pass the directory a model was saved to"):
        load(tmp_path)


def test_damaged_and_foreign_files_are_named(tiny, table, tmp_path):
    path = tiny["GAN"].fit(table, steps=1, seed=0).save(tmp_path)
    content = checkpoint.read(tmp_path, path.name)
    about = json.loads(content["about"])

    path.write_bytes(b"\xc1 not a model")
    with pytest.raises(ValueError, match=r"model\.msgpack cannot be read .* it is damaged"):
        load(tmp_path)
    path.write_bytes(b"\x01")
    with pytest.raises(ValueError, match="is not a file of this package"):
        load(tmp_path)
    checkpoint.write(tmp_path, path.name, {**content, "format": "other"})
    with pytest.raises(ValueError, match="holds no model this version can read"):
        load(tmp_path)
    about["settings"]["kind"] = "Tree"
    checkpoint.write(tmp_path, path.name, {**content, "about": json.dumps(about)})
    with pytest.raises(ValueError, match=r"unknown kind 'Tree'; known kinds: \['Flow', 'GAN', .*'VAE'.*\]"):
        load(tmp_path)
    about["settings"].update(kind="GAN", latent_dim=99)
    checkpoint.write(tmp_path, path.name, {**content, "about": json.dumps(about)})
    with pytest.raises(ValueError, match="do not fit its settings"):
        load(tmp_path)
