"""Recipes on the VAE/GAN: six models with the same encoder, decoder and seconds of training, on faces and on digits.

The decoder is a DCGAN's generator and the encoder its mirror, both with batch norm; the discriminator is the DCGAN's
without a norm. Its features then have any size, so L_llike takes the σ that is the best for each batch, not the
paper's 1. Faces are in grey: in colour, the adversarial models drew coloured noise in the minutes that two cores have.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

from course_lib import metrics, networks
from course_lib.autoencoders import ae_step, best_gaussian_nll, feature_nll, vae_step
from course_lib.checks import require_one_of
from course_lib.datasets import FaceSet, batches, mnist
from course_lib.gans import gan_step, vaegan_step
from course_lib.networks import DIGIT, GAN, GREY_FACE
from course_lib.recipes import faces
from course_lib.training import EMA, adam, train

SHOWN = ("AE", "VAE", "VAE, fixed features", "VAE, Dis's features", "GAN", "VAE/GAN")
SETTLE = 60         # batches over which batch norm's statistics are measured at the end


class Setting(NamedTuple):
    """What the six models of one set share."""

    image: tuple                                # channels, height, width
    images: Callable[..., Tensor]               # (split, device) → the set, uint8 or float
    latents: int
    channels: int
    batch: int
    layer: int                                  # of the discriminator, whose features are compared
    gamma: float
    measure: str                                # the classifier that measures; it trains nothing
    fixed: Callable[..., Callable[[Tensor], Tensor]]   # device → a fixed network's features, another network


@lru_cache(maxsize=4)
def grey_people(split: str, device=None) -> FaceSet:
    """The faces in grey, with their attributes."""
    return faces.people(split, device).in_grey()


def _faces_images(split: str, device=None) -> Tensor:
    return grey_people(split, device).images


def _digit_images(split: str, device=None) -> Tensor:
    return mnist(split, device).images


def _segmenter_features(device=None) -> Callable[[Tensor], Tensor]:
    """What the segmenter of faces sees after its first and its second convolution: (B, 1, 32, 32) → (B, 6144)."""
    from course_lib.recipes import load
    first, second = load("segmenter-faces", device).requires_grad_(False).down[:2]

    def features(x: Tensor) -> Tensor:
        edges = first(x.expand(-1, 3, -1, -1))                                                   # (B, 16, 16, 16)
        return torch.cat([edges.flatten(1), second(edges).flatten(1)], 1)   # (B, 4096 + 2048)
    return features


def _second_classifier_features(device=None) -> Callable[[Tensor], Tensor]:
    """What the second classifier of digits sees before its second pooling: (B, 1, 28, 28) → (B, 40, 14, 14)."""
    from course_lib.recipes import load
    return load("digit-classifier-2", device).requires_grad_(False).body[:10]


SETS = {
    "faces": Setting(GREY_FACE, _faces_images, 32, 16, 32, 2, 0.005, "grey-face-classifier", _segmenter_features),
    "digits": Setting(DIGIT, _digit_images, 8, 16, 32, 2, 0.005, "digit-classifier", _second_classifier_features),
}
NAMES = {"AE": "ae", "VAE": "vae-pixel", "VAE, fixed features": "vae-features", "VAE, Dis's features": "vae-dis",
         "GAN": "gan-pair", "VAE/GAN": "vaegan"}          # of the stored models: NAMES[model] + "-" + set
# Steps that take the same seconds on two busy cores, one thread each, in batches of 32; the adversarial models are
# trained in smaller batches. And each model's best rate of three, as the tables "vaegan-search-…" have it.
STEPS = {"faces": dict(zip(SHOWN, (17_000, 15_300, 12_700, 12_700, 9_200, 5_000), strict=True)),
         "digits": dict(zip(SHOWN, (9_500, 8_800, 3_000, 6_000, 4_700, 3_000), strict=True))}
SMALL_BATCH, ADVERSARIAL = 16, ("GAN", "VAE/GAN")
SMALL_BATCH_STEPS = {"faces": {"GAN": 16_000, "VAE/GAN": 8_300}, "digits": {"GAN": 8_000, "VAE/GAN": 5_200}}
RATES = {"faces": dict(zip(SHOWN, (4e-3, 4e-3, 4e-3, 4e-3, 2e-3, 2e-3), strict=True)),
         "digits": dict(zip(SHOWN, (8e-3, 8e-3, 8e-3, 8e-3, 2e-3, 2e-3), strict=True))}


# --- networks --------------------------------------------------------------------------------------------------------

class Centred(nn.Module):
    """Pixels in [0, 1] to [−1, 1], where the DCGAN's images are."""

    def forward(self, x: Tensor) -> Tensor:
        return 2 * x - 1


def discriminator(data: str) -> networks.Discriminator:
    dis = networks.dcgan_discriminator(SETS[data].channels, SETS[data].image)
    dis.layers[0].insert(0, Centred())
    return dis


def network(data: str, model: str) -> nn.Module:
    """One of the six models, untrained: an Autoencoder, a VAE, or for "GAN" both players.

    Raises ValueError for another set or model.
    """
    require_one_of("data", data, tuple(SETS))
    require_one_of("model", model, SHOWN)
    kind = SETS[data]
    if model == "AE":
        return networks.dcgan_autoencoder(kind.latents, kind.channels, kind.image, nn.BatchNorm2d)
    vae = networks.dcgan_vae(kind.latents, kind.channels, kind.image, nn.BatchNorm2d)
    return GAN(vae.decode, discriminator(data)) if model == "GAN" else vae


