"""Adversarial networks: the losses, the training step, and the gradient reversed.

A discriminator gives logits l, (B,); D = sigmoid(l) is the probability that x is real, log D = log σ(l) and
log(1 − D) = log σ(−l), so no log is ever taken of a 0. Losses are to be minimised. Siblings share one signature:
(real_logits, fake_logits) → scalar for the discriminator, (fake_logits) → scalar for the generator.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid, relu

from course_lib.checks import require, require_shape
from course_lib.training import update

# --- the losses ------------------------------------------------------------------------------------------------------

def minimax_discriminator_loss(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """−(1/m) Σ [log D(x) + log(1 − D(G(z)))]: the discriminator ascends V(G, D), so it descends −V.

    real_logits: (B,); fake_logits: (B',). Returns a scalar, in nats; 2 log 2 where D = ½ everywhere. Raises ValueError
    for other shapes.  Goodfellow et al. 2014, equation 1.
    """
    _require_logits(real_logits=real_logits, fake_logits=fake_logits)
    return -(logsigmoid(real_logits).mean() + logsigmoid(-fake_logits).mean())


def minimax_generator_loss(fake_logits: Tensor) -> Tensor:
    """(1/m) Σ log(1 − D(G(z))): "saturating", its slope −D vanishes where the discriminator is sure.

    fake_logits: (B,). Returns a scalar, in nats. Raises ValueError for other shapes.  Goodfellow et al. 2014,
    equation 1.
    """
    _require_logits(fake_logits=fake_logits)
    return logsigmoid(-fake_logits).mean()


def non_saturating_generator_loss(fake_logits: Tensor) -> Tensor:
    """−(1/m) Σ log D(G(z)): the same fixed point, and a slope −(1 − D) that is largest where D is sure.

    fake_logits: (B,). Returns a scalar, in nats. Raises ValueError for other shapes.  Goodfellow et al. 2014,
    section 3.
    """
    _require_logits(fake_logits=fake_logits)
    return -logsigmoid(fake_logits).mean()


def least_squares_discriminator_loss(real_logits: Tensor, fake_logits: Tensor, a: float = 0.0,
                                     b: float = 1.0) -> Tensor:
    """½ (1/m) Σ (l(x) − b)² + ½ (1/m) Σ (l(G(z)) − a)²: a is the label of fakes, b that of real ones.

    real_logits: (B,); fake_logits: (B',). Returns a scalar; here l is no logit but the output itself, whose best is
    (b p_r + a p_g)/(p_r + p_g). Raises ValueError for other shapes.  Mao et al. 2017, equation 2.
    """
    _require_logits(real_logits=real_logits, fake_logits=fake_logits)
    return 0.5 * ((real_logits - b).square().mean() + (fake_logits - a).square().mean())


def least_squares_generator_loss(fake_logits: Tensor, c: float = 1.0) -> Tensor:
    """½ (1/m) Σ (l(G(z)) − c)²: c is what the generator wants the discriminator to say.

    a, b, c are 0, 1, 1 by default. With −1, 1, 0 and the best discriminator it becomes a divergence, once the same mean
    over real data, in which there is no G, is added: ½ ∫ (p_r − p_g)²/(p_r + p_g) dx, Pearson's χ² of 2 p_g from
    p_r + p_g, halved. fake_logits: (B,). Returns a scalar. Raises ValueError for other shapes.  Mao et al. 2017,
    equation 2.
    """
    _require_logits(fake_logits=fake_logits)
    return 0.5 * (fake_logits - c).square().mean()


def hinge_discriminator_loss(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """(1/m) Σ max(0, 1 − l(x)) + (1/m) Σ max(0, 1 + l(G(z))): what is right by a margin of 1 is left alone.

    real_logits: (B,); fake_logits: (B',). Returns a scalar. Raises ValueError for other shapes.  Lim & Ye 2017;
    Miyato et al. 2018, equation 16.
    """
    _require_logits(real_logits=real_logits, fake_logits=fake_logits)
    return relu(1 - real_logits).mean() + relu(1 + fake_logits).mean()


def hinge_generator_loss(fake_logits: Tensor) -> Tensor:
    """−(1/m) Σ l(G(z)): a slope of −1 everywhere. fake_logits: (B,). Returns a scalar.

    Raises ValueError for other shapes.  Lim & Ye 2017; Miyato et al. 2018, equation 17.
    """
    _require_logits(fake_logits=fake_logits)
    return -fake_logits.mean()


def minimax_generator_slope(logits: Tensor) -> Tensor:
    """d/dl log(1 − σ(l)) = −σ(l) = −D: what one sample passes on to its generator. Any shape → the same."""
    return -torch.sigmoid(logits)


def non_saturating_generator_slope(logits: Tensor) -> Tensor:
    """d/dl [−log σ(l)] = −(1 − σ(l)) = −σ(−l) = −(1 − D). Any shape → the same."""
    return -torch.sigmoid(-logits)


class Losses(NamedTuple):
    """What the two players minimise, see ``gan_step``."""

    discriminator: Callable[[Tensor, Tensor], Tensor]
    generator: Callable[[Tensor], Tensor]


MINIMAX = Losses(minimax_discriminator_loss, minimax_generator_loss)
NON_SATURATING = Losses(minimax_discriminator_loss, non_saturating_generator_loss)
LEAST_SQUARES = Losses(least_squares_discriminator_loss, least_squares_generator_loss)
HINGE = Losses(hinge_discriminator_loss, hinge_generator_loss)


def _require_logits(**logits):
    for name, tensor in logits.items():                 # (B, 1) against (B,) or a map of logits: a mean over what?
        require_shape(name, tensor, None)
        require(len(tensor) >= 1, f"{name} is empty; a loss is a mean over one sample at least.")


# --- the step --------------------------------------------------------------------------------------------------------

def gan_step(batches: Iterator[Tensor], G: nn.Module, D: nn.Module, opt_G: torch.optim.Optimizer,
             opt_D: torch.optim.Optimizer, k: int = 1, losses: Losses = NON_SATURATING) -> dict[str, Tensor]:
    """k steps of the discriminator, each on a new batch and new noise, then one of the generator.

    Goodfellow et al. 2014, Algorithm 1; as printed there with ``losses=MINIMAX``, as they recommend by default.
    G: a network with ``noise(n)``; D: gives logits (B,). Returns both losses, detached: "D" of the last inner step,
    before its update, and "G". Raises ValueError for k below 1.
    """
    require(k >= 1, f"k is {k}; it must be at least 1 step of the discriminator.")
    discriminator_loss, generator_loss = losses
    for _ in range(k):
        x = next(batches); z = G.noise(len(x))
        loss_D = discriminator_loss(D(x), D(G(z).detach()))
        update(opt_D, loss_D)
    loss_G = generator_loss(D(G(G.noise(len(x)))))
    update(opt_G, loss_G)
    return {"D": loss_D.detach(), "G": loss_G.detach()}


def discriminator_step(batches: Iterator[Tensor], G: nn.Module, D: nn.Module, opt_D: torch.optim.Optimizer,
                       losses: Losses = NON_SATURATING) -> dict[str, Tensor]:
    """The inner step of ``gan_step`` alone: the discriminator learns against a generator that stands still.

    Run long enough, it comes near D*. Returns its loss before the update, detached.
    """
    x = next(batches)
    with torch.no_grad():
        fake = G(G.noise(len(x)))
    loss = losses.discriminator(D(x), D(fake))
    update(opt_D, loss)
    return {"D": loss.detach()}


class _Reversal(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, scale):
        ctx.scale = scale
        return x.view_as(x)

    @staticmethod
    def backward(ctx, gradient):
        return -ctx.scale * gradient, None


def gradient_reversal(x: Tensor, scale: float = 1.0) -> Tensor:
    """x itself going forward; going back, −scale times the gradient. So D(gradient_reversal(G(z))) is one network:

    one descent of the discriminator's loss improves D and, by the turned sign, sends G up the same loss: both players
    of the minimax game in one backward pass, at once. scale: 0 or more (0 stops the gradient). Raises ValueError for
    a scale below 0.  Ganin & Lempitsky 2015, section 3.
    """
    require(scale >= 0, f"scale is {scale}; it must be at least 0: the sign is turned already.")
    return _Reversal.apply(x, scale)
