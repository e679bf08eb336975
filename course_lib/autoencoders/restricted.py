"""Codes restricted by the loss, sparse or contractive, and what can be measured of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from course_lib.autoencoders.plain import add_noise, ae_loss
from course_lib.checks import require_same_shape, require_shape
from course_lib.training import update


def sparse_penalty(z: Tensor) -> Tensor:
    """(1/n) Σ_i ‖z_i‖₁: an image's codes (B, d), without their signs, summed over the d units; mean over the n images.

    Olshausen & Field 1996, equation 4 with S(a) = |a|. It says something only where the decoder cannot grow by as much
    as the codes shrink: with tied weights, or with atoms of fixed length. Returns a scalar, in units of z.
    """
    require_shape("z", z, None, None)
    return z.abs().sum(1).mean()


def contractive_penalty(z: Tensor, weight: Tensor) -> Tensor:
    """(1/n) Σ_i ‖∂z_i/∂x_i‖², all squared derivatives summed, for an encoder z = sigmoid(W x + b), in closed form.

    z: (B, d), the codes; weight: W, (d, pixels). Since ∂z_j/∂x_k = z_j (1 − z_j) W_jk, one image's share is
    Σ_j (z_j (1 − z_j))² Σ_k W_jk². Returns a scalar; for any other encoder take the squares of ``encoder_jacobian``.
    Raises ValueError where z and weight are not of one number of units. Rifai et al. 2011.
    """
    require_shape("z", z, None, None)
    require_shape("weight", weight, z.shape[1], None)
    return ((z * (1 - z)).square() @ weight.square().sum(1)).mean()


def restricted_ae_step(batches: Iterator[Tensor], model: nn.Module, opt: torch.optim.Optimizer,
                       penalty: Callable[[Tensor], Tensor], strength: float) -> dict[str, Tensor]:
    """One step of an autoencoder whose codes z cost strength · penalty(z): ``ae_step`` with a second term."""
    x = next(batches)                                   # (B, C, H, W) in [0, 1]
    z = model.encode(x)                                 # (B, d)
    error, cost = ae_loss(model.decode(z), x), penalty(z)
    update(opt, error + strength * cost)
    return {"error": error.detach(), "penalty": cost.detach()}


def encoder_jacobian(encode: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """∂z/∂x at each x, exactly: (B, …) → (B, d, pixels). ``encode`` must treat each image by itself (no batch norm)."""
    jacobian = torch.func.vmap(torch.func.jacrev(lambda one: encode(one[None])[0]))(x)         # (B, d, …)
    return jacobian.flatten(2)


def free_directions(jacobian: Tensor) -> Tensor:
    """In how many directions of x a code moves, in effect: (B, d, pixels) → (B,), from 1 to d.

    (Σ s²)² / Σ s⁴ of the singular values s: k where k of them are equal and the others 0 (participation ratio).
    """
    gram = jacobian @ jacobian.mT                                                      # (B, d, d), eigenvalues s²
    return gram.diagonal(dim1=1, dim2=2).sum(1).square() / gram.square().sum((1, 2))


@torch.no_grad()
def noise_passed(model: Callable[[Tensor], Tensor], x: Tensor, sigma: float = 0.3,
                 generator: torch.Generator | None = None) -> float:
    """Σ ‖model(x + σε) − model(x)‖² / Σ ‖σε‖²: the share of the noise's energy that comes out again; 1 for a copy."""
    noisy = add_noise(x, sigma, generator)
    return ((model(noisy) - model(x)).square().sum() / (noisy - x).square().sum()).item()


@torch.no_grad()
def moves_of_codes(encode: Callable[[Tensor], Tensor], x: Tensor, changed: Tensor,
                   generator: torch.Generator | None = None) -> Tensor:
    """How much farther a code moves for a change of its image than for noise of the same length: (B, …) → (B,).

    ‖q(x′) − q(x)‖ / ‖q(x + n) − q(x)‖ with ‖n‖ = ‖x′ − x‖, n's direction random. No scale of the codes changes it.
    """
    require_same_shape(changed=changed, x=x)
    noise = torch.randn(x.shape, generator=generator, dtype=x.dtype, device=x.device).flatten(1)
    length = (changed - x).flatten(1).norm(dim=1, keepdim=True)
    noise = (length * noise / noise.norm(dim=1, keepdim=True)).view_as(x)
    z = encode(x)
    return (encode(changed) - z).norm(dim=1) / (encode(x + noise) - z).norm(dim=1)


@torch.no_grad()
def strongest_parts(model: nn.Module, x: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """What a ``networks.OneLayer`` builds one image from: the n largest of its parts z_j · (atom j), and their sums.

    x: (1, C, H, W). Returns two (n, C, H, W): the parts, largest first, and c + the first, the first two, … of them.
    """
    require_shape("x", x, 1, None, None, None)
    parts = model.encode(x)[0, :, None] * model.atoms                                  # (units, pixels)
    parts = parts[parts.norm(dim=1).topk(n).indices]
    return parts.view(n, *x.shape[1:]), (model.offset + parts.cumsum(0)).view(n, *x.shape[1:])
