from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mace_jax.models import GAN, PIGAN, WGANGP, PrivGAN, train

SCRIPT = """
import sys
import jax, numpy as np
from mace_jax.models import GAN, PIGAN, WGANGP, DCGANNetworks, PrivGAN, train

programs, steps = [], train._advance

def advance(trainer, mesh, *arrays):
    compiled = steps.lower(trainer, mesh, *arrays).compile()
    programs.append(compiled.as_text())
    return compiled(*arrays)

train._advance = advance
# a large adam_eps keeps updates continuous in the gradient, so that rounding stays rounding
common = dict(latent_dim=3, batch_size=8, generator_learning_rate=0.1, discriminator_learning_rate=0.1, adam_eps=1e-3)
small = dict(**common, generator_hidden=(13,), discriminator_hidden=(11,))
kinds = {
    "GAN": GAN(**common, networks=DCGANNetworks((8, 8, 1), width=5)),
    "WGANGP": WGANGP(**small, critic_steps=2),
    "PrivGAN": PrivGAN(**small, privacy_pretraining=0),
    "PIGAN": PIGAN(**small, classifier_pretraining=1),
}
random = np.random.default_rng(0)
table, images = random.normal(size=(30, 4)), random.uniform(size=(30, 64))
out = {}
for kind, settings in kinds.items():
    records = images if kind == "GAN" else table
    for devices in (1, 2):
        fitted = settings.fit(records, steps=3, seed=3, devices=devices)
        weights = [leaf.ravel() for leaf in jax.tree.leaves(fitted.parameters)]
        out[f"{kind} {devices}"] = np.concatenate([*weights, np.array(fitted.history, np.float32)[:, 1:].ravel()])
        out[f"{kind} {devices} program"] = programs.pop()
np.savez(sys.argv[1], **out)
"""

WHOLE = {  # what hidden layers make of a whole batch of 8 records, or of 8 real and 8 synthetic ones
    "GAN": ("f32[8,4,4,5]", "f32[8,8,8,1]"),
    "WGANGP": ("f32[8,13]", "f32[16,11]"),
    "PrivGAN": ("f32[2,8,13]", "f32[2,16,11]"),
    "PIGAN": ("f32[8,13]", "f32[2,8,11]"),  # two parts: 4 real and 4 synthetic records each
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Weights, histories and compiled steps of every kind of model on one device and on two."""
    path = tmp_path_factory.mktemp("devices") / "out.npz"
    folders = [str(Path(train.__file__).parents[2]), *sys.path]
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(folders),
        "XLA_FLAGS": "--xla_force_host_platform_device_count=2",
        "JAX_PLATFORMS": "cpu",
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",  # compiling is what takes the time here
    }
    subprocess.run([sys.executable, "-c", SCRIPT, str(path)], check=True, env=environment, timeout=300)
    return dict(np.load(path))


@pytest.mark.parametrize("kind", WHOLE)
def test_two_devices_give_the_weights_of_one(kind, runs):
    one, two = runs[f"{kind} 1"], runs[f"{kind} 2"]  # the GAN's hold running averages of whole batches, too
    assert one.size > 100 and np.abs(one).max() > 0.5
    np.testing.assert_allclose(two, one, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", WHOLE)
def test_the_work_is_divided(kind, runs):
    alone, shared = str(runs[f"{kind} 1 program"]), str(runs[f"{kind} 2 program"])
    assert "all-reduce" not in alone and "all-reduce" in shared
    assert [shape in alone for shape in WHOLE[kind]] == [True, True]
    assert [shape in shared for shape in WHOLE[kind]] == [False, False]


@pytest.mark.parametrize("settings", [GAN(), WGANGP(), PrivGAN(), PIGAN()])
def test_devices_must_exist(settings):
    with pytest.raises(ValueError, match="devices=4096, but JAX sees"):
        settings.fit(np.arange(12.0).reshape(6, 2), steps=1, seed=0, devices=4096)
