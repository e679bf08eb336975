"""Wasserstein GANs: the critic's gap as the game's value, and two ways to hold the critic's slope in a step.

The third way, dividing each layer's slope out, is a matter of the network: ``networks.spectrally_normalised``.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from course_lib.checks import require
from course_lib.gans.adversarial import hinge_generator_loss
from course_lib.gans.critics import critic_loss, gradient_penalty
from course_lib.networks import Generator
from course_lib.training import update


@torch.no_grad()
def clip_weights(net: nn.Module, c: float) -> None:
    """Moves every weight and bias of net into [−c, c], in place: w ← clip(w, −c, c).

    c: above 0, in the weights' own units. Weights are clipped, not gradients. Buffers, such as running means, are left
    as they are. Raises ValueError for another c.  Arjovsky et al. 2017, Algorithm 1, line 7.
    """
    require(0 < c < float("inf"), f"c is {c}; it must be a finite number above 0: the paper takes 0.01.")
    for w in net.parameters():
        w.clamp_(-c, c)


def wgan_step(batches: Iterator[Tensor], G: Generator, f: nn.Module, opt_G: torch.optim.Optimizer,
              opt_f: torch.optim.Optimizer, n_critic: int = 5, clip: float = 0.01) -> dict[str, Tensor]:
    """One round of the loop of Arjovsky et al. 2017, Algorithm 1: n_critic steps of the critic f, then one of G.

    The paper's settings: both optimizers ``training.rmsprop`` at 5e-5, 64 points a batch, n_critic = 5, c = 0.01.
    Returns "gap", mean f(x) − mean f(G(z)) on the critic's last batch before its update, and "G", −mean f(G(z));
    detached, in units of f. Raises ValueError for n_critic below 1 or clip not above 0.
    """
    _require_rounds(n_critic)
    for _ in range(n_critic):
        x = next(batches)                                       # x ~ p_r
        with torch.no_grad():
            y = G(G.noise(len(x)))                              # z ~ p_z
        loss_f = critic_loss(f(x), f(y))
        update(opt_f, loss_f)
        clip_weights(f, clip)
    loss_G = hinge_generator_loss(f(G(G.noise(len(x)))))        # −mean f(G(z)), the hinge's generator loss as well
    update(opt_G, loss_G)
    return {"gap": -loss_f.detach(), "G": loss_G.detach()}


def wgan_gp_step(batches: Iterator[Tensor], G: Generator, f: nn.Module, opt_G: torch.optim.Optimizer,
                 opt_f: torch.optim.Optimizer, n_critic: int = 5, penalty: float = 10.0) -> dict[str, Tensor]:
    """One round of the loop of Gulrajani et al. 2017, Algorithm 1: the penalty of the slope in place of the clipping.

    f: a critic without batch norm: the penalty speaks of each row by itself. penalty: λ. The paper's settings: both
    optimizers Adam at 1e-4 with β = (0, 0.9), 64 a batch, n_critic = 5, λ = 10. Returns "gap" and "penalty", before λ,
    both on the critic's last batch before its update, and "G"; detached. Raises ValueError for n_critic below 1, a
    penalty below 0, or a critic with batch norm.
    """
    _require_rounds(n_critic)
    require(penalty >= 0, f"penalty is {penalty}; it must be 0 or more: the paper takes 10.")
    require(not any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in f.modules()),
            "the critic has batch norm: an image's value then depends on its batch, and the penalty on the slope at "
            "each image by itself means nothing; leave it out, or use another norm (LayerNorm, GroupNorm).")
    for _ in range(n_critic):
        x = next(batches)                                       # x ~ p_r
        with torch.no_grad():
            y = G(G.noise(len(x)))                              # z ~ p_z
        eps = torch.rand(len(x), dtype=x.dtype, device=x.device)            # one for each sample
        loss_f, steep = critic_loss(f(x), f(y)), gradient_penalty(f, x, y, eps)
        update(opt_f, loss_f + penalty * steep)
    loss_G = hinge_generator_loss(f(G(G.noise(len(x)))))
    update(opt_G, loss_G)
    return {"gap": -loss_f.detach(), "penalty": steep.detach(), "G": loss_G.detach()}


def _require_rounds(n_critic: int) -> None:
    require(n_critic >= 1, f"n_critic is {n_critic}; the critic must make 1 step at least.")
