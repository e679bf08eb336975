"""Autoencoders: the loss, the training step, and the ways to spoil an input that they learn to mend."""

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
