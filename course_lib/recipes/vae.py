"""Recipes on variational autoencoders: those that are held against the IWAE paper's table."""

from __future__ import annotations

from functools import lru_cache, partial

import torch
from torch import Tensor, nn

from course_lib import networks
from course_lib.autoencoders import bernoulli_nll, iwae_bound, vae_step
from course_lib.datasets import Binarised, batches, mnist
from course_lib.recipes.digits import DATA, digits, to_the_end
from course_lib.recipes.store import Model
from course_lib.training import adam


@lru_cache(maxsize=2)
def binary_test_digits(device: torch.device | None = None) -> Tensor:
    """The 10,000 test digits with each pixel drawn once, seed 0: (10000, 1, 28, 28), 0 or 1."""
    return torch.bernoulli(digits("test")[0], generator=torch.Generator().manual_seed(0)).to(device)


def first_binary_digits() -> Tensor:
    """the first 8 test digits, binarised with seed 0"""
    return binary_test_digits()[:8]


def burda_vae() -> networks.VAE:
    """The network of Burda et al. 2016, section 5: one stochastic layer of 50, two deterministic ones of 200, tanh.

    The output's bias begins at the log odds of each pixel's mean, as theirs does.
    """
    model = networks.mlp_vae(50, hidden=(200, 200), logits=True, activation=nn.Tanh)
    mean = mnist("train").images.float().mean(0).div(255).clamp(1e-4, 1 - 1e-4).flatten()
    with torch.no_grad():
        model.decode[0][-1].bias.copy_(mean.logit())
    return model


def fit_binary(model, device=None, save_to=None, *, steps=400_000, batch_size=100, lr=1e-3, seed=0, ema_decay=0.9999):
    """The ELBO with its KL in closed form, pixels drawn anew for each batch."""
    opt = adam(model, lr)
    data = Binarised(batches(mnist("train", device).images, batch_size, seed))
    to_the_end(partial(vae_step, model=model, opt=opt, nll=bernoulli_nll), data, model, opt, steps, save_to, ema_decay)


def bounds(model) -> dict[str, float]:
    """−log p(x) in nats, bounded from above with 1 and with 5,000 samples: means over the binarised test digits."""
    device = next(model.parameters()).device
    generator = torch.Generator(device).manual_seed(0)
    x = binary_test_digits(device)
    return {f"test nats, bound with {k} sample{'s' * (k > 1)}":
            -torch.cat([iwae_bound(model, part, k, generator=generator) for part in x.split(20)]).mean().item()
            for k in (1, 5_000)}


MODELS = {
    "vae-binary": Model("a VAE of binarised digits, trained with one sample, as in the IWAE paper's table 1", burda_vae,
                        fit_binary, bounds, first_binary_digits, DATA),
}
