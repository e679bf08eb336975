"""Recipes on VAEs of digits: beside chapter 01's autoencoders, and held against the IWAE paper's table."""

from __future__ import annotations

from functools import lru_cache, partial

import torch
from torch import Tensor, nn

from course_lib import networks
from course_lib.autoencoders import (
    ae_loss,
    bernoulli_nll,
    gaussian_nll,
    iwae_bound,
    iwae_step,
    kl_per_dimension,
    vae_step,
)
from course_lib.autoencoders.variational import IN_USE
from course_lib.datasets import Binarised, batches, mnist
from course_lib.metrics import in_blocks
from course_lib.recipes import store
from course_lib.recipes.digits import DATA, STEPS, digits, first_test_digits, hole_shares, to_the_end
from course_lib.recipes.store import Model, Table
from course_lib.training import adam

SIGMA = 0.5**0.5   # of the Gaussian decoder: its −log density is then the squared error itself, plus a constant


# --- the networks of chapter 01, as VAEs -----------------------------------------------------------------------------

def fit_vae(model, device=None, save_to=None, *, steps=STEPS, batch_size=256, lr=2e-3, seed=0, sigma=SIGMA, beta=1.0,
            ema_decay=0.999):
    """The negative ELBO with a Gaussian decoder of fixed σ: chapter 01's squared error over 2σ², and the KL."""
    opt = adam(model, lr)
    step = partial(vae_step, model=model, opt=opt, nll=partial(gaussian_nll, sigma=sigma), beta=beta)
    to_the_end(step, batches(mnist("train", device).images, batch_size, seed), model, opt, steps, save_to, ema_decay)


@torch.no_grad()
def vae_figures(model):
    """Squared errors of decoded means, the KL, and how many latents are in use (more than 0.05 nats)."""
    x, x_test = (digits(split, next(model.parameters()).device)[0] for split in ("train", "test"))
    kl = in_blocks(lambda part: kl_per_dimension(*model.encode(part)), x_test).mean(0)
    return {"train error": ae_loss(in_blocks(model, x), x).item(),
            "test error": ae_loss(in_blocks(model, x_test), x_test).item(),
            "test KL in nats": kl.sum().item(), "latents in use": float((kl > IN_USE).sum())}


def drawn_codes(model: networks.VAE, generator: torch.Generator):
    """A function x → one draw from q(z|x): what the decoder was trained on, and what a VAE's holes are measured from.

    The means alone would not do: in a latent that is not in use they hardly differ from 0, so that nearly every draw
    from the prior would count as far from all of them.
    """
    @torch.no_grad()
    def encode(x: Tensor) -> Tensor:
        mu, log_var = model.encode(x)
        return mu + (log_var / 2).exp() * torch.randn(mu.shape, generator=generator, device=mu.device)
    return encode


def vae_holes_rows(device=None, *, latents=(2, 8, 16), seeds=(0, 1, 2), points=2_000, steps=STEPS, sigma=SIGMA):
    """``digits.holes_rows`` for VAEs: the same networks but for the encoder's second half, the same steps and tests."""
    rows = []
    for k in latents:
        for seed in seeds:
            torch.manual_seed(seed)
            model = networks.mlp_vae(k).to(device)
            fit_vae(model, device, steps=steps, seed=seed, sigma=sigma)
            encode = drawn_codes(model.eval(), torch.Generator(device or "cpu").manual_seed(1_000 + seed))
            rows += [{"latents": k, "seed": seed} | row
                     for row in hole_shares(encode, model.decode, k, points, seed, device)]
    return rows


def vae_recipe(latents: int) -> Model:
    return Model(f"a VAE of digits with {latents} latents, the network of chapter 01",
                 partial(networks.mlp_vae, latents=latents), fit_vae, vae_figures, first_test_digits, DATA)


# --- held against the IWAE paper's table -----------------------------------------------------------------------------

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


BEGUN = {"vae-binary.safetensors": "ea982ff213d60b6b6e4b2ceafa5276a05b5b30cba8ed6725834e1a2d34a433f1"}


def fit_on(model, device=None, save_to=None, *, k, steps, batch_size, lr=1e-3, seed=1, ema_decay=0.9999,
           start="vae-binary"):
    """On from a trained model: up the bound with k samples; with one, up the ELBO as before."""
    model.load_state_dict(store.load_model(start, MODELS[start], store.DATA / "checkpoints").state_dict())
    opt = adam(model, lr)
    step = vae_step if k == 1 else partial(iwae_step, k=k)
    data = Binarised(batches(mnist("train", device).images, batch_size, seed))
    to_the_end(partial(step, model=model, opt=opt, nll=bernoulli_nll), data, model, opt, steps, save_to, ema_decay)


def bounds(model) -> dict[str, float]:
    """−log p(x) in nats, bounded from above with 1 and with 5,000 samples: means over the binarised test digits."""
    device = next(model.parameters()).device
    generator = torch.Generator(device).manual_seed(0)
    x = binary_test_digits(device)
    return {f"test nats, bound with {k} sample{'s' * (k > 1)}":
            -torch.cat([iwae_bound(model, part, k, generator=generator) for part in x.split(20)]).mean().item()
            for k in (1, 5_000)}


MODELS = {
    "vae-digits-2": vae_recipe(2),
    "vae-digits-16": vae_recipe(16),
    "vae-binary": Model("a VAE of binarised digits, trained with one sample, as in the IWAE paper's table 1", burda_vae,
                        fit_binary, bounds, first_binary_digits, DATA),
    "vae-binary-1": Model("vae-binary, trained on with one sample", burda_vae,
                          partial(fit_on, k=1, steps=120_000, batch_size=100), bounds, first_binary_digits,
                          DATA | BEGUN),
    "vae-binary-50": Model("vae-binary, trained on with 50 samples (IWAE)", burda_vae,
                           partial(fit_on, k=50, steps=160_000, batch_size=20), bounds, first_binary_digits,
                           DATA | BEGUN),
}
TABLES = {
    "vae-holes-digits": Table("hole shares of VAEs with 2, 8 and 16 latents, 3 seeds", vae_holes_rows, DATA),
}
