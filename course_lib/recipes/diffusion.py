"""Recipes on diffusion: U-Nets of digits and of faces."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from course_lib import networks
from course_lib.datasets import batches, mnist
from course_lib.diffusion import LOSSES, Schedule, centred, diffusion_step, q_sample
from course_lib.metrics import in_blocks
from course_lib.recipes import faces
from course_lib.recipes.digits import DATA, first_test_digits, to_the_end
from course_lib.recipes.store import Model
from course_lib.recipes.vaegan import in_bf16
from course_lib.training import adam

T = 1000


def fit(net, device=None, save_to=None, *, data, steps, batch_size=32, lr=1e-3, predicts="v", seed=0, ema_decay=0.999,
        bf16=True):
    """Algorithm 1 on digits with their labels, or on faces; the cosine schedule, T = 1000."""
    opt, device = adam(net, lr), torch.device(device or "cpu")
    images = mnist("train", device) if data == "digits" else faces.people("train", device).images
    step = partial(diffusion_step, net=net, opt=opt, schedule=Schedule.cosine(T).to(device), predicts=predicts)
    to_the_end(in_bf16(step, device) if bf16 else step, batches(images, batch_size, seed), net, opt, steps, save_to,
               ema_decay, memory_format=torch.contiguous_format)


def test_losses(net: nn.Module, data: str, n: int = 2_000, predicts: str = "v", seed: int = 0) -> tuple[Tensor, Tensor]:
    """The loss on n test images, times spread evenly over 1 … T, noise from the seed: times (n,) and losses (n,)."""
    device = next(net.parameters()).device
    x0, *y = (mnist("test", device).floats() if data == "digits" else (faces.people("test", device).floats(),))
    x0, generator, schedule = centred(x0[:n]), torch.Generator().manual_seed(seed), Schedule.cosine(T)
    t = torch.linspace(1, T, len(x0)).round().long()[torch.randperm(len(x0), generator=generator)].to(device)
    eps = torch.randn(x0.shape, generator=generator).to(device)
    x_t = q_sample(schedule, x0, t, eps)
    output = in_blocks(lambda i: net(x_t[i], t[i], *(labels[i] for labels in y)), torch.arange(len(x0)), 250)
    return t, LOSSES[predicts](output, x0, eps, schedule, t)


def figures(net, data: str):
    """The loss on test images: what is left of v's variance."""
    return {"test loss": test_losses(net, data)[1].mean().item()}


def noisy_digits() -> tuple[Tensor, ...]:
    """the first 8 test digits at time 500 with noise of seed 0, the time, their labels"""
    x0, t = centred(first_test_digits()), torch.full((8,), 500)
    eps = torch.randn(x0.shape, generator=torch.Generator().manual_seed(0))
    return q_sample(Schedule.cosine(T), x0, t, eps), t, mnist("test").labels[:8]


def noisy_faces() -> tuple[Tensor, ...]:
    """the first 8 test faces at time 500 with noise of seed 0, and the time"""
    x0, t = centred(faces.first_test_faces()), torch.full((8,), 500)
    eps = torch.randn(x0.shape, generator=torch.Generator().manual_seed(0))
    return q_sample(Schedule.cosine(T), x0, t, eps), t


MODELS = {
    "diffusion-digits": Model("a diffusion model of digits, with or without a class asked for",
                              partial(networks.UNet, classes=10), partial(fit, data="digits", steps=11_000),
                              partial(figures, data="digits"), noisy_digits, DATA),
    "diffusion-faces": Model("a diffusion model of faces", partial(networks.UNet, image=networks.FACE),
                             partial(fit, data="faces", steps=3_500), partial(figures, data="faces"), noisy_faces,
                             faces.DATA),
}
