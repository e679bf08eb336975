"""Recipes on what a VAE of digits is told to value: the price of a nat, the likelihood of a pixel, cures for collapse.

All with the network of chapter 01 as a VAE with 16 latents, 6,000 steps of 256 digits.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import log, prod
from typing import NamedTuple

import torch
from torch import Tensor, nn

from course_lib import metrics, networks
from course_lib.autoencoders import (
    ae_loss,
    annealed,
    bernoulli_nll,
    best_gaussian_nll,
    dequantise,
    gaussian_nll,
    gaussian_nll_per_pixel,
    kl_per_dimension,
    vae_step,
)
from course_lib.autoencoders.variational import IN_USE
from course_lib.checks import require
from course_lib.datasets import batches, mnist
from course_lib.metrics import in_blocks
from course_lib.recipes.digits import DATA, STEPS, digits, to_the_end
from course_lib.recipes.store import Table
from course_lib.recipes.vae import SIGMA, drawn_codes, fit_vae
from course_lib.training import adam

LATENTS = 16
FLOOR = 1 / 256     # of a pixel's own σ: the width of a grey level


# --- what a VAE reaches ----------------------------------------------------------------------------------------------

@torch.no_grad()
def mean_nats(model: networks.VAE, x: Tensor) -> Tensor:
    """The KL of each latent dimension by itself, in nats, a mean over the images x (N, C, H, W): (latents,)."""
    return in_blocks(lambda part: kl_per_dimension(*model.encode(part)), x).mean(0)


def kl_figures(nats: Tensor) -> dict[str, float]:
    """Of the nats of each dimension (latents,): their sum, and how many are in use (above 0.05 nats)."""
    return {"KL in nats": nats.sum().item(), "in use": int((nats > IN_USE).sum())}


def unsure_share(decode: Callable[[Tensor], Tensor], points: int, seed: int, device=None) -> float:
    """The share of images decoded from z ~ N(0, I) that fail chapter 01's test "unsure": 1 % of test digits do.

    The points are those that ``digits.hole_shares`` draws with this seed.
    """
    from course_lib.recipes import load, table
    z = torch.randn(points, LATENTS, generator=torch.Generator(device or "cpu").manual_seed(seed), device=device)
    sure = metrics.confidence(load("digit-classifier", device), in_blocks(decode, z))
    return (sure < table("hole-limits-digits")["rows"][0]["unsure_below"]).float().mean().item()


def error_of_draws(model: networks.VAE, x: Tensor, seed: int) -> float:
    """Squared error per image between x and what is decoded from one draw of q(z|x): the distortion of a VAE."""
    encode = drawn_codes(model, torch.Generator(x.device).manual_seed(1_000 + seed))
    return ae_loss(in_blocks(model.decode, in_blocks(encode, x)), x).item()


# --- the price of a nat ----------------------------------------------------------------------------------------------

def beta_rows(device=None, *, betas=(0.1, 0.3, 1.0, 3.0, 10.0, 20.0), seeds=(0, 1), points=2_000, steps=STEPS,
              sigma=SIGMA):
    """Rate and distortion by β on the test digits, and how many images decoded from the prior are no digits."""
    rows, x = [], digits("test", device)[0]
    for beta in betas:
        for seed in seeds:
            torch.manual_seed(seed)
            model = networks.mlp_vae(LATENTS).to(device)
            fit_vae(model, device, steps=steps, seed=seed, sigma=sigma, beta=beta)
            nats = mean_nats(model.eval(), x)
            rows.append({"beta": beta, "seed": seed, "squared error": error_of_draws(model, x, seed),
                         "error of decoded means": ae_loss(in_blocks(model, x), x).item(), **kl_figures(nats),
                         "nats a dimension": nats.tolist(),
                         "unsure, N(0, I)": unsure_share(model.decode, points, seed, device)})
    return rows


# --- the likelihood of a pixel ---------------------------------------------------------------------------------------

class Likelihood(NamedTuple):
    """One of the answers to "how likely is this image, given z?", with what belongs to it.

    The decoder's output, (B, …), is what ``nll``, ``mean`` and ``sigma`` are given. To train with it::

        step = partial(vae_step, model=model, opt=adam(model, 2e-3), nll=likelihood.nll)
        for i, log in train(step, map(likelihood.pixels, batches(images, 256)), 300): …
    """

    build: Callable[[], networks.VAE]           # the network, untrained
    nll: Callable[[Tensor, Tensor], Tensor]     # (output, x) → −log p(x|z) in nats, (B,)
    pixels: Callable[..., Tensor]               # (grey images, generator=None) → x, drawn anew each time
    mean: Callable[[Tensor], Tensor]            # output → the mean of p(x|z), (B, C, H, W)
    sigma: Callable[[Tensor], Tensor] | None    # output → σ of each pixel, (B, C, H, W); None: not a Gaussian


def binarised(x: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Each pixel 1 with its grey level as probability, else 0: (B, C, H, W) → the same."""
    return torch.bernoulli(x, generator=generator)


