"""The Fréchet distance of two sets of features, by the Gaussians fitted to them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from course_lib.checks import require, require_same_shape, require_shape
from course_lib.metrics.blocks import as_floats


class FeatureStatistics(NamedTuple):
    """Mean (d,) and covariance (d, d), divided by n − 1, of n feature vectors: float64."""

    mean: Tensor
    cov: Tensor
    n: int


@torch.no_grad()
def feature_statistics(features_of: Callable[[Tensor], Tensor], images: Tensor | Iterable[Tensor],
                       block: int = 500) -> FeatureStatistics:
    """Mean and covariance of the features of a set of images, which are never held all at once.

    features_of: (B, …) → (B, d), such as a classifier's ``features``.  images: (N, …), taken in blocks of ``block``, or
    batches of any sizes, one after the other; uint8 counts as 0 … 255 and is divided by 255.  n >= 2 in all.
    Each block's mean and sum of squared deviations are merged into those so far (Chan, Golub and LeVeque 1983), in
    float64: unlike E[xxᵀ] − μμᵀ this loses nothing where the mean is large.
    Raises ValueError for fewer than 2 images, features that are no finite (B, d), or a network in training mode.
    """
    _require_eval(features_of)
    require(block >= 1, f"block is {block}; it must be 1 or more.")
    n, mean, squares = 0, None, None
    for part in images.split(block) if isinstance(images, Tensor) else images:
        if len(part) == 0:
            continue
        x = features_of(as_floats(part)).double()
        require_shape("features_of(images)", x, len(part), None if mean is None else len(mean))
        m, centre = len(x), x.mean(0)
        require(bool(centre.isfinite().all()), f"the features of images {n} to {n + m - 1} are not all finite.")
        if mean is None:
            mean, squares = torch.zeros_like(centre), x.new_zeros(x.shape[1], x.shape[1])
        apart, deviations = centre - mean, x - centre
        squares += deviations.T @ deviations + torch.outer(apart, apart) * (n * m / (n + m))
        mean += apart * (m / (n + m))
        n += m
    require(n >= 2, f"there are {n} images; a covariance needs 2 or more.")
    return FeatureStatistics(mean, (squares + squares.T) / (2 * (n - 1)), n)


def _require_eval(features_of):
    network = getattr(features_of, "__self__", features_of)         # a method knows the object that it belongs to
    parts = network.modules() if isinstance(network, nn.Module) else []
    depend = (nn.modules.batchnorm._BatchNorm, nn.modules.dropout._DropoutNd)
    require(not any(isinstance(part, depend) and part.training for part in parts),
            "the network is in training mode: its features would depend on the batch or on chance. Call its eval().")


def frechet_distance(mu1: Tensor, cov1: Tensor, mu2: Tensor, cov2: Tensor) -> float:
    """‖μ₁ − μ₂‖² + tr(C₁ + C₂ − 2 (C₁C₂)^½): the *squared* Fréchet distance of N(μ₁, C₁) and N(μ₂, C₂), as FID is.

    mu1, mu2: (d,); cov1, cov2: (d, d), symmetric, without negative eigenvalues, singular ones allowed. In squared
    units of the features; computed in float64.  Dowson and Landau 1982; Heusel et al. 2017, equation 6.

    The product C₁C₂ is not symmetric and its square root not unique, and routines for it fail or turn complex where a
    covariance is singular. None is needed. With any roots C₁ = AAᵀ and C₂ = BBᵀ, the last three terms are the smallest
    ‖A − BU‖² over orthogonal U, taken at U = WVᵀ from the singular values BᵀA = W S Vᵀ; and tr (C₁C₂)^½ = tr S. As a
    sum of squares it is never complex or negative, and keeps its digits where the two are nearly equal.
    Raises ValueError for what is no mean and covariance: other shapes, not finite, asymmetric, a negative eigenvalue.
    """
    (mu1, a), (mu2, b) = _mean_and_root("1", mu1, cov1), _mean_and_root("2", mu2, cov2)
    require_same_shape(mu1=mu1, mu2=mu2)
    w, _, v = torch.linalg.svd(b.T @ a)
    return ((mu1 - mu2).square().sum() + (a - b @ (w @ v)).square().sum()).item()


def whitened(features: Tensor, statistics: FeatureStatistics) -> Tensor:
    """Features in units of the real ones: (x − μ) C^(−½), float64, (N, d) → (N, d).

    statistics: of real features; after this the real ones have mean 0 and covariance I. A Fréchet distance of whitened
    features weighs each direction by how much the data vary in it, not by how large a network made it, and stays the
    same under any linear map of the features. Raises ValueError for other shapes, and where C is singular: a
    direction without variance has no unit.
    """
    require_shape("features", features, None, len(statistics.mean))
    values, axes = torch.linalg.eigh(statistics.cov)
    require(values.min().item() > 1e-9 * values.max().item(),
            f"the covariance is singular (eigenvalues from {values.min().item():.3g} to {values.max().item():.3g}): "
            "leave features that are never active out, or take more images.")
    return (features.double() - statistics.mean) @ (axes / values.sqrt()) @ axes.T


def _mean_and_root(which: str, mu, cov) -> tuple[Tensor, Tensor]:
    """mu, and some A with AAᵀ = cov: float64, on the CPU."""
    mu, cov = torch.as_tensor(mu).detach().cpu(), torch.as_tensor(cov).detach().cpu()
    require_shape(f"mu{which}", mu, None)
    require_shape(f"cov{which}", cov, len(mu), len(mu))
    rounding = torch.finfo(cov.dtype if cov.is_floating_point() else torch.float64).eps ** 0.5
    mu, cov = mu.double(), cov.double()
    require(bool(mu.isfinite().all() and cov.isfinite().all()), f"mu{which} or cov{which} is not finite.")
    scale = cov.abs().max().item()
    require((cov - cov.T).abs().max().item() <= rounding * scale,
            f"cov{which} is not symmetric, so it is no covariance.")
    values, axes = torch.linalg.eigh((cov + cov.T) / 2)
    require(values.min().item() >= -rounding * scale,
            f"cov{which} has the eigenvalue {values.min().item():.3g}: it is no covariance.")
    return mu, axes * values.clamp_min(0).sqrt()                    # what rounding leaves below 0 is 0
