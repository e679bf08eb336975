"""The game on a line, where all is known: data, generator, discriminator and the best discriminator in one frame."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from course_lib.checks import require, require_shape
from course_lib.divergences import js
from course_lib.gans.game import game_value_of_logits, optimal_discriminator
from course_lib.gans.judging import density_of_generator

GRID = 4_001        # points of z, evenly spaced in ±8 standard deviations: what is left out has mass 1e-15
RAYS = 33           # of them, where G's map is to be drawn


class GameFrame(NamedTuple):
    """One moment of the game on a line; densities per unit of x, values in nats."""

    step: int
    x: Tensor           # (n,), the cells' centres
    p_r: Tensor         # (n,), the data's density there
    p_g: Tensor         # (n,), the generator's, its mean over each cell
    D: Tensor           # (n,), the discriminator as it is, in [0, 1]
    D_star: Tensor      # (n,), the best one against this generator
    value: float        # V(G, D)
    best: float         # V(G, D*) = 2 JS(p_r‖p_g) − 2 log 2
    js: float           # JS(p_r‖p_g)
    z: Tensor           # (m,), some noise, evenly spaced
    G_z: Tensor         # (m,), where G sends it


@torch.no_grad()
def game_frame(step: int, G: nn.Module, D: nn.Module, log_prob: Callable[[Tensor], Tensor],
               edges: Tensor) -> GameFrame:
    """The game as it stands, exact but for the grid: p_g by change of variables, not from samples.

    G: (n, 1) → (n, 1), of noise z ~ N(0, 1); D: (n, 1) → logits (n,); log_prob: the data's, (n, 1) → (n,), in nats;
    edges: (n + 1,), evenly spaced, wide enough for both densities (their mass inside must be at least 0.98; it is
    taken for 1). All is given in float64 on the CPU. Raises ValueError for uneven edges and for densities that lie
    outside them.  Goodfellow et al. 2014, figure 1.
    """
    require_shape("edges", edges, None)
    widths = edges.double().diff()
    require(len(widths) >= 2 and bool((widths > 0).all()) and bool((widths - widths.mean()).abs().max()
                                                                   < 1e-3 * widths.mean()),
            "edges must rise evenly, and have 3 points at least: take torch.linspace.")
    weight = next(G.parameters())
    edges, dx = edges.double().cpu(), widths.mean().item()
    x = (edges[1:] + edges[:-1]) / 2                                                       # (n,)
    z = torch.linspace(-8, 8, GRID, dtype=torch.float64)
    p_z = torch.distributions.Normal(0.0, 1.0).log_prob(z).exp()
    drawn = torch.linspace(-2.5, 2.5, RAYS, dtype=torch.float64)

    def sent(points: Tensor) -> Tensor:
        return G(points.to(weight)).double().cpu()

    p_g = density_of_generator(sent, z, p_z, edges)
    p_r = log_prob(x[:, None]).exp()
    for name, p in (("the data's", p_r), ("the generator's", p_g)):
        mass = p.sum().item() * dx
        require(mass > 0.98, f"{name} density has mass {mass:.3f} between {edges[0]:.3g} and {edges[-1]:.3g}; it must "
                             "be 0.98 at least: widen the edges.")
    p_r, p_g = p_r / (p_r.sum() * dx), p_g / (p_g.sum() * dx)
    logits = D(x[:, None].to(weight)).double().cpu()
    require_shape("D(x)", logits, len(x))
    apart = js(p_r, p_g, dx).item()
    # A cell of 0 on either side: the trapezoid rule counts the outermost half, and js counts every cell whole.
    value = game_value_of_logits(*(pad(t, (1, 1)) for t in (p_r, p_g, logits)), dx).item()
    return GameFrame(step, x, p_r, p_g, logits.sigmoid(), optimal_discriminator(p_r, p_g), value,
                     2 * apart - 2 * math.log(2), apart, drawn, sent(drawn[:, None])[:, 0])
