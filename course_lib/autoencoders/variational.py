"""Variational autoencoders: the KL, the likelihoods, the bounds, and the training steps.

A likelihood is a function of the decoder's output and of the data, (output, x) → −log p(x|z) in nats, (B,): any of them
can take another's place in ``vae_step``; in the bounds all but ``best_gaussian_nll``, whose σ depends on the batch,
and ``feature_nll``, which is no density of x.
What a decoder's output must be stands with each.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_lib.checks import require, require_same_shape, require_shape
from course_lib.training import full_precision, update

LOG_2PI = math.log(2 * math.pi)
IN_USE = 0.05  # nats: a latent dimension below has collapsed


# --- the KL --------------------------------------------------------------------------------------------------------

def kl_per_dimension(mu: Tensor, log_var: Tensor) -> Tensor:
    """½(μ² + σ² − 1 − log σ²): the KL of N(μ, σ²) from N(0, 1) for each dimension by itself, in nats.

    mu, log_var: (B, d), means and log variances of q(z|x). Returns (B, d), each at least 0 (but for rounding).
    Raises ValueError for other shapes.  Kingma & Welling 2014, appendix B.
    """
    require_shape("mu", mu, None, None)
    require_same_shape(mu=mu, log_var=log_var)
    return 0.5 * (mu.square() + log_var.exp() - 1 - log_var)


def kl_normal(mu: Tensor, log_var: Tensor) -> Tensor:
    """KL of a diagonal Gaussian from the standard normal, in nats.

    mu, log_var: (B, d), means and log variances of q(z|x). Returns (B,), summed over the d dimensions.
    Raises ValueError for other shapes.  Kingma & Welling 2014, appendix B.
    """
    require_shape("mu", mu, None, None)
    require_same_shape(mu=mu, log_var=log_var)
    return 0.5 * (mu.square() + log_var.exp() - 1 - log_var).sum(dim=1)


def kl_gaussians(mean_q: Tensor, cov_q: Tensor, mean_p: Tensor, cov_p: Tensor) -> Tensor:
    """KL of N(mean_q, cov_q) from N(mean_p, cov_p), any covariances, in nats.

    ½[tr(C_p⁻¹C_q) + (m_p − m_q)ᵀ C_p⁻¹ (m_p − m_q) − d + log det C_p − log det C_q]
    means: (B, d); covariances: (B, d, d). Returns (B,). Raises ValueError where shapes do not fit or a covariance is
    not symmetric and positive definite.
    """
    require_shape("mean_q", mean_q, None, None)
    b, d = mean_q.shape
    require_shape("mean_p", mean_p, b, d)
    roots = []
    for name, cov in (("cov_q", cov_q), ("cov_p", cov_p)):
        require_shape(name, cov, b, d, d)
        lopsided = (cov - cov.mT).abs() > 1e-4 * cov.abs().amax((1, 2), keepdim=True)   # Cholesky reads one half only
        require(not bool(lopsided.any()), f"{name} is not symmetric: give a covariance, not its Cholesky factor.")
        root, failed = torch.linalg.cholesky_ex(cov)
        require(not bool(failed.any()), f"{name} is not positive definite: add a small multiple of the identity.")
        roots.append(root)
    root_q, root_p = roots
    ratio = torch.linalg.solve_triangular(root_p, root_q, upper=False)                 # C_p^(−1/2) C_q^(1/2)
    away = torch.linalg.solve_triangular(root_p, (mean_p - mean_q).unsqueeze(2), upper=False)
    log_det = 2 * (root_p.diagonal(dim1=1, dim2=2).log() - root_q.diagonal(dim1=1, dim2=2).log()).sum(1)
    return 0.5 * (ratio.square().sum((1, 2)) + away.square().sum((1, 2)) - d + log_det)


# --- likelihoods: (output, x) → −log p(x|z) in nats, (B,) ------------------------------------------------------------

def bernoulli_nll(logits: Tensor, x: Tensor) -> Tensor:
    """−Σ_j [x_j log p_j + (1 − x_j) log(1 − p_j)] with p = sigmoid(logits): for pixels that are 0 or 1.

    logits, x: (B, …), equal in shape. Returns (B,). Raises ValueError where shapes differ or a pixel is neither 0 nor 1
    (of grey pixels this would be no likelihood; looked at on the CPU only, where looking costs no waiting).
    """
    require_same_shape(logits=logits, x=x)
    require(x.is_cuda or bool(((x == 0) | (x == 1)).all()),
            "x holds grey pixels, but a Bernoulli likelihood is for pixels that are 0 or 1: binarise them, or take a "
            "Gaussian likelihood.")
    return F.binary_cross_entropy_with_logits(logits, x, reduction="none").flatten(1).sum(1)


def gaussian_nll(mean: Tensor, x: Tensor, sigma: float | Tensor = 1.0) -> Tensor:
    """−log N(x | mean, σ²I) with one σ for all pixels: ‖x − mean‖²/(2σ²) + (D/2) log 2πσ², D numbers an image.

    mean, x: (B, …), equal in shape; sigma: a number above 0, or a scalar tensor that learns (as e^s, say: its value is
    not looked at, and below 0 it gives NaN). Returns (B,). Raises ValueError where shapes differ, for a number that is
    not above 0, and for a tensor that is no scalar.
    """
    require_same_shape(mean=mean, x=x)
    if isinstance(sigma, Tensor):
        require(sigma.ndim == 0, f"sigma has shape {tuple(sigma.shape)}; it must be a number or a scalar tensor, one σ "
                                 "for all: for one a pixel there is gaussian_nll_per_pixel.")
    else:
        require(sigma > 0, f"sigma is {sigma}; a standard deviation must be above 0.")
    error = (x - mean).square().flatten(1).sum(1)
    sigma = torch.as_tensor(sigma, dtype=error.dtype, device=error.device)
    return error / (2 * sigma**2) + x[0].numel() * (0.5 * LOG_2PI + sigma.log())


def best_gaussian_nll(mean: Tensor, x: Tensor) -> Tensor:
    """``gaussian_nll`` at the one σ that makes the batch likeliest: σ² is its mean squared error.

    mean, x: (B, …), equal in shape. Returns (B,); their mean is (D/2)(log 2πσ² + 1), whose gradient is the same whether
    σ is held or moves along, since it is at its optimum. NaN where mean equals x everywhere: no σ is then the best.
    Raises ValueError where shapes differ.  Rybkin et al. 2021, section 4.2.
    """
    require_same_shape(mean=mean, x=x)
    return gaussian_nll(mean, x, (x - mean).square().mean().sqrt())


def gaussian_nll_per_pixel(mean_and_log_var: Tensor, x: Tensor, floor: float = 1 / 256) -> Tensor:
    """−log N(x | mean, diag σ²) with a mean and a variance for each pixel, both from the decoder.

    mean_and_log_var: (B, 2C, H, W), C channels of means, then C of log variances; x: (B, C, H, W), dequantised; floor:
    σ is at least this (σ² = e^log_var + floor²), since a pixel that is always black would send it to 0.001, and what an
    error of that pixel costs to a million times the squared error (to infinity without dequantisation). Returns (B,).
    Raises ValueError where shapes do not fit or floor is not above 0.
    """
    require(floor > 0, f"floor is {floor}; it must be above 0, such as 1/256, the width of a grey level.")
    require_shape("x", x, None, None, None, None)
    b, c, h, w = x.shape
    require_shape("mean_and_log_var", mean_and_log_var, b, 2 * c, h, w)
    mean, log_var = mean_and_log_var.chunk(2, dim=1)
    variance = log_var.exp() + floor**2
    return 0.5 * ((x - mean).square() / variance + variance.log() + LOG_2PI).flatten(1).sum(1)


def feature_nll(x_hat: Tensor, x: Tensor, features: Callable[[Tensor], Tensor],
                sigma: float | None = None) -> Tensor:
    """−log N(φ(x) | φ(x̂), σ²I): a likelihood for ``vae_step``, measured in features φ and not in pixels.

    x_hat, x: (B, C, H, W); features: φ, (B, C, H, W) → (B, …), a part of a network that stands still (gradients pass
    through it to x̂, and ``vae_step``'s optimizer does not have its weights); sigma: above 0, or None for the one that
    makes the batch likeliest, see ``best_gaussian_nll``. Returns (B,), in nats of features, which are no nats of x: φ
    has no inverse. Hou et al. 2017 (a network for recognition); Larsen et al. 2016, section 2.3 (a discriminator's).
    """
    with torch.no_grad():
        target = full_precision(features(x))
    made = full_precision(features(x_hat))
    return best_gaussian_nll(made, target) if sigma is None else gaussian_nll(made, target, sigma)


def dequantise(x: Tensor, u: Tensor) -> Tensor:
    """Grey levels spread over their own width: x in {0, 1/255 … 1} and u ~ U[0, 1) → (255 x + u)/256 in [0, 1).

    A density of such numbers bounds the probability of the D grey levels: E[log p] − D log 256 ≤ log P. In float32 one
    white pixel in some 100,000 is rounded up to 1. Raises ValueError where shapes differ; on the CPU, where looking
    costs no waiting, also where x is not on grey levels or u not in [0, 1).  Theis et al. 2016, section 3.1.
    """
    require_same_shape(u=u, x=x)
    require(u.is_cuda or bool(((u >= 0) & (u < 1)).all()), "u goes beyond [0, 1): draw it with torch.rand.")
    level = 255 * x
    require(x.is_cuda or bool(((level - level.round()).abs() < 1e-3).all() and ((x >= 0) & (x <= 1)).all()),
            "x holds numbers that are no grey levels 0, 1/255 … 1: it must be images of bytes, divided by 255.")
    return (level + u) / 256


# --- the bounds ------------------------------------------------------------------------------------------------------

def free_bits_kl(kl: Tensor, free: float) -> Tensor:
    """Σ_j max(free, mean over the batch of KL_j): each dimension may spend so many nats without being charged.

    kl: (B, d), see ``kl_per_dimension``; free: in nats, at least 0 (0 gives the plain KL). Returns a scalar; dimensions
    below their free nats have no gradient. Raises ValueError for other shapes and for free below 0.
    Kingma et al. 2016, equation 15.
    """
    require_shape("kl", kl, None, None)
    require(free >= 0, f"free is {free}; it must be at least 0 nats.")
    return kl.mean(0).clamp_min(free).sum()


def log_weights(model: nn.Module, x: Tensor, eps: Tensor, nll: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """log w = log p(x|z) + log p(z) − log q(z|x) at z = μ + σ·ε, in nats.

    x: (B, …); eps: (k, B, d), draws from N(0, I). Returns (k, B). Raises ValueError where eps does not fit the model's
    means, and for ``best_gaussian_nll``.  Burda et al. 2016, section 3.
    """
    require(nll is not best_gaussian_nll,
            "best_gaussian_nll fits σ to the very samples that are to be weighed, so no two batches are weighed by one "
            "model: hold σ with partial(gaussian_nll, sigma=…).")
    mu, log_var = model.encode(x)                       # (B, d) each
    require_shape("eps", eps, None, *mu.shape)          # (k, B, 1) would share one draw among the dimensions
    z = mu + (log_var / 2).exp() * eps                  # (k, B, d)
    prior_over_q = 0.5 * (eps.square() + log_var - z.square()).sum(2)                   # log p(z) − log q(z|x)
    output = model.decode(z.flatten(0, 1))              # (k·B, …)
    return prior_over_q - nll(output, x.expand(len(eps), *x.shape).flatten(0, 1)).view(len(eps), len(x))


@torch.no_grad()
def iwae_bound(model: nn.Module, x: Tensor, k: int, nll: Callable[[Tensor, Tensor], Tensor] = bernoulli_nll,
               generator: torch.Generator | None = None, rows: int = 2_000) -> Tensor:
    """log (1/k) Σ_i w_i with k samples from q(z|x): a lower bound of log p(x), tighter as k grows; k = 1 is the ELBO.

    The bound is the mean over draws, of which this is one: one draw can lie above log p(x). x: (B, …); k: samples, at
    least 1; rows: how many decoded images memory holds at a time (B at least). Returns (B,), in nats. Raises ValueError
    for k or rows below 1 and as ``log_weights`` does.  Burda, Grosse & Salakhutdinov 2016, equation 8.
    """
    require(k >= 1, f"k is {k}; it must be at least 1 sample.")
    require(rows >= 1, f"rows is {rows}; it must be at least 1 image at a time.")
    total = x.new_full((len(x),), -torch.inf)           # log Σ w so far
    chunk = max(1, rows // len(x))
    d = model.latents
    for start in range(0, k, chunk):
        n = min(chunk, k - start)
        eps = torch.randn(n, len(x), d, generator=generator, dtype=x.dtype, device=x.device)
        total = torch.logaddexp(total, log_weights(model, x, eps, nll).logsumexp(0))
    return total - math.log(k)


# --- the steps -------------------------------------------------------------------------------------------------------

def vae_step(batches: Iterator[Tensor], model: nn.Module, opt: torch.optim.Optimizer,
             nll: Callable[[Tensor, Tensor], Tensor] = best_gaussian_nll, beta: float | Iterator[float] = 1.0,
             free_bits: float = 0.0) -> dict[str, Tensor]:
    """One step of a VAE: one z = μ + σ·ε an image, and down the negative ELBO. Kingma & Welling 2014, Algorithm 1.

    nll: one of the likelihoods; beta: what a nat of KL costs (Higgins et al. 2017), or an iterator that gives it step
    by step (``annealed``, which goes into ``train``'s state); free_bits: nats that each latent dimension may spend
    uncharged. Where a recipe runs its networks in bfloat16, their outputs come back to float32 first. Returns the terms
    before β, "nll" and "kl" (as charged: with free bits, that many nats at least).
    """
    x = next(batches)                                   # (B, C, H, W)
    mu, log_var = map(full_precision, model.encode(x))  # (B, d) each
    z = mu + (log_var / 2).exp() * torch.randn_like(mu)
    error = nll(full_precision(model.decode(z)), x).mean()
    kl = free_bits_kl(kl_per_dimension(mu, log_var), free_bits)
    update(opt, error + (next(beta) if isinstance(beta, Iterator) else beta) * kl)
    return {"nll": error.detach(), "kl": kl.detach()}


def iwae_step(batches: Iterator[Tensor], model: nn.Module, opt: torch.optim.Optimizer, k: int,
              nll: Callable[[Tensor, Tensor], Tensor] = bernoulli_nll) -> dict[str, Tensor]:
    """One step up the k-sample bound, log (1/k) Σ_i w_i; at k = 1 that is the ELBO, by sampling. Burda et al. 2016.

    k: samples an image, at least 1; all k·B are decoded at once. Raises ValueError as ``iwae_bound`` does.
    """
    require(k >= 1, f"k is {k}; it must be at least 1 sample.")
    x = next(batches)                                   # (B, C, H, W)
    log_w = log_weights(model, x, torch.randn(k, len(x), model.latents, dtype=x.dtype, device=x.device), nll)
    bound = (log_w.logsumexp(0) - math.log(k)).mean()
    update(opt, -bound)
    return {"bound": bound.detach()}


class annealed:
    """β for one step after the other: from 0 evenly up to ``end`` in ``steps`` steps, then ``end`` for ever.

    Bowman et al. 2016. Put into ``train``'s state, it goes on where it was in a resumed run.
    Raises ValueError for steps below 1 and for a negative end.
    """

    def __init__(self, steps: int, end: float = 1.0):
        require(steps >= 1, f"steps is {steps}; it must be at least 1.")
        require(end >= 0, f"end is {end}; it must be at least 0: a negative β would pay for nats of KL.")
        self.steps, self.end, self.taken = steps, end, 0

    def __iter__(self) -> annealed:
        return self

    def __next__(self) -> float:
        self.taken += 1
        return self.end * min(1.0, self.taken / self.steps)

    def state_dict(self) -> dict[str, int]:
        return {"taken": self.taken}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.taken = int(state["taken"])
