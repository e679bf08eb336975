"""Latent points drawn from what is known of the training codes, and the images near them."""

from __future__ import annotations

import torch
from torch import Tensor

from course_lib.checks import require, require_one_of

RULES = ("normal", "box", "fitted", "mixture")


def sample_latents(codes: Tensor, where: str, n: int, generator: torch.Generator | None = None) -> Tensor:
    """n latent points (n, d) drawn by one of four rules from what is known of the training codes (N, d).

    "normal": z ~ N(0, I), whatever the codes are.  "box": uniform in the box that holds the middle 99 % of each
    latent.  "fitted": z ~ N(mean, covariance) of the codes.  "mixture": from a mixture of 50 Gaussians with full
    covariances, fitted by EM to at most 20,000 of the codes.  Raises ValueError for another name.
    """
    require_one_of("where", where, RULES)
    d = codes.shape[1]
    like = {"generator": generator, "dtype": codes.dtype, "device": codes.device}
    if where == "normal":
        return torch.randn(n, d, **like)
    if where == "box":
        low, high = box_of_codes(codes)
        return low + torch.rand(n, d, **like) * (high - low)
    if where == "fitted":
        factor, singular = torch.linalg.cholesky_ex(torch.cov(codes.T).view(d, d))
        if singular:  # some latents never change, or one is a sum of others: any root of the covariance will do
            variance, axes = torch.linalg.eigh(torch.cov(codes.T).view(d, d).double())
            factor = (axes * variance.clamp_min(0).sqrt()).to(codes.dtype)                # factor factorᵀ = covariance
        return codes.mean(0) + torch.randn(n, d, **like) @ factor.T
    from sklearn.mixture import GaussianMixture
    mean, spread = codes.mean(0), codes.std(0)
    seed = int(torch.randint(2**31, (1,), generator=generator, device=codes.device))
    mixture = GaussianMixture(50, reg_covar=1e-3, max_iter=50, tol=1e-2, random_state=seed)
    drawn = mixture.fit(((codes[:20_000] - mean) / spread).double().cpu().numpy()).sample(n)[0]
    order = torch.randperm(n, generator=generator, device=codes.device)  # scikit-learn gives component by component
    return mean + torch.from_numpy(drawn).to(codes)[order] * spread


def box_of_codes(codes: Tensor, share: float = 0.99) -> tuple[Tensor, Tensor]:
    """The lower and the upper end of the middle ``share`` of each latent: (N, d) → (d,), (d,)."""
    require(0 < share <= 1, f"share is {share}; it must be above 0 and at most 1.")
    tail = (1 - share) / 2
    ordered = codes.sort(0).values  # torch.quantile refuses more than 16 million numbers
    return ordered[round(tail * (len(codes) - 1))], ordered[round((1 - tail) * (len(codes) - 1))]


def local_mean(z: Tensor, codes: Tensor, images: Tensor, n: int = 100) -> Tensor:
    """The mean of the n images whose codes are nearest to each z: (M, d), (N, d), (N, C, H, W) → (M, C, H, W).

    An estimate of E[x | z], the best that a decoder trained with L2 can answer. Raises ValueError unless 1 <= n <= N.
    """
    require(1 <= n <= len(codes), f"n is {n}; it must be from 1 to {len(codes)}, the number of codes.")
    nearest = torch.cdist(z, codes).topk(n, largest=False).indices                    # (M, n)
    return torch.stack([images[index].mean(0) for index in nearest])