# --- training --------------------------------------------------------------------------------------------------------

def in_bf16(step, device: torch.device):
    """The step with its convolutions in bfloat16 (opt-in; weights, KL, likelihoods and logits stay float32)."""
    def stepped(data):
        # Without the cache: it would keep the casts of weights from before their update.
        with torch.autocast(device.type, torch.bfloat16, cache_enabled=False):
            return step(data)
    return stepped


def autoencoder_nll(data: str, model: str, dis: networks.Discriminator | None, device):
    """What a VAE pays for a reconstruction: pixels, a fixed network's features, or those of a GAN's discriminator; each
    under the Gaussian whose σ is the best for the batch."""
    if model == "VAE":
        return best_gaussian_nll
    features = SETS[data].fixed(device) if model == "VAE, fixed features" else partial(
        dis.requires_grad_(False).features, layer=SETS[data].layer)
    return partial(feature_nll, features=features)


def step_and_state(net: nn.Module, data: str, model: str, lr: float, gamma: float, dis, device):
    """One model's step, its networks bound, and what its run consists of."""
    kind = SETS[data]
    if model == "GAN":
        opts = {"opt_G": adam(net.G, lr, (0.5, 0.999)), "opt_D": adam(net.D, lr / 2, (0.5, 0.999))}
        return partial(gan_step, G=net.G, D=net.D, **opts), {"net": net} | opts
    if model == "VAE/GAN":
        dis = discriminator(data).to(device)
        opts = {"opt_enc": adam(net.encoder, lr, (0.5, 0.999)), "opt_dec": adam(net.decode, lr, (0.5, 0.999)),
                "opt_dis": adam(dis, lr / 2, (0.5, 0.999))}
        return (partial(vaegan_step, vae=net, dis=dis, gamma=gamma, layer=kind.layer, sigma=None, **opts),
                {"net": net, "dis": dis} | opts)
    opt = adam(net, lr)
    if model == "AE":
        return partial(ae_step, model=net, opt=opt), {"net": net, "opt": opt}
    return (partial(vae_step, model=net, opt=opt, nll=autoencoder_nll(data, model, dis, device)),
            {"net": net, "opt": opt})


def fit(net, device=None, save_to=None, *, data, model, lr, steps, seed=0, gamma=None, ema_decay=0.999, bf16=True,
        dis=None):
    """Any of the six in batches of 32: learning rates falling to 0 along a cosine; it ends with its average (EMA).

    dis: for "VAE, Dis's features", the discriminator, by default the stored GAN's of this set; gamma: by default the
    set's. Raises ValueError for another set or model.
    """
    _fit(net, device, save_to, data, model, lr, steps, seed, gamma, ema_decay, bf16, dis, SETS[data].batch)


def fit_adversarial(net, device=None, save_to=None, *, data, model, lr, steps, seed=0, gamma=None, ema_decay=0.999,
                    bf16=True, batch_size=SMALL_BATCH):
    """GAN or VAE/GAN in smaller batches, which give them nearly twice the steps in the same seconds."""
    _fit(net, device, save_to, data, model, lr, steps, seed, gamma, ema_decay, bf16, None, batch_size)


def _fit(net, device, save_to, data, model, lr, steps, seed, gamma, ema_decay, bf16, dis, batch_size) -> None:
    kind, device = SETS[data], torch.device(device or "cpu")
    if model == "VAE, Dis's features" and dis is None:
        from course_lib.recipes import load
        dis = load(f"gan-pair-{data}", device).D
    step, state = step_and_state(net, data, model, lr, kind.gamma if gamma is None else gamma, dis, device)
    ema = EMA(net, ema_decay)
    schedules = {f"schedule_{name}": torch.optim.lr_scheduler.CosineAnnealingLR(opt, steps)
                 for name, opt in state.items() if name.startswith("opt")}
    for _ in train(in_bf16(step, device) if bf16 else step, batches(kind.images("train", device), batch_size, seed),
                   steps, state=state | schedules | {"ema": ema}, save_to=save_to, memory_format=torch.channels_last):
        ema.update(net)
        for schedule in schedules.values():
            schedule.step()
    net.load_state_dict(ema.module.state_dict())
    settle(net, metrics.as_floats(kind.images("train", device)[:SETTLE * batch_size]).split(batch_size),
           prior=model == "VAE/GAN")


@torch.no_grad()
def settle(net: nn.Module, batches: Sequence[Tensor], prior: bool) -> None:
    """Batch norm's means and variances measured anew, over all these batches, for weights that are an average: those of
    the training are of other weights. prior: a VAE decodes, beside the codes, as many draws from N(0, I), as in
    ``vaegan_step``."""
    norms = [m for m in net.modules() if isinstance(m, nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None                                            # the plain mean over batches
    net.train()
    for x in batches:
        if isinstance(net, networks.VAE):
            mu, log_var = net.encode(x)
            z = mu + (log_var / 2).exp() * torch.randn_like(mu)
            net.decode(torch.cat([z, torch.randn_like(z)]) if prior else z)
        else:
            net(net.G.noise(len(x)) if isinstance(net, GAN) else x)
    for norm in norms:
        norm.momentum = 0.1
