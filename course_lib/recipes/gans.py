"""Recipes on GANs of images: a DCGAN of digits and one of faces. What is kept is the generator, averaged (EMA)."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from course_lib import metrics, networks
from course_lib.classifiers import read_attributes
from course_lib.datasets import batches, mnist
from course_lib.datasets.faces import ATTRIBUTES
from course_lib.gans import gan_step
from course_lib.metrics import in_blocks
from course_lib.networks import DIGIT, FACE
from course_lib.recipes import digits, faces
from course_lib.recipes.store import Model
from course_lib.training import EMA, adam, train

LATENTS = 64
SAMPLES = 2_000     # for a generator's figures


def first_noise() -> Tensor:
    """8 draws of z ~ N(0, I), seed 0"""
    return torch.randn(8, LATENTS, generator=torch.Generator().manual_seed(0))


def in_bf16(step):
    """The step with its convolutions in bfloat16 where the device does so itself (opt-in; the weights stay float32)."""
    def stepped(data):
        # Without the cache: it would keep the casts of D's weights from before D's update, and G would meet the old D.
        device = next(iter(step.keywords["G"].parameters())).device
        with torch.autocast(device.type, torch.bfloat16, cache_enabled=False):
            return step(data)
    return stepped


def fit_dcgan(G, images: Tensor, image: tuple, device, save_to, steps, batch_size, lr, beta1, channels, seed, ema_decay,
              bf16) -> None:
    """Goodfellow's Algorithm 1 with k = 1 and the non-saturating loss, both learning rates falling to 0; G ends with
    its average."""
    D = networks.dcgan_discriminator(channels, image, norm=nn.BatchNorm2d).to(device)
    opt_G, opt_D = (adam(net, lr, (beta1, 0.999)) for net in (G, D))
    ema = EMA(G, ema_decay)
    schedules = [torch.optim.lr_scheduler.CosineAnnealingLR(opt, steps) for opt in (opt_G, opt_D)]
    step = partial(gan_step, G=G, D=D, opt_G=opt_G, opt_D=opt_D)
    state = {"G": G, "D": D, "opt_G": opt_G, "opt_D": opt_D, "ema": ema, "schedule_G": schedules[0],
             "schedule_D": schedules[1]}
    for _ in train(in_bf16(step) if bf16 else step, batches(images, batch_size, seed), steps, state=state,
                   save_to=save_to, memory_format=torch.channels_last):
        ema.update(G)
        for schedule in schedules:
            schedule.step()
    G.load_state_dict(ema.module.state_dict())


@torch.no_grad()
def samples(G: networks.Generator, n: int = SAMPLES, seed: int = 0) -> Tensor:
    """n samples for z drawn with a seed, in blocks: (n, C, H, W)."""
    device = next(G.parameters()).device
    return in_blocks(G, G.noise(n, torch.Generator(device).manual_seed(seed)))


# --- digits ----------------------------------------------------------------------------------------------------------

def fit_digits(G, device=None, save_to=None, *, steps=20_000, batch_size=64, lr=2e-4, beta1=0.5, channels=32, seed=0,
               ema_decay=0.999, bf16=True):
    fit_dcgan(G, mnist("train", device).images, DIGIT, device, save_to, steps, batch_size, lr, beta1, channels, seed,
              ema_decay, bf16)


def digit_figures(G):
    """Of 2,000 samples: the share that chapter 1's test calls unsure (1 % of test digits are), the rarest and the
    commonest class."""
    from course_lib.recipes import load, table
    device = next(G.parameters()).device
    classifier, x = load("digit-classifier", device), samples(G)
    limit = table("hole-limits-digits")["rows"][0]["unsure_below"]
    shares = in_blocks(classifier, x).argmax(1).bincount(minlength=10) / len(x)
    return {"unsure": (metrics.confidence(classifier, x) < limit).float().mean().item(),
            "rarest class": shares.min().item(), "commonest class": shares.max().item()}


# --- faces -----------------------------------------------------------------------------------------------------------

def fit_faces(G, device=None, save_to=None, *, steps=20_000, batch_size=64, lr=2e-4, beta1=0.5, channels=32, seed=0,
              ema_decay=0.999, bf16=True):
    fit_dcgan(G, faces.people("train", device).images, FACE, device, save_to, steps, batch_size, lr, beta1, channels,
              seed, ema_decay, bf16)


def face_figures(G):
    """Of 2,000 samples: the shares that the attribute classifier sees smiling (½ of the data), with glasses or
    sunglasses (½), and with a moustache or a beard (2/5)."""
    from course_lib.recipes import load
    read = read_attributes(load("face-classifier", next(G.parameters()).device), samples(G), faces.SIZES)
    seen = {name: (read[:, k] > 0).float().mean().item() for k, name in enumerate(ATTRIBUTES)}
    return {"smiling": seen["smile"], "with glasses": seen["glasses"], "with a beard": seen["beard"]}


def generator(image: tuple, channels: int = 32) -> networks.Generator:
    return networks.dcgan_generator(LATENTS, channels, image, norm=nn.BatchNorm2d)


MODELS = {
    "gan-digits": Model("a DCGAN of digits, its generator", partial(generator, DIGIT), fit_digits, digit_figures,
                        first_noise, digits.DATA),
    "gan-faces": Model("a DCGAN of faces, its generator", partial(generator, FACE), fit_faces, face_figures,
                       first_noise, faces.DATA),
}
