"""Toy densities in one and two dimensions: sample, log_prob and score known exactly, so that a model can be marked."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from numbers import Integral

import numpy as np
import torch
from torch import Tensor

from ..checks import require, require_shape


class GaussianMixture:
    """Σ_k w_k N(x; μ_k, σ_k² I) in d dimensions.

    means: (K, d).  stds: σ, one number or (K,), above 0.  weights: (K,), 0 or more, of sum 1; None is 1/K each.
    All three stay readable under these names: float64 on the CPU; results have x's device and dtype.
    Raises ValueError for anything else.
    """

    def __init__(self, means: Tensor | Sequence, stds: Tensor | Sequence | float,
                 weights: Tensor | Sequence | None = None):
        means = torch.as_tensor(means, dtype=torch.float64, device="cpu")
        require_shape("means", means, None, None)
        K = len(means)
        require(means.numel() > 0 and bool(means.isfinite().all()), "means must be finite, and at least one.")
        stds = torch.as_tensor(stds, dtype=torch.float64, device="cpu")
        stds = stds.expand(K) if stds.ndim == 0 else stds
        require_shape("stds", stds, K)
        require(bool(((stds > 0) & stds.isfinite()).all()),
                f"stds is {stds.tolist()}; each must be finite and above 0.")
        weights = torch.full((K,), 1 / K) if weights is None else weights
        weights = torch.as_tensor(weights, dtype=torch.float64, device="cpu")
        require_shape("weights", weights, K)
        total = weights.sum().item()
        require(bool((weights >= 0).all()) and abs(total - 1) < 1e-5,
                f"weights is {weights.tolist()}, of sum {total:.6g}; each must be 0 or more, and the sum 1.")
        self.means, self.stds, self.weights = means, stds, weights / total  # (K, d), (K,), (K,)

    def sample(self, n: int, generator: torch.Generator | None = None, dtype: torch.dtype = torch.float32) -> Tensor:
        """n points, (n, d), on the generator's device; without a generator: torch's global one, on the CPU."""
        _require_count(n)
        device = generator.device if generator else torch.device("cpu")
        means, stds, weights = (p.to(device, dtype) for p in (self.means, self.stds, self.weights))
        k = torch.multinomial(weights, n, replacement=True, generator=generator)  # (n,)
        eps = torch.randn(n, means.shape[1], generator=generator, device=device, dtype=dtype)
        return means[k] + stds[k, None] * eps

    def log_prob(self, x: Tensor) -> Tensor:
        """log p(x) in nats, (n,), for x (n, d); by logsumexp, so that it stays finite far away from all modes."""
        return self._log_joint(x).logsumexp(dim=1)

    def score(self, x: Tensor) -> Tensor:
        """∇_x log p(x) = Σ_k p(k|x) (μ_k − x) / σ_k², (n, d), for x (n, d)."""
        means, pull = self.means.to(x), self._log_joint(x).softmax(dim=1) / self.stds.to(x).square()  # (n, K)
        return torch.stack([(pull * (means[:, j] - x[:, j, None])).sum(dim=1) for j in range(x.shape[1])], dim=1)

    def _log_joint(self, x: Tensor) -> Tensor:
        """log w_k + log N(x; μ_k, σ_k² I), (n, K)."""
        d = self.means.shape[1]
        require_shape("x", x, None, d)
        require(x.is_floating_point(), f"x has dtype {x.dtype}; it must be a float: convert it with x.float().")
        means, stds, weights = (p.to(x) for p in (self.means, self.stds, self.weights))
        # Differences first, squares after: |x|² − 2x·μ + |μ|² would lose a narrow mode's digits. One (n, K) at a time.
        square = sum((x[:, None, j] - means[:, j]).square() for j in range(d))
        return weights.log() - square / (2 * stds.square()) - d * (stds.log() + 0.5 * math.log(2 * math.pi))


class NoisyCurve:
    """x = c(u) + noise·ε in the plane, with u ~ U[0, 1] and ε ~ N(0, I).

    curve: the map c from u (n,) to (n, 2).  noise: σ, 0 or more.  speed: an upper bound of |dc/du|.
    With noise above 0 the density is ∫ N(x; c(u), σ² I) du. Gauss–Legendre quadrature turns it into a mixture of
    Gaussians along the curve: 8 nodes for each stretch of length σ, so nodes lie much closer than σ. It agrees with the
    integral to 1e-6 nats within 10σ of the curve. Memory: n × K, with K ≈ 8·speed/σ nodes.
    With noise = 0 all mass lies on a line without area: log_prob and score do not exist and raise ValueError.
    """

    def __init__(self, curve: Callable[[Tensor], Tensor], noise: float, speed: float):
        require(math.isfinite(noise) and noise >= 0, f"noise is {noise!r}; it must be a finite number of 0 or more.")
        self.curve, self.noise, self.speed = curve, float(noise), speed

    def sample(self, n: int, generator: torch.Generator | None = None, dtype: torch.dtype = torch.float32) -> Tensor:
        """n points, (n, 2), on the generator's device; without a generator: torch's global one, on the CPU."""
        _require_count(n)
        at = {"generator": generator, "device": generator.device if generator else "cpu", "dtype": dtype}
        u, eps = torch.rand(n, **at), torch.randn(n, 2, **at)
        return self.curve(u) + self.noise * eps

    def log_prob(self, x: Tensor) -> Tensor:
        """log p(x) in nats, (n,), for x (n, 2); raises ValueError where noise is 0."""
        return self._mixture().log_prob(x)

    def score(self, x: Tensor) -> Tensor:
        """∇_x log p(x), (n, 2), for x (n, 2); raises ValueError where noise is 0."""
        return self._mixture().score(x)

    def _mixture(self) -> GaussianMixture:
        require(self.noise > 0,
                "Without noise there is no density in the plane: all mass lies on a curve, which has no area, so "
                "log_prob and score do not exist. Sample it, or give noise > 0.")
        panels = 2 * math.ceil(self.speed / self.noise / 2)  # even: u = 1/2, where the moons meet, is a panel's edge
        nodes, weights = (torch.from_numpy(a) for a in np.polynomial.legendre.leggauss(8))  # on [−1, 1], of sum 2
        u = (torch.arange(panels, dtype=torch.float64)[:, None] + (nodes + 1) / 2) / panels  # (panels, 8)
        return GaussianMixture(self.curve(u.flatten()), self.noise, (weights / 2 / panels).repeat(panels))


def draws(density, n: int, seed: int = 0) -> Iterator[Tensor]:
    """Batches of n new points for ever, each (n, d) float32 on the CPU: what ``train`` takes where data cost nothing.

    density: anything with ``sample(n, generator)``. They come from a generator of their own: the same with each seed.
    """
    _require_count(n)
    generator = torch.Generator().manual_seed(seed)
    return iter(lambda: density.sample(n, generator), None)


def gaussian_mixture_1d(means: Sequence[float] | Tensor, stds: Sequence[float] | float | Tensor,
                        weights: Sequence[float] | Tensor | None = None) -> GaussianMixture:
    """A mixture of Gaussians on the line: means, stds and weights (K,); x is (n, 1)."""
    means = torch.as_tensor(means, dtype=torch.float64)
    require_shape("means", means, None)
    return GaussianMixture(means[:, None], stds, weights)


def ring(modes: int = 8, radius: float = 1.0, std: float = 0.01) -> GaussianMixture:
    """Equal Gaussians on a circle around 0, the first at (radius, 0): a GAN's test for dropped modes."""
    require(isinstance(modes, Integral) and modes >= 1, f"modes is {modes!r}; it must be an integer of 1 or more.")
    angle = 2 * math.pi * torch.arange(modes, dtype=torch.float64) / modes
    return GaussianMixture(radius * torch.stack([angle.cos(), angle.sin()], dim=1), std)


