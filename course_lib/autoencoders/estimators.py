"""Two estimators of one gradient, and a model in which the bound and its gap are known exactly."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from course_lib.autoencoders.variational import kl_gaussians
from course_lib.checks import require, require_shape


def pathwise_gradient(f: Callable[[Tensor], Tensor], mu: Tensor, log_sigma: Tensor,
                      eps: Tensor) -> tuple[Tensor, Tensor]:
    """Each sample's estimate of the gradient of E[f(z)], z ~ N(μ, σ²), by way of z = μ + σ·ε: ∇f(z), and ∇f(z)·σ·ε.

    f: (n, d) → (n,), differentiable; mu, log_sigma: (d,); eps: (n, d), draws from N(0, I). Returns the estimates of
    ∂/∂μ and of ∂/∂log σ, (n, d) each, detached: their means estimate, their spreads say how well. Raises ValueError
    where shapes do not fit.  Kingma & Welling 2014, section 2.4.
    """
    _require_fit(mu, log_sigma, eps)
    sigma = log_sigma.detach().exp()
    with torch.enable_grad():
        z = (mu.detach() + sigma * eps).requires_grad_()
        slope, = torch.autograd.grad(_values(f, z).sum(), z)
    return slope, slope * sigma * eps


def score_function_gradient(f: Callable[[Tensor], Tensor], mu: Tensor, log_sigma: Tensor, eps: Tensor,
                            baseline: float = 0.0) -> tuple[Tensor, Tensor]:
    """The same from values of f alone: (f(z) − b)·∇log q(z), with ∇log q = ε/σ for μ and ε² − 1 for log σ.

    f: (n, d) → (n,), any; mu, log_sigma: (d,); eps: (n, d); baseline: b, which changes the spread and not the mean, as
    long as it does not come from these eps (their own mean of f would take 1/n off the gradient). Returns (n, d) each.
    Raises ValueError where shapes do not fit.  Glynn 1990; Williams 1992 (REINFORCE).
    """
    _require_fit(mu, log_sigma, eps)
    with torch.no_grad():
        sigma = log_sigma.exp()
        value = (_values(f, mu + sigma * eps) - baseline).unsqueeze(1)                  # (n, 1)
        return value * eps / sigma, value * (eps.square() - 1)


def _require_fit(mu, log_sigma, eps):
    require_shape("mu", mu, None)
    require_shape("log_sigma", log_sigma, len(mu))
    require_shape("eps", eps, None, len(mu))


def _values(f, z):
    """f(z), one number for each sample: their mean would be 1/n of each slope, and (n, 1) would broadcast."""
    value = f(z)
    require_shape("f(z)", value, len(z))
    return value


class LinearGaussian:
    """z ~ N(0, I), x | z ~ N(W z + b, s²I): a decoder so simple that log p(x), p(z|x), the ELBO and its gap are exact.

    W: (D, d); b: (D,); s: above 0. Probabilistic PCA, Tipping & Bishop 1999. Raises ValueError for other shapes, here
    and in each method.
    """

    def __init__(self, W: Tensor, b: Tensor, s: float):
        require_shape("W", W, None, None)
        require_shape("b", b, len(W))
        require(s > 0, f"s is {s}; a standard deviation must be above 0.")
        self.W, self.b, self.s = W, b, s

    def log_px(self, x: Tensor) -> Tensor:
        """log p(x) with p(x) = N(b, W Wᵀ + s²I), in nats: (B, D) → (B,)."""
        require_shape("x", x, None, len(self.W))
        identity = torch.eye(len(self.W), dtype=self.W.dtype, device=self.W.device)
        marginal = torch.distributions.MultivariateNormal(self.b, self.W @ self.W.T + self.s**2 * identity)
        return marginal.log_prob(x)

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """p(z|x) = N(m, C): C = (I + WᵀW/s²)⁻¹, m = C Wᵀ(x − b)/s². (B, D) → (B, d), (d, d)."""
        require_shape("x", x, None, len(self.W))
        identity = torch.eye(self.W.shape[1], dtype=self.W.dtype, device=self.W.device)
        cov = torch.linalg.inv(identity + self.W.T @ self.W / self.s**2)
        return (x - self.b) @ self.W @ cov / self.s**2, cov

    def elbo(self, x: Tensor, mean: Tensor, cov: Tensor) -> Tensor:
        """E_q[log p(x|z)] − KL(q ‖ p(z)) for q = N(mean, cov), exactly: (B, D), (B, d), (B, d, d) → (B,), in nats."""
        big_d, d = self.W.shape
        require_shape("x", x, None, big_d)
        require_shape("mean", mean, len(x), d)
        require_shape("cov", cov, len(x), d, d)
        away = (x - self.b - mean @ self.W.T).square().sum(1)                           # ‖x − b − W m‖²
        spread = (self.W @ cov @ self.W.T).diagonal(dim1=1, dim2=2).sum(1)              # tr(W C Wᵀ)
        error = (away + spread) / (2 * self.s**2) + big_d * math.log(self.s * math.sqrt(2 * math.pi))
        prior = torch.eye(d, dtype=x.dtype, device=x.device).expand(len(x), d, d)
        return -error - kl_gaussians(mean, cov, torch.zeros_like(mean), prior)
