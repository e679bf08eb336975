"""The kernel distance: the squared distance of two mean embeddings, without bias."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from course_lib.checks import require, require_shape

BLOCK = 2**22       # kernel values at once: 32 MB


class KID(NamedTuple):
    """An estimate of the squared maximum mean discrepancy, and its standard error; both in units of the kernel."""

    value: float
    error: float


class _Sums(NamedTuple):
    rows: Tensor        # (N,): Σ_j k(a_i, b_j)
    columns: Tensor     # (M,): Σ_i k(a_i, b_j)
    squares: Tensor     # (): Σ_ij k(a_i, b_j)²


@torch.no_grad()
def kid(x: Tensor, y: Tensor, degree: int = 3) -> KID:
    """The kernel distance of two sets of features, with k(a, b) = (a·b/d + 1)^degree.  Bińkowski et al. 2018.

    x: (m, d), y: (n, d), 4 or more rows each; computed in float64. The value is the unbiased estimate of the squared
    maximum mean discrepancy over all pairs (Gretton et al. 2012, equation 3): the mean of k(x, x') over pairs of
    *different* rows, and so for y, less twice the mean of k(x, y). Its mean over draws is 0 where both come from one
    distribution, so single values fall below 0.
    The error is the square root of an estimate of the value's variance in closed form, see ``_variance``, without
    resampling. Where the distributions differ it is right on average; where they are alike it errs upwards, by a factor
    of 1.1 to 1.4 (see the tests).
    """
    require_shape("x", x, None, None)
    require_shape("y", y, None, x.shape[1])
    require(min(len(x), len(y)) >= 4, f"x has {len(x)} rows and y has {len(y)}; the error needs 4 or more of each.")
    require(degree >= 1, f"degree is {degree}; it must be 1 or more.")
    x, y = x.double(), y.double()
    require(bool(x.isfinite().all() and y.isfinite().all()), "x or y is not finite.")
    centre = (x.mean(0) + y.mean(0)) / 2
    xx, yy = _sums(x, x, centre, degree, same=True), _sums(y, y, centre, degree, same=True)
    xy = _sums(x, y, centre, degree)
    m, n = len(x), len(y)
    value = xx.rows.sum() / (m * (m - 1)) + yy.rows.sum() / (n * (n - 1)) - 2 * xy.rows.sum() / (m * n)
    singles, pairs = _variance(xx, yy, xy)
    return KID(value.item(), (singles.clamp_min(0) + pairs.clamp_min(0)).sqrt().item())


def _sums(a: Tensor, b: Tensor, centre: Tensor, degree: int, same: bool = False) -> _Sums:
    """Sums of k(a, b) − k(a, c) − k(b, c) + k(c, c), without pairs of a row with itself where a and b are the same.

    What is taken away cancels between the three terms of the estimate; so the numbers are small, and so is rounding.
    """
    def k(u, v):
        return (u @ v.T / u.shape[1] + 1).pow(degree)

    c = centre[None]
    of_a, of_b = k(a, c), (k(b, c) - k(c, c)).T                                        # (N, 1), (1, M)
    block = max(1, BLOCK // len(b))
    rows, columns, squares = [], torch.zeros_like(of_b[0]), 0.0
    for start in range(0, len(a), block):
        part = slice(start, start + block)
        values = k(a[part], b) - of_a[part] - of_b                                   # (block, M)
        if same:
            values.diagonal(start).zero_()
        rows.append(values.sum(1))
        columns += values.sum(0)
        squares = squares + values.square().sum()
    return _Sums(torch.cat(rows), columns, squares)


def _variance(xx: _Sums, yy: _Sums, xy: _Sums) -> tuple[Tensor, Tensor]:
    """The variance of kid's value, by Hoeffding's decomposition (1948): what single rows and what pairs add to it.

    The value is its mean, plus sums of a function of one row, plus sums of functions of two, all uncorrelated:
    Var = 4ζ_x/m + 4ζ_y/n  +  2σ_xx/(m(m−1)) + 2σ_yy/(n(n−1)) + 4σ_xy/(mn), with ζ_x the variance over x of
    E k(x, X) − E k(x, Y), and σ the variance of what the kernel has beyond functions of one row. Both parts are
    estimated without bias, by means over rows that are all different. Where the distributions are alike, ζ is 0 and
    its estimate often below: kid counts that as 0, for no variance is negative, and so its error errs upwards there.
    """
    m, n = len(xx.rows), len(yy.rows)
    # E k(x, x') k(x, x''), the square of E k(x, x') and E k(x, x')²: over rows that are all different.
    def within(s, m):
        total, square = s.rows.sum(), s.rows.square().sum()
        return ((square - s.squares) / (m * (m - 1) * (m - 2)),
                (total.square() - 4 * square + 2 * s.squares) / (m * (m - 1) * (m - 2) * (m - 3)),
                s.squares / (m * (m - 1)))

    a2_x, aa_x, kk_x = within(xx, m)
    a2_y, aa_y, kk_y = within(yy, n)
    total, by_x, by_y = xy.rows.sum(), xy.rows.square().sum(), xy.columns.square().sum()
    b2_x = (by_x - xy.squares) / (m * n * (n - 1))                                     # E k(x, y) k(x, y')
    b2_y = (by_y - xy.squares) / (n * m * (m - 1))
    bb = (total.square() - by_x - by_y + xy.squares) / (m * (m - 1) * n * (n - 1))
    kk = xy.squares / (m * n)

    def single(s, across, a2, aa, b2, m, n):                                           # ζ
        both = (s.rows * across).sum()
        ab = both / (m * (m - 1) * n)                                                  # E k(x, x') k(x, y)
        a_b = (s.rows.sum() * total - 2 * both) / (m * (m - 1) * (m - 2) * n)          # E k(x, x') · E k(x'', y)
        return a2 - 2 * ab + b2 - (aa - 2 * a_b + bb)

    singles = 4 * single(xx, xy.rows, a2_x, aa_x, b2_x, m, n) / m
    singles += 4 * single(yy, xy.columns, a2_y, aa_y, b2_y, n, m) / n
    pairs = 2 * (kk_x - 2 * a2_x + aa_x) / (m * (m - 1)) + 2 * (kk_y - 2 * a2_y + aa_y) / (n * (n - 1))
    pairs += 4 * (kk - b2_x - b2_y + bb) / (m * n)
    return singles, pairs
