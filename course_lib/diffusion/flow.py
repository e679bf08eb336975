"""Flow matching, diffusion's straight-path relative: a velocity from noise to data, its loss and its sampler."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from course_lib.checks import require, require_one_of, require_same_shape, require_shape
from course_lib.datasets import GaussianMixture
from course_lib.diffusion.denoisers import mixture_mean
from course_lib.training import update


def straight(data: Tensor, noise: Tensor, s: Tensor) -> Tensor:
    """x_s = (1 − s) · noise + s · data, from noise at s = 0 to data at s = 1.  Lipman et al. 2023, eq. 22 with σ_min 0.

    data, noise: (B, …); s: (B,) in [0, 1]. Returns data's shape. Its velocity in s is data − noise.
    """
    require_same_shape(noise=noise, data=data)
    require_shape("s", s, len(data))
    s = s.view(-1, *[1] * (data.ndim - 1))
    return (1 - s) * noise + s * data


def flow_loss(output: Tensor, data: Tensor, noise: Tensor) -> Tensor:
    """‖data − noise − output‖², the mean over the numbers of a sample: (B,).  Lipman et al. 2023, equation 23.

    output: the velocity that the network gives at x_s. Its best is E[data − noise|x_s], and that moves the whole
    distribution of noise into that of the data.
    """
    require_same_shape(output=output, data=data, noise=noise)
    return (data - noise - output).square().flatten(1).mean(1)


def flow_step(batches: Iterator[Tensor], net: nn.Module, opt: torch.optim.Optimizer) -> dict[str, Tensor]:
    """One step of conditional flow matching: a point on a straight line from noise to data, and the line's velocity."""
    data = next(batches)
    noise, s = torch.randn_like(data), torch.rand(len(data), device=data.device)
    loss = flow_loss(net(straight(data, noise, s), s), data, noise).mean()
    update(opt, loss)
    return {"loss": loss.detach()}


def flow(velocity: Callable[[Tensor, Tensor], Tensor], x: Tensor, steps: int, method: str = "euler",
         ) -> Iterator[Tensor]:
    """From noise x (B, …) to samples along dx/ds = velocity(x, s), s from 0 to 1 in equal steps; yields x after each.

    velocity: (x, s (B,)) → x's shape. method: "euler", or "heun", which takes the mean of two slopes in all steps but
    the last: at s = 1 there is no noise left to tell apart. Raises ValueError for another method, or steps below 1.
    """
    require_one_of("method", method, ("euler", "heun"))
    require(steps >= 1, f"steps is {steps}; it must be 1 or more.")
    at = [torch.full((len(x),), i / steps, device=x.device, dtype=x.dtype) for i in range(steps)]
    for i, s in enumerate(at):
        slope = velocity(x, s)
        if method == "heun" and i + 1 < steps:
            slope = (slope + velocity(x + slope / steps, at[i + 1])) / 2
        x = x + slope / steps
        yield x


def exact_velocity(density: GaussianMixture) -> Callable[[Tensor, Tensor], Tensor]:
    """E[data − noise|x_s] = (E[data|x_s] − x_s)/(1 − s) for data from a mixture: flow matching's best answer."""
    def velocity(x: Tensor, s: Tensor) -> Tensor:
        s = s[:, None]
        return (mixture_mean(density, x, s, 1 - s) - x) / (1 - s)
    return velocity
