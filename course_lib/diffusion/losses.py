"""What the network learns: noise, image or velocity, one thing said in three ways; and the training step."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn

from course_lib.checks import require_one_of, require_same_shape, require_shape
from course_lib.diffusion.schedules import Schedule, at, q_sample
from course_lib.training import full_precision, update

PREDICTS = ("eps", "x0", "v")


class Parts(NamedTuple):
    """The same guess in three ways: the image, the noise, and the velocity v = √ᾱ ε − √(1−ᾱ) x_0. (B, …) each."""

    x0: Tensor
    eps: Tensor
    v: Tensor


def parts(output: Tensor, predicts: str, x_t: Tensor, schedule: Schedule, t: Tensor) -> Parts:
    """What a network's output says of x_t: any one of x_0, ε and v gives the other two.  Salimans and Ho 2022.

    output, x_t: (B, …); predicts: which of "eps", "x0", "v" the output is; t: (B,), 1 … T.
    From x_t = √ᾱ x_0 + √(1−ᾱ) ε and v = √ᾱ ε − √(1−ᾱ) x_0, a turn of the plane: x_0 = √ᾱ x_t − √(1−ᾱ) v and
    ε = √(1−ᾱ) x_t + √ᾱ v.
    """
    require_one_of("predicts", predicts, PREDICTS)
    require_same_shape(output=output, x_t=x_t)
    signal, noise = at(schedule.alpha_bar, t, x_t).sqrt(), at(schedule.variance, t, x_t).sqrt()
    if predicts == "v":
        return Parts(signal * x_t - noise * output, noise * x_t + signal * output, output)
    if predicts == "x0":
        x0, eps = output, (x_t - signal * output) / noise
    else:
        x0, eps = (x_t - noise * output) / signal, output
    return Parts(x0, eps, signal * eps - noise * x0)


def error_weight(schedule: Schedule, t: Tensor, of: str, predicts: str) -> Tensor:
    """‖Δ of‖²/‖Δ predicts‖² at time t: what turns one squared error into another.  (B,) → (B,), float64.

    The three errors of one guess are ‖Δε‖² = SNR ‖Δx_0‖² and ‖Δv‖² = (1 + SNR) ‖Δx_0‖².
    """
    require_one_of("of", of, PREDICTS)
    require_one_of("predicts", predicts, PREDICTS)
    like = torch.empty(t.numel(), dtype=torch.float64, device=t.device)
    alpha_bar, variance = at(schedule.alpha_bar, t, like), at(schedule.variance, t, like)
    share = {"eps": alpha_bar, "x0": variance, "v": torch.ones_like(alpha_bar)}       # of ‖Δv‖²
    return share[of] / share[predicts]


def eps_loss(output: Tensor, x0: Tensor, eps: Tensor, schedule: Schedule, t: Tensor, weighted_as: str = "eps",
             ) -> Tensor:
    """‖ε − output‖², the mean over an image's pixels: (B,).  Ho, Jain and Abbeel 2020, equation 14 (L_simple).

    output, x0, eps: (B, …); t: (B,), 1 … T. weighted_as: whose squared error this is to be; "x0" and "v" multiply it by
    1/SNR and 1 + 1/SNR. Raises ValueError for other shapes or names.
    """
    return _error(output, eps, x0, schedule, t, "eps", weighted_as)


def x0_loss(output: Tensor, x0: Tensor, eps: Tensor, schedule: Schedule, t: Tensor, weighted_as: str = "x0",
            ) -> Tensor:
    """‖x_0 − output‖², the mean over an image's pixels: (B,). As ``eps_loss``; "eps" multiplies it by SNR, "v" by
    1 + SNR."""
    require_same_shape(eps=eps, x0=x0)
    return _error(output, x0, x0, schedule, t, "x0", weighted_as)


def v_loss(output: Tensor, x0: Tensor, eps: Tensor, schedule: Schedule, t: Tensor, weighted_as: str = "v") -> Tensor:
    """‖v − output‖², v = √ᾱ ε − √(1−ᾱ) x_0, the mean over an image's pixels: (B,).  Salimans and Ho 2022, section 4.

    As ``eps_loss``; "eps" multiplies it by ᾱ, "x0" by 1 − ᾱ.
    """
    require_same_shape(eps=eps, x0=x0)
    v = at(schedule.alpha_bar, t, x0).sqrt() * eps - at(schedule.variance, t, x0).sqrt() * x0
    return _error(output, v, x0, schedule, t, "v", weighted_as)


LOSSES: dict[str, Callable[..., Tensor]] = {"eps": eps_loss, "x0": x0_loss, "v": v_loss}


def _error(output, target, x0, schedule, t, predicts, weighted_as) -> Tensor:
    require_same_shape(output=output, target=target, x0=x0)
    require_shape("t", t, len(x0))
    weight = error_weight(schedule, t, weighted_as, predicts).to(x0)
    return weight * (target - output).square().flatten(1).mean(1)


def centred(x: Tensor) -> Tensor:
    """Images in [0, 1] to [−1, 1], of some unit size and around 0, as the forward process wants them."""
    return 2 * x - 1


def drop_labels(y: Tensor, null: int, share: float, generator: torch.Generator | None = None) -> Tensor:
    """Each label replaced by ``null``, "no class given", with chance ``share``: (B,) → (B,)."""
    dropped = torch.rand(y.shape, generator=generator, device=y.device) < share
    return torch.where(dropped, null, y)


def diffusion_step(batches: Iterator, net: nn.Module, opt: torch.optim.Optimizer, schedule: Schedule,
                   predicts: str = "eps", weighted_as: str | None = None, prepare: Callable[[Tensor], Tensor] = centred,
                   unlabelled: float = 0.1) -> dict[str, Tensor]:
    """One pass of Ho, Jain and Abbeel 2020, Algorithm 1: a time for each image, noise, and the guess of the network.

    batches: of images, or of pairs (images, labels); labels are dropped with chance ``unlabelled``, so that one
    network learns p(x|y) and p(x) (Ho and Salimans 2021, Algorithm 1). prepare: what is done to the images first.
    predicts, weighted_as: see ``LOSSES``. net: (x_t, t) or (x_t, t, y) → x_t's shape.
    """
    require_one_of("predicts", predicts, PREDICTS)
    batch = next(batches)
    x0, *y = batch if isinstance(batch, tuple | list) else (batch,)
    x0 = prepare(x0)
    t = torch.randint(1, schedule.T + 1, (len(x0),), device=x0.device)
    eps = torch.randn_like(x0)
    told = [drop_labels(labels, net.null, unlabelled) for labels in y]
    output = full_precision(net(q_sample(schedule, x0, t, eps), t, *told))
    loss = LOSSES[predicts](output, x0, eps, schedule, t, weighted_as or predicts).mean()
    update(opt, loss)
    return {"loss": loss.detach()}
