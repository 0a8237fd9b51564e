"""Models: steps per second of each adversarial model beside the plain GAN, at the published Fashion-MNIST sizes."""

from __future__ import annotations

import functools
from typing import Any

from bench.harness import Case, Contender, Contenders, main

COLUMNS, RECORDS, BATCH = 784, 2_000, 256
GENERATOR, DISCRIMINATOR = (512, 512, 1024), (2048, 512, 256)
MODELS = (
    "PIGAN",
    "PIGAN, together",
    "PrivGAN, together",
    "PrivGAN",
    "PrivGAN before its delay",
    "WGANGP",
)


def _prepared(name: str, narrow: int, steps: int) -> Any:
    """A compiled call that does ``steps`` updates of one model and waits for them."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    from mace_jax.models import gan_trainer, pigan_trainer, privgan_trainer, wgan_gp
    from mace_jax.models.gan import GAN
    from mace_jax.models.pigan import PIGAN
    from mace_jax.models.privgan import PrivGAN
    from mace_jax.models.wgan_gp import WGANGP

    sizes = {
        "latent_dim": 100,
        "generator_hidden": tuple(width // narrow for width in GENERATOR),
        "discriminator_hidden": tuple(width // narrow for width in DISCRIMINATOR),
        "batch_size": BATCH // narrow,
    }

    def privgan(**options: Any) -> Any:
        return privgan_trainer.PrivGANTrainer(PrivGAN(privacy_pretraining=0, **options, **sizes), COLUMNS, 0)

    trainers: dict[str, Any] = {
        "GAN": lambda: gan_trainer.GANTrainer(GAN(**sizes), COLUMNS, 0),
        "PIGAN": lambda: pigan_trainer.PIGANTrainer(PIGAN(**sizes), COLUMNS, 0),
        "PIGAN, together": lambda: pigan_trainer.PIGANTrainer(PIGAN(updates="together", **sizes), COLUMNS, 0),
        "PrivGAN": lambda: privgan(privacy_delay=0),
        "PrivGAN before its delay": lambda: privgan(privacy_delay=10**9),
        "PrivGAN, together": lambda: privgan(privacy_delay=0, updates="together"),
        "WGANGP": lambda: wgan_gp._Trainer(WGANGP(**sizes), COLUMNS, 0),
    }
    trainer = trainers[name]()
    unit = jnp.asarray(np.random.default_rng(0).uniform(size=(RECORDS, COLUMNS)), jnp.float32)
    nothing = jnp.zeros((RECORDS, 0), jnp.float32)
    state = jax.jit(trainer.initial)(jax.random.key(0))

    @functools.partial(jax.jit, donate_argnums=0)
    def advance(state: Any) -> Any:
        def body(number: Any, carry: Any) -> Any:
            return trainer.step(carry[0], unit, nothing, jax.random.fold_in(jax.random.key(1), number))

        zeros = jnp.zeros(len(trainer.losses), jnp.float32)
        return jax.lax.fori_loop(0, steps, body, (state, zeros))

    held = [state]

    def run() -> Any:
        held[0], losses = jax.block_until_ready(advance(held[0]))
        if not np.isfinite(np.asarray(losses)).all():
            raise SystemExit(f"{name} diverged: losses {losses}")
        return losses

    return run


def _case(name: str, model: str, narrow: int = 1, steps: int = 8, smoke: bool = False) -> Case:
    def beside(_: Any) -> Contenders:
        calls = {name: _prepared(name, narrow, steps) for name in ("GAN", *MODELS)}
        for run in calls.values():
            run()  # compile
        return {name: Contender(run, steps) for name, run in calls.items()}

    parameters = {
        "model": model,
        "columns": COLUMNS,
        "records": RECORDS,
        "batch": BATCH // narrow,
        "generator": [width // narrow for width in GENERATOR],
        "discriminator": [width // narrow for width in DISCRIMINATOR],
        "parts": 2,
        "critic_steps": 5,
        "steps_per_run": steps,
    }
    return Case(
        name,
        lambda: _prepared(model, narrow, steps),
        lambda run: run(),
        parameters,
        smoke,
        beside if model == "GAN" else None,
    )


CASES = [
    _case("smoke", "GAN", narrow=32, steps=2, smoke=True),
    _case("steps_gan", "GAN"),
    _case("steps_wgan_gp", "WGANGP", steps=4),
    _case("steps_privgan", "PrivGAN"),
    _case("steps_pigan", "PIGAN"),
]

if __name__ == "__main__":
    main("bench_models", CASES)
