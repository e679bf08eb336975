"""Autoencoders: losses, the training step, and the ways to spoil an input that they learn to mend."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor, nn

from course_lib.checks import require, require_same_shape, require_shape
from course_lib.training import update


def ae_loss(x_hat: Tensor, x: Tensor, weight: Tensor | None = None) -> Tensor:
    """(1/n) Σ_i ‖x̂_i − x_i‖²: the squared error summed over an image's pixels, its mean over the n images.

    x_hat, x: (B, …), equal in shape; weight: one weight a pixel, of that shape too, or None for 1 everywhere.
    Returns a scalar, in squared units of x. Raises ValueError where the shapes differ.
    """
    require_same_shape(x_hat=x_hat, x=x)
    error = (x_hat - x).square()
    if weight is not None:
        require_same_shape(weight=weight, x=x)
        error = weight * error
    return error.flatten(1).sum(1).mean()


def ae_step(batches: Iterator[Tensor], model: nn.Module, opt: torch.optim.Optimizer,
            spoil: Callable[[Tensor], Tensor] | None = None,
            weight: Callable[[Tensor], Tensor] | None = None) -> dict[str, Tensor]:
    """One step of an autoencoder. With ``spoil`` it is a denoising autoencoder: a spoilt image goes in, the whole
    image is the target (Vincent et al. 2008, section 2.3). ``weight`` gives each pixel's weight from the target."""
    x = next(batches)                                   # (B, C, H, W) in [0, 1]
    x_in = x if spoil is None else spoil(x)
    loss = ae_loss(model(x_in), x, None if weight is None else weight(x))
    update(opt, loss)
    return {"loss": loss.detach()}


def edge_weight(x: Tensor, strength: float = 4.0) -> Tensor:
    """1 + strength · (the largest step from a pixel to one of its four neighbours): (B, C, H, W) → the same shape.

    Weights for ``ae_loss`` that count a miss near an edge more. Raises ValueError for a strength below 0.
    """
    require(strength >= 0, f"strength is {strength}; it must be at least 0 (0 weighs all pixels alike).")
    require_shape("x", x, None, None, None, None)
    down, across = (x[:, :, 1:] - x[:, :, :-1]).abs(), (x[..., 1:] - x[..., :-1]).abs()
    step = torch.zeros_like(x)
    step[:, :, 1:] = torch.maximum(step[:, :, 1:], down)
    step[:, :, :-1] = torch.maximum(step[:, :, :-1], down)
    step[..., 1:] = torch.maximum(step[..., 1:], across)
    step[..., :-1] = torch.maximum(step[..., :-1], across)
    return 1 + strength * step


# --- spoiling an image ---------------------------------------------------------------------------------------------

def add_noise(x: Tensor, sigma: float | Tensor, generator: torch.Generator | None = None) -> Tensor:
    """x + σ·ε with ε ~ N(0, I), not clipped.

    sigma: one number, or one for each image (B,); at least 0, in units of x. Raises ValueError otherwise.
    """
    sigma = torch.as_tensor(sigma, dtype=x.dtype, device=x.device)
    require(bool((sigma >= 0).all()), f"sigma is {sigma.min().item():g}; a standard deviation must be at least 0.")
    if sigma.ndim:
        require_shape("sigma", sigma, len(x))
        sigma = sigma.view(-1, *[1] * (x.ndim - 1))
    return x + sigma * torch.randn(x.shape, generator=generator, dtype=x.dtype, device=x.device)


def box_mask(x: Tensor, size: int, generator: torch.Generator | None = None) -> Tensor:
    """A square at a random place of each image: bool (B, 1, H, W), True inside.

    size: 1 … min(H, W) pixels; every place at which the square fits is equally likely. Raises ValueError otherwise.
    """
    require_shape("x", x, None, None, None, None)
    b, _, h, w = x.shape
    require(1 <= size <= min(h, w), f"size is {size}; it must be from 1 to {min(h, w)} pixels for images of {h}×{w}.")
    top = torch.randint(h - size + 1, (b, 1), generator=generator, device=x.device)
    left = torch.randint(w - size + 1, (b, 1), generator=generator, device=x.device)
    rows, columns = torch.arange(h, device=x.device), torch.arange(w, device=x.device)
    in_rows = (rows >= top) & (rows < top + size)                # (B, H)
    in_columns = (columns >= left) & (columns < left + size)     # (B, W)
    return (in_rows[:, :, None] & in_columns[:, None, :]).unsqueeze(1)


def hide(x: Tensor, mask: Tensor) -> Tensor:
    """x with the pixels under ``mask`` (bool, broadcast over channels) set to mid-grey, 0.5: neither ink nor paper."""
    return torch.where(mask, torch.full_like(x, 0.5), x)


