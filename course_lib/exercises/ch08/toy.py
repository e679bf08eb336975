"""A VAE/GAN of three matrices, small enough for a check to know every gradient of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from course_lib.gans import VAEGANLosses, vaegan_losses


class Net(nn.Module):
    """One matrix of weights. A check hands it over as it is, with no copy, so that gradients can be read there."""

    def __init__(self, weight: Tensor):
        super().__init__()
        self.weight = nn.Parameter(weight)

    def __deepcopy__(self, memo: dict) -> Net:
        return self


class Batch(NamedTuple):
    """x: (B, 4) data; eps, z_p: (B, 2), noise for z ~ q(z|x) and for z ~ p(z)."""

    x: Tensor
    eps: Tensor
    z_p: Tensor


def draw_toy(seed: int = 16) -> tuple[tuple[Tensor, Tensor, Tensor], Batch]:
    """The weights of Enc (4, 4), Dec (2, 4) and Dis (4, 3), and a batch of 6."""
    draw = torch.Generator().manual_seed(seed)
    weights = [torch.randn(shape, generator=draw) for shape in ((4, 4), (2, 4), (4, 3))]
    x, eps, z_p = (torch.randn((6, n), generator=draw) for n in (4, 2, 2))
    return tuple(weights), Batch(x + 0.5, eps, z_p)


def three_terms(W_enc: Tensor, W_dec: Tensor, W_dis: Tensor, batch: Batch) -> VAEGANLosses:
    """L_prior, L_llike and L_GAN where each network is x → tanh(x W); the logit is the sum of Dis's three features."""
    mu, log_var = (batch.x @ W_enc).tanh().chunk(2, 1)
    z = mu + (log_var / 2).exp() * batch.eps
    made = [(code @ W_dec).tanh() for code in (z, batch.z_p)]
    features = [(image @ W_dis).tanh() for image in (batch.x, *made)]
    return vaegan_losses(mu, log_var, *features[:2], *(f.sum(1) for f in features))


def gradients(terms: Sequence[Tensor], weight: Tensor) -> list[Tensor]:
    """Each term's gradient in one network's weights; 0 where it does not depend on them."""
    grads = [torch.autograd.grad(term, weight, retain_graph=True, allow_unused=True)[0] for term in terms]
    return [torch.zeros_like(weight) if grad is None else grad for grad in grads]


def shares(of: Tensor, parts: Sequence[Tensor]) -> list[float] | None:
    """The numbers c with of = Σ c·part, 0 for a part that is 0 itself; None where there are none, up to rounding."""
    table = torch.stack([part.detach().double().flatten() for part in parts], 1)
    target = of.detach().double().flatten()
    if not target.isfinite().all():
        return None
    found = torch.linalg.lstsq(table, target[:, None], driver="gelsd").solution[:, 0]
    left = (table @ found - target).norm()
    return found.tolist() if left <= 1e-4 * (target.norm() + 1e-2) else None
