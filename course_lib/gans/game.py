"""The minimax game where it is known exactly: the best discriminator, the game's value, and Dirac-GAN."""

from __future__ import annotations

import cmath

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from course_lib.checks import require, require_one_of, require_same_shape, require_shape

# --- the game in closed form -----------------------------------------------------------------------------------------

def optimal_discriminator(p_r: Tensor, p_g: Tensor) -> Tensor:
    """D*(x) = p_r(x) / (p_r(x) + p_g(x)), in [0, 1]; ½ where both are 0: any answer is best where nothing ever falls.

    p_r, p_g: densities, at least 0, of any one shape, which is returned. Raises ValueError where shapes differ or a
    density is below 0 or not finite. See ``optimal_logits`` for where densities underflow.  Goodfellow et al. 2014,
    equation 2.
    """
    _require_densities(p_r, p_g)
    total = p_r + p_g
    return torch.where(total > 0, p_r / total, torch.full_like(total, 0.5))


def optimal_logits(log_p_r: Tensor, log_p_g: Tensor) -> Tensor:
    """The logits of D*: log p_r(x) − log p_g(x), since D*/(1 − D*) = p_r/p_g; 0 where both densities are 0.

    log_p_r, log_p_g: log densities in nats, −∞ for 0, of any one shape, which is returned. Raises ValueError where
    shapes differ.
    """
    require_same_shape(log_p_r=log_p_r, log_p_g=log_p_g)
    neither = log_p_r.isneginf() & log_p_g.isneginf()
    return torch.where(neither, torch.zeros_like(log_p_r), log_p_r - log_p_g)


def game_value(p_r: Tensor, p_g: Tensor, D: Tensor, dx: float) -> Tensor:
    """V(G, D) = ∫ p_r log D + p_g log(1 − D) dx, with 0 log 0 = 0; at D* it is 2 JS(p_r‖p_g) − 2 log 2.

    p_r, p_g: densities at n points dx apart, (n,); D: in [0, 1], (n,). The trapezoid rule. Returns a scalar, in nats;
    −∞ where D is 0 or 1 against the other's mass, as a D that rounding made 1 is: for that, ``game_value_of_logits``.
    Raises ValueError for other shapes, a D outside [0, 1], a density below 0 or not finite, and dx not above 0.
    Goodfellow et al. 2014, equation 1 and theorem 1.
    """
    require(bool(((D >= 0) & (D <= 1)).all()), "D goes beyond [0, 1]: it must be probabilities; for logits there is "
                                               "game_value_of_logits.")
    return _value(p_r, p_g, D.log(), torch.log1p(-D), dx)


def game_value_of_logits(p_r: Tensor, p_g: Tensor, logits: Tensor, dx: float) -> Tensor:
    """``game_value`` of a discriminator given by its logits, (n,): finite for any finite logits, however sure."""
    return _value(p_r, p_g, logsigmoid(logits), logsigmoid(-logits), dx)


def _value(p_r, p_g, log_D, log_not_D, dx):
    _require_densities(p_r, p_g)
    require_shape("p_r", p_r, None)
    require_shape("D", log_D, len(p_r))
    require(dx > 0, f"dx is {dx}; the points' distance must be above 0.")
    real = torch.where(p_r > 0, p_r * log_D, torch.zeros_like(p_r))
    fake = torch.where(p_g > 0, p_g * log_not_D, torch.zeros_like(p_g))
    return torch.trapezoid(real + fake, dx=dx)


def _require_densities(p_r, p_g):
    require_same_shape(p_r=p_r, p_g=p_g)
    for name, p in (("p_r", p_r), ("p_g", p_g)):
        require(bool(((p >= 0) & p.isfinite()).all()), f"{name} is below 0 or not finite somewhere: it must be a "
                                                       "density, not its log.")


# --- Dirac-GAN: the smallest game that need not converge -------------------------------------------------------------

NODES, WEIGHTS = (torch.from_numpy(a) for a in np.polynomial.hermite_e.hermegauss(64))     # of E f(ε), ε ~ N(0, 1)
WEIGHTS = WEIGHTS / WEIGHTS.sum()


