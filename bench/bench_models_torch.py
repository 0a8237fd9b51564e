"""Models: training steps per second of the published GAN beside the same loop in PyTorch, if that is installed.

Networks, losses, Adam, batches drawn with replacement and fresh noise are the same, all arrays stay in memory, and both
have as many threads as there are processors. Before anything is timed both do the same three updates from the same
weights, batches and noise, and their losses and weights must agree. ``torch`` is the plain loop: synthetic records for
the discriminator without a graph, the discriminator's weights without gradients while the generator learns. ``torch,
fused Adam`` has its optimizer in one kernel besides. The records are Fashion-MNIST if it is found (set TFDS_DATA_DIR),
else uniform pixels; the row says which.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import os
from collections.abc import Callable
from importlib import metadata
from typing import Any

from bench.harness import Case, Contender, Contenders, main
from mace_jax._optional import require

RECORDS, PIXELS = 7_000, 784
CHECKED_STEPS, LOSS_TOLERANCE, WEIGHT_TOLERANCE = 3, 1e-4, 0.05
TORCH = importlib.util.find_spec("torch") is not None


@dataclasses.dataclass(frozen=True)
class _Inputs:
    """Records in the unit cube, the trainer, the state it starts from, and a compiled call of many steps."""

    unit: Any
    trainer: Any
    state: Any
    advance: Callable[[], Any]


def _records() -> tuple[Any, str]:
    """The first 7,000 training images in [0, 1], or as many random ones; and which of the two."""
    import numpy as np

    from mace_jax.datasets import load

    try:
        return load("fashion_mnist").records[:RECORDS].astype(np.float32) / np.float32(255), "fashion_mnist"
    except FileNotFoundError:
        return np.random.default_rng(0).random((RECORDS, PIXELS), dtype=np.float32), "uniform pixels"


def _prepared(narrow: int, steps: int) -> _Inputs:
    """Our side, not yet compiled."""
    import jax
    import jax.numpy as jnp

    from mace_jax.models.gan_trainer import GANTrainer
    from mace_jax.models.networks import MLPNetworks
    from mace_jax.models.published import privgan_mnist_gan

    settings = privgan_mnist_gan()
    if narrow > 1:
        networks = MLPNetworks((512 // narrow,) * 2, (512 // narrow,), first_sd=0.02)
        settings = dataclasses.replace(settings, networks=networks, batch_size=settings.batch_size // narrow)
    unit, nothing = jnp.asarray(_records()[0]), jnp.zeros((RECORDS, 0), jnp.float32)
    trainer = GANTrainer(settings, PIXELS, 0)
    state = jax.jit(trainer.initial)(jax.random.key(0))

    @jax.jit
    def advance(state: Any, first: Any) -> Any:
        def body(step: Any, carry: Any) -> Any:
            after, losses = trainer.step(carry[0], unit, nothing, jax.random.fold_in(jax.random.key(1), first + step))
            return after, carry[1] + losses

        return jax.lax.fori_loop(0, steps, body, (state, jnp.zeros(2, jnp.float32)))

    held = [state, 0]

    def run() -> Any:
        held[0], losses = jax.block_until_ready(advance(held[0], held[1]))
        held[1] += steps
        _must_be_finite(losses)
        return losses

    return _Inputs(unit, trainer, state, run)


def _must_be_finite(losses: Any) -> None:
    import numpy as np

    if not np.isfinite(np.asarray(losses)).all():
        raise SystemExit(f"training diverged: losses {losses}")


class _TorchGAN:
    """The same GAN in PyTorch, from the weights of ours."""

    def __init__(self, trainer: Any, parameters: Any, *, fused: bool) -> None:
        import numpy as np

        torch = require("torch")

        def network(weights: Any) -> Any:
            layers: list[Any] = []
            for place in range(len(weights["params"])):
                dense = weights["params"][f"Dense_{place}"]
                layer = torch.nn.Linear(*dense["kernel"].shape)
                with torch.no_grad():
                    layer.weight.copy_(torch.from_numpy(np.array(dense["kernel"]).T))
                    layer.bias.copy_(torch.from_numpy(np.array(dense["bias"])))
                layers += [layer, torch.nn.LeakyReLU(0.2)]
            return torch.nn.Sequential(*layers[:-1])

        settings = trainer.settings
        self.size, self.latent, self.target = settings.batch_size, settings.latent_dim, settings.real_target
        self.generator = torch.nn.Sequential(network(parameters["generator"]), torch.nn.Tanh())
        self.discriminator = network(parameters["discriminator"])
        usual = {"betas": (settings.beta1, 0.999), "eps": settings.adam_eps, "fused": fused or None}
        self.generator_adam = torch.optim.Adam(
            self.generator.parameters(), lr=settings.generator_learning_rate, **usual
        )
        self.discriminator_adam = torch.optim.Adam(
            self.discriminator.parameters(), lr=settings.discriminator_learning_rate, **usual
        )

    def update(self, real: Any, first_noise: Any, second_noise: Any) -> tuple[Any, Any]:
        """One update of the discriminator, then one of the generator; the losses before them."""
        torch = require("torch")
        functional = torch.nn.functional
        with torch.no_grad():
            synthetic = self.generator(first_noise)
        logits = self.discriminator(torch.cat([real, synthetic]))[:, 0]
        target = torch.cat([torch.full((len(real),), self.target), torch.zeros(len(synthetic))])
        loss = 2.0 * functional.binary_cross_entropy_with_logits(logits, target)
        self.discriminator_adam.zero_grad()
        loss.backward()
        self.discriminator_adam.step()

        self.discriminator.requires_grad_(False)
        fooling = functional.softplus(-self.discriminator(self.generator(second_noise))[:, 0]).mean()
        self.generator_adam.zero_grad()
        fooling.backward()
        self.generator_adam.step()
        self.discriminator.requires_grad_(True)
        return loss.detach(), fooling.detach()

    def steps(self, records: Any, number: int) -> Any:
        """Many updates on records in [-1, 1]; the summed losses."""
        torch = require("torch")
        sums = torch.zeros(2)
        for _ in range(number):
            rows = torch.randint(len(records), (self.size,))
            noise = torch.randn(self.size, self.latent), torch.randn(self.size, self.latent)
            sums += torch.stack(self.update(records[rows], *noise))
        return sums


def _same_updates(inputs: _Inputs, gan: _TorchGAN) -> None:
    """A few updates by both on the batches and noise that ours draws.

    Losses must be equal, and each layer's weights apart by at most a twentieth of the way they moved, on average: the
    first steps of Adam are as long for small gradients as for large ones, so rounding that turns a sign shows.
    """
    import jax
    import jax.numpy as jnp
    import numpy as np

    from mace_jax.models._devices import drawn_rows

    torch = require("torch")
    trainer, state, size = inputs.trainer, inputs.state, inputs.trainer.settings.batch_size
    step = jax.jit(trainer.step)
    for number in range(CHECKED_STEPS):
        key = jax.random.key(number)
        row_key, first_key, second_key = jax.random.split(key, 3)
        real = 2.0 * inputs.unit[drawn_rows(row_key, size, RECORDS)] - 1.0
        batch = (real, trainer.pair.noise(first_key, size), trainer.pair.noise(second_key, size))
        state, ours = step(state, inputs.unit, jnp.zeros((RECORDS, 0), jnp.float32), key)
        theirs = gan.update(*(torch.from_numpy(np.array(array)) for array in batch))
        if not np.allclose(np.asarray(ours), [float(loss) for loss in theirs], rtol=0, atol=LOSS_TOLERANCE):
            raise SystemExit(f"losses of update {number} differ: ours {ours}, of torch {theirs}")
    for name, network in (("generator", gan.generator), ("discriminator", gan.discriminator)):
        start, ours = inputs.state["parameters"][name]["params"], state["parameters"][name]["params"]
        for place, layer in enumerate(part for part in network.modules() if isinstance(part, torch.nn.Linear)):
            for ours_called, theirs in (("kernel", layer.weight.detach().T), ("bias", layer.bias.detach())):
                before, after = (np.asarray(side[f"Dense_{place}"][ours_called]) for side in (start, ours))
                apart = np.abs(after - theirs.numpy()).mean() / np.abs(after - before).mean()
                if not apart <= WEIGHT_TOLERANCE:
                    raise SystemExit(f"{ours_called} {place} of the {name} differs by {apart:.3g} of its movement")


def _beside(inputs: _Inputs, steps: int) -> Contenders:
    """Ours and both loops in PyTorch, checked and warmed up."""
    import numpy as np

    torch = require("torch")
    torch.set_num_threads(_threads())
    torch.manual_seed(0)
    records = 2.0 * torch.from_numpy(np.array(inputs.unit)) - 1.0
    contenders: Contenders = {"mace_jax": Contender(inputs.advance, steps)}
    for name, fused in (("torch", False), ("torch, fused Adam", True)):
        _same_updates(inputs, _TorchGAN(inputs.trainer, inputs.state["parameters"], fused=fused))
        gan = _TorchGAN(inputs.trainer, inputs.state["parameters"], fused=fused)
        contenders[name] = Contender(lambda gan=gan: _must_be_finite(gan.steps(records, steps)), steps)
    for contender in contenders.values():
        contender.run()  # compile, and fill caches
    return contenders


def _threads() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _case(name: str, narrow: int = 1, steps: int = 20, smoke: bool = False) -> Case:
    parameters = {
        "settings": "published.privgan_mnist_gan" if narrow == 1 else f"the same, {narrow} times narrower",
        "records": RECORDS,
        "pixels": PIXELS,
        "steps_per_run": steps,
        "torch": metadata.version("torch") if TORCH else None,
        "torch_threads": _threads(),
    }
    return Case(
        name,
        lambda: _prepared(narrow, steps),
        lambda inputs: inputs.advance(),
        parameters,
        smoke,
        (lambda inputs: _beside(inputs, steps)) if TORCH else None,
        facts=lambda: {"data": _records()[1]},
    )


CASES = [
    _case("smoke", narrow=32, steps=2, smoke=True),
    _case("steps_gan_published"),
]

if __name__ == "__main__":
    main("bench_models_torch", CASES)
