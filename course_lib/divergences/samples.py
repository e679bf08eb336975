"""KL, JS and W₁ from samples. KL and JS need the densities there; W₁ needs the samples alone.

Two finite samples of smooth densities share no point, so as they stand their JS is log 2 and their KL infinite,
however near the densities are. Either the log densities are known at the samples (an unbiased estimate, with its
error), or the samples are counted in bins (``js_of_histograms``: biased, and the answer depends on the bins).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from course_lib.checks import require, require_same_shape, require_shape
from course_lib.divergences.densities import js
from course_lib.divergences.inputs import masses, points_on_line


class Estimate(NamedTuple):
    value: Tensor
    standard_error: Tensor


def kl_from_samples(log_p: Tensor, log_q: Tensor) -> Estimate:
    """KL(p‖q) as the mean of log p(x) − log q(x) over samples x of p, with its standard error, both in nats.

    log_p, log_q: (n,), both at the same x, n at least 2. Unbiased. Infinite, with NaN as its error, where log_q is −∞.
    The error can be trusted where q is not much smaller than p: rare samples of a huge ratio make it too small.
    Raises ValueError for other shapes, NaN, +∞, and where log_p is −∞ (then x is no sample of p).
    """
    log_p, log_q = _log_densities(log_p=log_p, log_q=log_q)
    ratio = log_p - log_q                               # (n,)
    return Estimate(ratio.mean(), ratio.std() / math.sqrt(len(ratio)))


def js_from_samples(log_p_x: Tensor, log_q_x: Tensor, log_p_y: Tensor, log_q_y: Tensor) -> Estimate:
    """JS(p, q) from samples x of p and y of q, with its standard error, both in nats.

    log 2 + ½ E_p[log D] + ½ E_q[log(1 − D)], with D = p/(p + q): the GAN's game at its best D, halved and moved.
    log_p_x, log_q_x: (n,), both densities at x; log_p_y, log_q_y: (m,), both at y; n and m at least 2. Unbiased.
    Raises ValueError for other shapes, NaN, +∞, and where a density is 0 at its own sample.
    Goodfellow et al. 2014, theorem 1.
    """
    log_p_x, log_q_x = _log_densities(log_p_x=log_p_x, log_q_x=log_q_x)
    log_q_y, log_p_y = _log_densities(log_q_y=log_q_y, log_p_y=log_p_y)
    at_x, at_y = F.logsigmoid(log_p_x - log_q_x), F.logsigmoid(log_q_y - log_p_y)      # log D(x), log(1 − D(y))
    error = (at_x.var() / len(at_x) + at_y.var() / len(at_y)).sqrt() / 2
    return Estimate(math.log(2) + (at_x.mean() + at_y.mean()) / 2, error)


def js_of_histograms(x: Tensor, y: Tensor, edges: Tensor) -> Tensor:
    """JS of the shares of x and y in the bins, in nats: what is left to do where no density is known. Biased twice.

    x: (n,); y: (m,); edges: (K + 1,), rising; the last bin holds its upper edge. Bins blur: with all samples there are,
    it is at most the true JS. Counts are noisy: of equal densities it gives about (K − 1)(1/n + 1/m)/8 on average, not
    0, and log 2 once no bin holds samples of both. Counts jump, so there is no gradient in x.
    Raises ValueError for other shapes, edges that do not rise, samples beyond them, and NaN.
    """
    x = points_on_line("x", x)
    y, edges = points_on_line("y", y, x.device), points_on_line("edges", edges, x.device)
    require(len(edges) >= 2, f"edges has length {len(edges)}; it must be 2 or more: K bins have K + 1 edges.")
    require(bool((edges.diff() > 0).all()), f"edges has a step of {edges.diff().min().item():.6g}; each must be above "
                                            "the one before: sort them, and leave no two equal.")

    def shares(name, points):
        points = points.detach()
        beyond = int(((points < edges[0]) | (points > edges[-1])).sum())
        require(beyond == 0, f"{beyond} of {name} lie beyond the edges, {edges[0]:.6g} to {edges[-1]:.6g}; all must "
                             "lie within: widen the edges.")
        in_bin = torch.bucketize(points, edges[1:-1], right=True)                      # 0 … K − 1
        return in_bin.bincount(minlength=len(edges) - 1).double() / len(points)

    return js(shares("x", x), shares("y", y), dx=1.0)


def wasserstein_1d(x: Tensor, y: Tensor, x_weights: Tensor | None = None, y_weights: Tensor | None = None) -> Tensor:
    """W₁ of two weighted samples on a line: the area between their cumulative distributions, in units of x.

    x: (n,); y: (m,); weights: (n,) and (m,), 0 or more, of sum 1 within 1e-5 (they are divided by it); None is one
    weight for all. Returns a float64 scalar with gradients in x and y (where points meet, one of the possible ones).
    Raises ValueError for other shapes, NaN, infinities, negative weights and other sums.  Vallender 1974.
    """
    x = points_on_line("x", x)
    y = points_on_line("y", y, x.device)
    up, down = masses("x_weights", x_weights, len(x), x.device), masses("y_weights", y_weights, len(y), x.device)
    points, order = torch.cat([x, y]).sort()
    gap = torch.cat([up, -down])[order].cumsum(0)[:-1]  # F_x − F_y between one point and the next
    return (gap.abs() * points.diff()).sum()


def _log_densities(**both):
    """The log density at its own samples, and another one there: float64, (n,)."""
    (own, at_own), (other, at_other) = ((k, torch.as_tensor(v, dtype=torch.float64)) for k, v in both.items())
    require_shape(own, at_own, None)
    require_same_shape(**{own: at_own, other: at_other})
    require(len(at_own) >= 2, f"{own} has length {len(at_own)}; it must be 2 or more: one shows no spread.")
    for name, log in ((own, at_own), (other, at_other)):
        require(not bool((log.isnan() | log.isposinf()).any()),
                f"{name} holds NaN or +∞; a log density is a number, or −∞ where the density is 0.")
    require(not bool(at_own.isneginf().any()),
            f"{own} is −∞ at some samples, but they are to be samples of that very density: look whether the densities "
            "were exchanged.")
    return at_own, at_other