def noise_of_any_level(x: Tensor) -> Tensor:
    """Each image with its own noise, σ ~ U[0, 1]: what the course's denoiser is trained on."""
    return add_noise(x, torch.rand(len(x), device=x.device))


def box_hidden(x: Tensor) -> Tensor:
    """Each image with a square of 12×12 pixels hidden at a random place: what the course's in-painter is trained on."""
    return hide(x, box_mask(x, 12))


def linear_denoiser(train: Tensor, sigma: float) -> Callable[[Tensor], Tensor]:
    """The best linear way to take off noise of a known σ: x̂ = m + C (C + σ²I)⁻¹ (x̃ − m). Wiener 1949.

    train: (N, …), from which mean m and covariance C are taken. Returns a function (M, …) → (M, …).
    """
    require(sigma > 0, f"sigma is {sigma}; it must be above 0 (without noise there is nothing to take off).")
    flat = train.flatten(1).double()
    mean, covariance = flat.mean(0), torch.cov(flat.T)
    gain = torch.linalg.solve(covariance + sigma**2 * torch.eye(len(mean), dtype=flat.dtype, device=flat.device),
                              covariance)                                     # equals C (C + σ²I)⁻¹: they commute
    mean, gain = mean.to(train.dtype), gain.to(train.dtype)
    return lambda x: (mean + (x.flatten(1) - mean) @ gain).view_as(x)


def denoising_errors(denoiser: Callable[[Tensor], Tensor], train: Tensor, x: Tensor, sigmas: Sequence[float],
                     generator: torch.Generator | None = None) -> list[dict[str, float]]:
    """Squared errors per image at several levels of noise: noisy, after the best blur, the best linear way, a denoiser.

    The best blur is a Gaussian whose width (0.3 … 2 pixels) is chosen on x itself; the best linear way is
    ``linear_denoiser(train, σ)``. Both are told σ, in effect; the denoiser is not.
    Returns [{"noise σ": σ, "noisy": …, "best blur": …, "best linear": …, "denoiser": …}, …].
    """
    rows = []
    for sigma in sigmas:
        noisy = add_noise(x, sigma, generator)
        array = noisy.cpu().numpy()
        blurred = [gaussian_filter(array, (0, 0, width, width)) for width in np.arange(0.3, 2.05, 0.1)]
        with torch.no_grad():
            rows.append({"noise σ": sigma, "noisy": ae_loss(noisy, x).item(),
                         "best blur": min(ae_loss(torch.from_numpy(b).to(x), x).item() for b in blurred),
                         "best linear": ae_loss(linear_denoiser(train, sigma)(noisy), x).item(),
                         "denoiser": ae_loss(denoiser(noisy), x).item()})
    return rows


# --- restricting the code by the loss ------------------------------------------------------------------------------

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


# --- variational autoencoders: what the faces were tried with (chapter 02 derives it) --------------------------------

def kl_normal(mu: Tensor, log_var: Tensor) -> Tensor:
    """KL of a diagonal Gaussian from the standard normal, in nats.

    mu, log_var: (B, d), means and log variances of q(z|x). Returns (B,), summed over the d dimensions.
    Raises ValueError where the shapes differ.  Kingma & Welling 2014, appendix B.
    """
    require_same_shape(mu=mu, log_var=log_var)
    return 0.5 * (mu.square() + log_var.exp() - 1 - log_var).sum(dim=1)


def gaussian_nll(x_hat: Tensor, x: Tensor) -> Tensor:
    """−log N(x | x̂, σ²I) in nats, the mean over the n images, at the σ² that makes it least: the mean squared error.

    x_hat, x: (B, …), equal in shape. With D numbers an image, Σ(x − x̂)²/(2σ²) is then D/2, so that the whole is
    (D/2)(log 2πσ² + 1); a scalar. Raises ValueError where the shapes differ. Rybkin et al. 2021, section 4.2.
    """
    require_same_shape(x_hat=x_hat, x=x)
    variance = (x_hat - x).square().mean()
    return 0.5 * x[0].numel() * ((2 * torch.pi * variance).log() + 1)


def vae_step(batches: Iterator[Tensor], model: nn.Module, opt: torch.optim.Optimizer) -> dict[str, Tensor]:
    """One step of a VAE: one sample z = μ + σ·ε an image, and down the negative ELBO. Kingma & Welling 2014, alg. 1."""
    x = next(batches)                                   # (B, C, H, W) in [0, 1]
    mu, log_var = model.encode(x)                       # (B, d) each
    z = mu + (log_var / 2).exp() * torch.randn_like(mu)
    nll, kl = gaussian_nll(model.decode(z), x), kl_normal(mu, log_var).mean()
    update(opt, nll + kl)
    return {"nll": nll.detach(), "kl": kl.detach()}