def dequantised(x: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """``dequantise`` with u drawn: (B, C, H, W), grey levels in [0, 1] → (255 x + u)/256."""
    return dequantise(x, torch.rand(x.shape, generator=generator, dtype=x.dtype, device=x.device))


def gaussian(sigma: float) -> Likelihood:
    """One σ for all pixels, held at this number."""
    return Likelihood(partial(networks.mlp_vae, LATENTS), partial(gaussian_nll, sigma=sigma), dequantised,
                      lambda mean: mean, lambda mean: torch.full_like(mean, sigma))


def two_channel_vae() -> networks.VAE:
    """The same network, but the last layer gives a mean and a log variance for each pixel, neither squeezed."""
    c, h, w = networks.DIGIT
    decoder = nn.Sequential(networks.mlp([LATENTS, 128, 256, 2 * c * h * w]), nn.Unflatten(1, (2 * c, h, w)))
    return networks.VAE(networks.mlp_encoder(2 * LATENTS), decoder, LATENTS)


def mean_of_pixels(mean_and_log_var: Tensor) -> Tensor:
    """(B, 2C, H, W) → the means (B, C, H, W)."""
    return mean_and_log_var.chunk(2, dim=1)[0]


def sigma_of_pixels(mean_and_log_var: Tensor) -> Tensor:
    """(B, 2C, H, W) → σ (B, C, H, W), as ``gaussian_nll_per_pixel`` has it: σ² = e^log_var + floor²."""
    return (mean_and_log_var.chunk(2, dim=1)[1].exp() + FLOOR**2).sqrt()


def not_held(mean: Tensor) -> Tensor:
    raise ValueError("this likelihood fits σ to each batch, so it has none of its own: hold it, with "
                     "held(likelihood, model, images).")


LIKELIHOODS = {
    "Bernoulli, binary pixels": Likelihood(partial(networks.mlp_vae, LATENTS, logits=True), bernoulli_nll, binarised,
                                           torch.sigmoid, None),
    "Gaussian, σ = 1": gaussian(1.0),
    "Gaussian, σ² = ½": gaussian(SIGMA),
    "Gaussian, one σ, learned": gaussian(1.0)._replace(nll=best_gaussian_nll, sigma=not_held),
    "Gaussian, a σ for each pixel": Likelihood(two_channel_vae, partial(gaussian_nll_per_pixel, floor=FLOOR),
                                               dequantised, mean_of_pixels, sigma_of_pixels),
}


@torch.no_grad()
def held(likelihood: Likelihood, model: networks.VAE, images: Tensor,
         generator: torch.Generator | None = None) -> Likelihood:
    """The likelihood with a σ of its own; one that has it already is given back as it is.

    A σ that was fitted to each batch is held at the root mean squared error of one decoded draw for each of the grey
    images (N, C, H, W), training images as a rule: the σ that makes them likeliest.
    """
    if likelihood.nll is not best_gaussian_nll:
        return likelihood
    encode = drawn_codes(model, generator)

    def error(part: Tensor) -> Tensor:
        x = likelihood.pixels(part, generator)
        return (x - model.decode(encode(x))).square().flatten(1).mean(1)
    return gaussian(in_blocks(error, images).mean().sqrt().item())


def sample_pixels(likelihood: Likelihood, output: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """x ~ p(x|z), given the decoder's output (B, …): (B, C, H, W). Gaussian pixels may go beyond [0, 1].

    Raises ValueError for a likelihood whose σ is not held yet, see ``held``.
    """
    mean = likelihood.mean(output)
    if likelihood.sigma is None:
        return torch.bernoulli(mean, generator=generator)
    noise = torch.randn(mean.shape, generator=generator, dtype=mean.dtype, device=mean.device)
    return mean + likelihood.sigma(output) * noise


def bits_a_pixel(nats: float, pixels: int = prod(networks.DIGIT)) -> float:
    """From −log density of a dequantised image, in nats, to the bits that each of its grey levels costs.

    A density on [0, 1) of numbers whose grey levels are 1/256 wide: 8 bits more than its own. Evenly spread noise has
    0 nats and so needs 8 bits. Raises ValueError for pixels below 1.  Theis et al. 2016, section 3.1.
    """
    require(pixels >= 1, f"pixels is {pixels}; an image has at least 1.")
    return nats / (pixels * log(2)) + 8


def likelihood_rows(device=None, *, likelihoods=tuple(LIKELIHOODS), seeds=(0, 1), points=2_000, steps=STEPS,
                    batch_size=256, lr=2e-3):
    """One network with five likelihoods, each on pixels such as it is made for: binary, or dequantised."""
    rows = []
    for name in likelihoods:
        for seed in seeds:
            torch.manual_seed(seed)
            likelihood = LIKELIHOODS[name]
            model = likelihood.build().to(device)
            opt = adam(model, lr)
            step = partial(vae_step, model=model, opt=opt, nll=likelihood.nll)
            data = map(likelihood.pixels, batches(mnist("train", device).images, batch_size, seed))
            to_the_end(step, data, model, opt, steps)
            rows.append({"likelihood": name, "seed": seed,
                         **likelihood_figures(likelihood, model.eval(), seed, points)})
    return rows


@torch.no_grad()
def likelihood_figures(likelihood: Likelihood, model: networks.VAE, seed: int, points: int) -> dict[str, float]:
    """On the test digits: σ, error, KL, −ELBO with one draw, bits; and images decoded from the prior that are unsure.

    σ: the one for all pixels, or else the median over pixels; the error is that of the mean decoded from μ, against the
    grey digits. The pixels are drawn once, with seed 0. A Bernoulli likelihood has neither a σ nor bits a grey level.
    """
    device = next(model.parameters()).device
    generator = torch.Generator(device).manual_seed(1_000 + seed)
    likelihood = held(likelihood, model, digits("train", device)[0], generator)
    grey = digits("test")[0]
    x, grey = likelihood.pixels(grey, torch.Generator().manual_seed(0)).to(device), grey.to(device)
    output = in_blocks(model.decode, in_blocks(drawn_codes(model, generator), x))
    kl = kl_figures(mean_nats(model, x))
    nats = likelihood.nll(output, x).mean().item() + kl["KL in nats"]
    of_a_density = likelihood.sigma is not None
    return {**({"σ": likelihood.sigma(output).median().item()} if of_a_density else {}),
            "squared error": ae_loss(likelihood.mean(in_blocks(model, x)), grey).item(), **kl, "nats": nats,
            **({"bits a pixel": bits_a_pixel(nats)} if of_a_density else {}),
            "unsure, N(0, I)": unsure_share(lambda z: likelihood.mean(model.decode(z)), points, seed, device)}


# --- cures for collapse ----------------------------------------------------------------------------------------------

def cure_rows(device=None, *, seeds=(0, 1), steps=STEPS, batch_size=256, lr=2e-3, sigma=SIGMA, warm_up=3_000,
              free_bits=0.25):
    """Does a latent collapse by accident of training, or because it does not pay? Two cures beside plain training.

    "annealed": β rises from 0 to 1 in the first ``warm_up`` steps; "free bits": so many nats a dimension are not
    charged. All are measured alike: −ELBO is error/(2σ²) + KL on the test digits, all of the KL charged, β = 1, the
    likelihood's constant (D/2) log 2πσ² left out.
    """
    rows, x = [], digits("test", device)[0]
    cures = {"plain": dict, "annealed": lambda: {"beta": annealed(warm_up)},
             f"free bits {free_bits:g}": lambda: {"free_bits": free_bits}}
    for variant, settings in cures.items():
        for seed in seeds:
            torch.manual_seed(seed)
            model = networks.mlp_vae(LATENTS).to(device)
            opt = adam(model, lr)
            step = partial(vae_step, model=model, opt=opt, nll=partial(gaussian_nll, sigma=sigma), **settings())
            to_the_end(step, batches(mnist("train", device).images, batch_size, seed), model, opt, steps)
            nats, error = mean_nats(model.eval(), x), error_of_draws(model, x, seed)
            kl = kl_figures(nats)
            rows.append({"variant": variant, "seed": seed, "squared error": error, **kl,
                         "−ELBO": error / (2 * sigma**2) + kl["KL in nats"], "nats a dimension": nats.tolist()})
    return rows


TABLES = {
    "vae-beta-digits": Table("rate and distortion of a VAE with 16 latents by β, 2 seeds", beta_rows, DATA),
    "vae-likelihoods-digits": Table("a VAE with 16 latents under five likelihoods of a pixel, 2 seeds",
                                    likelihood_rows, DATA),
    "vae-cures-digits": Table("a VAE with 16 latents, plain, annealed and with free bits, 2 seeds", cure_rows, DATA),
}