def dirac_field(theta: Tensor, psi: Tensor, gamma: float = 0.0, noise: float = 0.0,
                saturating: bool = True) -> tuple[Tensor, Tensor]:
    """Where both players are pushed: (−∂L_G/∂θ, −∂L_D/∂ψ), for data at 0, one fake at θ, and logits l(x) = ψx.

    V = log σ(0) + log σ(−ψθ), so the field is (ψ σ(ψθ), −θ σ(ψθ)): it stands at right angles to (θ, ψ), hence the
    radius stays and nothing converges. Not saturating: (ψ σ(−ψθ), −θ σ(ψθ)), inwards, but at 0 only to higher order.
    gamma: R1, (γ/2) ψ² in the discriminator's loss, adds −γψ to ψ's. noise: instance noise of that standard deviation
    on data and fake, V = E[log σ(ψε) + log σ(−ψ(θ + ε))], by 64 nodes of Gauss–Hermite (to 1e-6 for |ψ|·noise ≤ 3).
    theta, psi: of any one shape. Returns two tensors of that shape. Raises ValueError where shapes differ and for gamma
    or noise below 0.  Mescheder et al. 2018, sections 2 to 4; there D is high on fakes: their ψ is −ψ here.
    """
    require_same_shape(theta=theta, psi=psi)
    _require_regularisers(gamma, noise)
    eps, w = (noise * NODES.to(theta), WEIGHTS.to(theta)) if noise else (theta.new_zeros(1), theta.new_ones(1))
    real, fake = eps, theta.unsqueeze(-1) + eps                                            # (…, nodes)
    l_real, l_fake = psi.unsqueeze(-1) * real, psi.unsqueeze(-1) * fake
    push = l_fake.sigmoid() if saturating else (-l_fake).sigmoid()                         # −dL_G/dl
    to_theta = psi * (push @ w)
    to_psi = (real * (-l_real).sigmoid() - fake * l_fake.sigmoid()) @ w - gamma * psi
    return to_theta, to_psi


def dirac_gan(theta: float, psi: float, lr: float, steps: int, rule: str = "simultaneous", gamma: float = 0.0,
              noise: float = 0.0, saturating: bool = True) -> Tensor:
    """The path of a Dirac-GAN from (θ, ψ) by gradient descent, see ``dirac_field``: (steps + 1, 2), float64.

    rule: "simultaneous", both move from where both were: of the minimax game r² grows by 1 + lr² σ(ψθ)² a step;
    "alternating", the discriminator first, then the generator against the new one (Algorithm 1 with k = 1): near 0 it
    circles, with eigenvalues on the unit circle up to lr = 4; farther out it drifts, slowly (from r = √2 at lr = 0.1 to
    1.45 in 400,000 steps, at lr = 0.2 to 3.3). Raises ValueError for another rule, lr not above 0, steps below 1, and
    as ``dirac_field`` does.  Mescheder et al. 2018, section 2.
    """
    require_one_of("rule", rule, ("simultaneous", "alternating"))
    require(lr > 0, f"lr is {lr}; it must be above 0.")
    require(steps >= 1, f"steps is {steps}; it must be at least 1.")
    at = torch.tensor([theta, psi], dtype=torch.float64)
    path = [at]
    for _ in range(steps):
        to_theta, to_psi = dirac_field(at[0], at[1], gamma, noise, saturating)
        new_psi = at[1] + lr * to_psi
        if rule == "alternating":
            to_theta, _ = dirac_field(at[0], new_psi, gamma, noise, saturating)
        at = torch.stack([at[0] + lr * to_theta, new_psi])
        path.append(at)
    return torch.stack(path)


def dirac_eigenvalues(gamma: float = 0.0, noise: float = 0.0) -> tuple[complex, complex]:
    """The eigenvalues of the field's Jacobian at (0, 0): −c/2 ± ½ √(c² − 1), with c = γ + noise²/2.

    The Jacobian is [[0, ½], [−½, −c]], saturating or not. c = 0: ±i/2, it circles; 0 < c < 1: it spirals in; c ≥ 1: it
    creeps in, and c = 1 is fastest. Raises ValueError for gamma or noise below 0.  Mescheder et al. 2018, sections 2
    to 4.
    """
    _require_regularisers(gamma, noise)
    c = gamma + noise**2 / 2
    root = cmath.sqrt(c**2 - 1)
    return (-c + root) / 2, (-c - root) / 2


def _require_regularisers(gamma, noise):
    require(gamma >= 0 and noise >= 0, f"gamma is {gamma} and noise is {noise}; both must be at least 0.")