def grid(side: int = 5, spacing: float = 2.0, std: float = 0.05) -> GaussianMixture:
    """side × side equal Gaussians on a square lattice, centred at 0: the harder test for dropped modes."""
    require(isinstance(side, Integral) and side >= 1, f"side is {side!r}; it must be an integer of 1 or more.")
    ticks = spacing * (torch.arange(side, dtype=torch.float64) - (side - 1) / 2)
    return GaussianMixture(torch.cartesian_prod(ticks, ticks), std)


def parallel_lines(theta: float | Tensor, noise: float = 0.0) -> tuple[NoisyCurve, NoisyCurve]:
    """The two distributions P_0 and P_θ of (0, u) and (θ, u), u ~ U[0, 1]: vertical segments at distance |θ|.

    theta may be a tensor that requires a gradient: samples of P_θ then carry it.  noise: σ of Gaussian noise on both,
    which gives them densities.  Arjovsky et al. 2017 (Wasserstein GAN), example 1.
    """
    require(isinstance(theta, (int, float)) or (isinstance(theta, Tensor) and theta.ndim == 0),
            f"theta is {theta!r}; it must be a number or a tensor without dimensions.")

    def segment(at):
        return NoisyCurve(lambda u: torch.stack([torch.as_tensor(at).to(u).expand_as(u), u], dim=1), noise, speed=1.0)

    return segment(0.0), segment(theta)


def two_moons(noise: float = 0.05) -> NoisyCurve:
    """Two half circles of radius 1 that interlock: the upper one around (0, 0), the lower one around (1, ½).

    The set of sklearn.datasets.make_moons, with points drawn at random instead of evenly spaced.
    """
    def curve(u):
        angle = 2 * math.pi * u
        upper = torch.stack([angle.cos(), angle.sin()], dim=1)
        return upper + torch.where(u < 0.5, 0.0, 1.0)[:, None] * upper.new_tensor([1.0, 0.5])  # (n, 2)

    return NoisyCurve(curve, noise, speed=2 * math.pi)


def swiss_roll(noise: float = 0.05) -> NoisyCurve:
    """A spiral t·(cos t, sin t)/10 with t uniform from 1.5π to 4.5π: radius 0.47 to 1.41, turns 0.63 apart.

    The set of sklearn.datasets.make_swiss_roll seen from the side, at a tenth of its size.
    """
    def curve(u):
        t = 1.5 * math.pi * (1 + 2 * u)
        return t[:, None] * torch.stack([t.cos(), t.sin()], dim=1) / 10

    return NoisyCurve(curve, noise, speed=3 * math.pi * (4.5 * math.pi + 1) / 10)


def random_edges(n: int, length: int = 32, generator: torch.Generator | None = None) -> Tensor:
    """Signals that are 0 up to an edge and 1 from there on, the edge anywhere alike: (n, length), float32.

    The edge stands at 0 … length, each with chance 1/(length + 1), so pixel j is 1 with chance (j + 1)/(length + 1).
    """
    _require_count(n)
    device = None if generator is None else generator.device
    edge = torch.randint(length + 1, (n, 1), generator=generator, device=device)
    return (torch.arange(length, device=edge.device) >= edge).float()


def _require_count(n: int) -> None:
    require(isinstance(n, Integral) and n >= 1, f"n is {n!r}; it must be an integer of 1 or more.")
