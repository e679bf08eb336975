"""Chapter 01, exercises 4 and 5: the share of empty places, and draws from a Gaussian fitted to the codes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from course_lib.exercises.calling import NotYet, ask
from course_lib.exercises.checking import as_numbers, compare, require_fit, same, show, verdict

# --- exercise 4: the share of empty places -------------------------------------------------------------------------

def check_empty_share(my_share: Callable) -> None:
    """my_share(z, codes, test_codes) → the share of z that is "empty" by section 1.5; (M, d), (N, d), (K, d)."""
    small = {"z": [0.5, 1.5, 2.5, 8.0], "codes": [0.0, 2.0, 4.0], "test_codes": [1.0, 3.0, 5.0]}
    with verdict():
        compare(my_share, _latents(), _in_units(_share), EMPTY_MISTAKES, read="section 1.5", number=True,
                small=("codes at 0, 2 and 4 (one latent), test codes at 1, 3 and 5, and z at 0.5, 1.5, 2.5 and 8,",
                       {name: torch.tensor(places)[:, None] for name, places in small.items()}))


def _latents() -> dict[str, Tensor]:
    """Three latents of different spread; 101 test codes, so that one of them is the quantile, however one rounds."""
    generator = torch.Generator().manual_seed(443)
    scale, centre = torch.tensor([1.0, 6.0, 0.2]), torch.tensor([2.0, -3.0, 0.5])

    def draw(n: int, tail: float) -> Tensor:
        size = 1 + tail * torch.rand(n, 1, generator=generator)
        return centre + scale * size * torch.randn(n, 3, generator=generator)

    codes = draw(150, 0.0)
    return {"z": torch.cat([draw(240, 3.0), codes[:10] + 0.001 * scale]), "codes": codes, "test_codes": draw(101, 0.6)}


def _near(a: Tensor, b: Tensor) -> Tensor:
    return torch.cdist(a, b).amin(1)


def _apart(codes: Tensor) -> Tensor:
    """From each code to the nearest other one."""
    return torch.cdist(codes, codes).fill_diagonal_(torch.inf).amin(1)


def _q99(distance: Tensor) -> Tensor:
    return distance.quantile(0.99)


def _share(z: Tensor, codes: Tensor, test_codes: Tensor, near: Callable = _near, limit: Callable = _q99) -> Tensor:
    """The share of z beyond the limit, in the units that they come in."""
    return (near(z, codes) > limit(near(test_codes, codes))).double().mean()


def _in_units(f: Callable) -> Callable:
    """f, given all three sets in units of the codes' spread."""
    return lambda z, codes, test_codes: f(*(points / codes.std(0) for points in (z, codes, test_codes)))


UNEQUAL = ("not all three sets are in the same units. Divide z, codes and test_codes by the same numbers, the standard "
           "deviations of the training codes.")
WRONG_LIMIT = "the limit is the distance that 99 % of the test codes do not exceed, their 0.99 quantile; yours is "
EMPTY_MISTAKES = [
    (_share,        # dividing by codes.std(), one number, comes to the same
     "distances are not in units of each latent's own spread. The latent that happens to have the largest numbers then "
     "decides alone. Divide by codes.std(0), one standard deviation for each latent (section 1.5)."),
    (lambda z, codes, test_codes: _share(z / codes.var(0), codes / codes.var(0), test_codes / codes.var(0)),
     "you divide by the variance. A variance has squared units; the standard deviation is its root."),
    (_in_units(lambda z, codes, test_codes: 1 - _share(z, codes, test_codes)),
     "you return the share that is not empty: 1 minus what is asked. Empty is *farther* than the limit."),
    (_in_units(lambda z, codes, test_codes: len(z) * _share(z, codes, test_codes)),
     "you return how many are empty. Their share is that number over the number of z: a mean, not a sum."),
    (_in_units(lambda z, codes, test_codes: 100 * _share(z, codes, test_codes)),
     "you return a percentage. A share lies between 0 and 1."),
    (_in_units(lambda z, codes, test_codes: (_near(z, codes) > _q99(_near(test_codes, codes))).double()),
     "you return True or False for each z. The share is the mean of that, with True as 1: one number."),
    (_in_units(lambda z, codes, test_codes: _near(z, codes) / _q99(_near(test_codes, codes))),
     "you return each z's score. The share is that of scores above 1: one number."),
    (_in_units(lambda z, codes, test_codes: _share(z, test_codes, codes)),
     "training and test codes are exchanged. Near means near a *training* code, for the decoder was trained there; the "
     "test codes only set the limit (section 1.5)."),
    (_in_units(lambda z, codes, test_codes: (_near(z, test_codes) > _q99(_near(test_codes, codes))).double().mean()),
     "you look for the nearest *test* code of each z. The decoder was trained at the training codes: those must be "
     "near (section 1.5)."),
    *[(_in_units(partial(_share, limit=limit)), WRONG_LIMIT + what)
      for limit, what in [(torch.mean, "their mean (section 1.5)."), (torch.median, "their median (section 1.5)."),
                          (torch.amax, "their largest. One odd test digit would set it (section 1.5)."),
                          (lambda d: d.quantile(0.01), "the 0.01 quantile: nearly everything lies beyond it."),
                          (lambda d: d.quantile(0.95), "the 0.95 quantile."),
                          (lambda d: d.quantile(0.9), "the 0.9 quantile."),
                          (lambda d: 0.99 * d.amax(), "0.99 of the largest distance, and that is not a quantile.")]],
    (_in_units(lambda z, codes, test_codes: _share(z, codes, codes)),
     "your limit is taken from the training codes, and each of them is at distance 0 from itself. The *test* codes set "
     "the limit (section 1.5)."),
    (_in_units(lambda z, codes, test_codes: (_near(z, codes) > _q99(_apart(codes))).double().mean()),
     "your limit says how far the training codes are from each other. The encoder was trained on them; the *test* "
     "codes, which it has not seen, set the limit (section 1.5)."),
    (_in_units(lambda z, codes, test_codes: _share(z, codes, z)),
     "your limit is taken from z itself, so 1 % would be empty wherever z lies. The *test* codes set it (section "
     "1.5)."),
    (lambda z, codes, test_codes: (_near(z, codes / codes.std(0)) > _q99(_near(test_codes / codes.std(0),
                                                                               codes / codes.std(0)))).double().mean(),
     UNEQUAL + " Here z is not divided."),
    (lambda z, codes, test_codes: (_near(z / codes.std(0), codes / codes.std(0))
                                   > _q99(_near(test_codes, codes))).double().mean(),
     UNEQUAL + " Here the limit is not in these units."),
    (lambda z, codes, test_codes: _share(z / z.std(0), codes / codes.std(0), test_codes / test_codes.std(0)),
     UNEQUAL + " Here each set is divided by its own."),
    (_in_units(lambda z, codes, test_codes: _share(z, codes.mean(0, keepdim=True), test_codes)),
     "you measure the distance to the mean of the codes. A place can be near the mean and far from every code; it is "
     "the *nearest* code that counts (section 1.5)."),
    (_in_units(partial(_share, near=lambda a, b: torch.cdist(a, b).amax(1))),
     "you measure the distance to the *farthest* code; it is the nearest that counts (section 1.5)."),
    (_in_units(partial(_share, near=lambda a, b: torch.cdist(a, b).mean(1))),
     "you measure the mean distance to the codes; it is the nearest one that counts (section 1.5)."),
]


# --- exercise 5: draws from a fitted Gaussian ----------------------------------------------------------------------

def check_sample_fitted(my_sample: Callable) -> None:
    """my_sample(codes, eps) → (n, d), draws from N(mean, covariance) of codes (N, d), made of eps (n, d) ~ N(0, I).

    Any factor A of the covariance will do, so it is not the draws that are compared. What is sent in for eps tells the
    map eps → mean + A eps apart: zeros give the mean, unit vectors the columns of A; then A Aᵀ is what counts.
    """
    factor = torch.tensor([[2.0, 0.0, 0.0], [1.0, 2.0, 0.0], [1.0, 1.0, 1.0]])
    corners = 2.5**0.5 * torch.cat([factor.T, -factor.T])                  # six codes, of covariance factor @ factor.T
    mean, covariance = torch.tensor([1.0, -2.0, 3.0]), (factor @ factor.T).double()
    eps = torch.cat([torch.zeros(2, 3), torch.eye(3), torch.tensor([[1.0, -2.0, 0.5], [0.3, 0.7, -1.1]])])
    arguments = {"codes": corners + mean, "eps": eps}
    with verdict():
        answer = ask(my_sample, arguments)
        z = as_numbers(answer)                                                             # (7, 3)
        require_fit(answer, z, torch.full_like(eps, torch.nan), arguments)      # of the shape only
        if not same(z[0], z[1]):
            raise NotYet("the first two rows of eps are equal, and your answers to them are not: you draw noise of "
                         "your own. All the noise there is comes in as eps.")
        A = (z[2:5] - z[0]).T                                                              # (3, 3), columns A e_k
        if not torch.allclose(z[5:], z[0] + eps[5:].double() @ A.T, rtol=1e-3, atol=1e-4):
            raise NotYet("your function is not a number plus a matrix times the noise: twice the eps must go twice as "
                         "far from the mean. Use eps as it is, do not centre or scale it; z = mean + A eps.")
        _require_mean(z[0], mean.double(), A)
        _require_covariance(A @ A.T, covariance, mean.double())


def _require_mean(got: Tensor, mean: Tensor, A: Tensor) -> None:
    if close(got, mean):
        return
    if close(got, torch.zeros_like(mean)):
        raise NotYet("for eps = 0 your answer is 0: the mean of the codes is missing. Section 1.5 found that no code "
                     "lies near 0.")
    if close(got, mean.mean().expand(3)):
        raise NotYet("you add one mean of all numbers. Each latent has its own: codes.mean(0), of shape (d,).")
    if close(got, A @ mean) or close(got, A.T @ mean):
        raise NotYet("the matrix multiplies the mean as well. Only the noise is to be stretched; the mean is added "
                     "last.")
    raise NotYet(f"for eps = 0 the answer is the codes' mean, here {show(mean)}, and yours is {show(got)}.")


def _require_covariance(got: Tensor, covariance: Tensor, mean: Tensor) -> None:
    """The divisors N − 1 and N are both right: with 6 codes they differ by 6/5."""
    if any(close(got, c) for c in (covariance, covariance * 5 / 6)):
        return
    for c in (covariance, covariance * 5 / 6):
        for wrong, message in _covariance_mistakes(c, mean):
            if close(got, wrong):
                raise NotYet(message)
    if close(got, torch.zeros_like(got)):
        raise NotYet("your answer is the same whatever eps is: eps must come in, times a factor of the covariance.")
    i, j = max(((i, j) for i in range(3) for j in range(3)), key=lambda at: abs((got - covariance)[at]).item())
    raise NotYet(f"your draws have a wrong covariance: its entry [{i}, {j}] is {got[i, j]:.4g}, where the codes have "
                 f"{covariance[i, j]:.4g}. For z = mean + A eps it is A Aᵀ. Read section 1.5, sample_latents, again.")


def _covariance_mistakes(c: Tensor, mean: Tensor) -> list[tuple[Tensor, str]]:
    L, std, root = torch.linalg.cholesky(c), c.diag().sqrt(), c.sqrt()
    twice = ("you multiply by the covariance itself. The draws then have the covariance C C: units to the fourth "
             "power. What is needed is a root of it, an A with A Aᵀ = C.")
    turned = ("the factor stands the wrong way round. With one draw in a row, z = mean + A eps becomes mean + eps @ "
              "A.T; with eps @ A the covariance is Aᵀ A, another one.")
    return [
        (torch.eye(3), "your draws have covariance I: eps was not stretched. Multiply it by a factor of the "
                       "covariance."),
        (std.square().diag(), "each latent has the right spread, but the latents are independent of each other: the "
                              "correlations are lost. The standard deviations are not enough; use the whole "
                              "covariance."),
        (c @ c, twice),
        (std.pow(4).diag(), "you multiply by the variances. A spread is a standard deviation, the root of a variance; "
                            "and the correlations are missing as well."),
        (L.T @ L, turned),
        (torch.linalg.eigvalsh(c).diag(), turned),
        (c / std.outer(std), "you used the correlation matrix, so every latent comes out with a spread of 1. Use the "
                             "covariance: torch.cov(codes.T)."),
        (root @ root.T, "you took the root of each number of the covariance. The root of a matrix is another thing: an "
                        "A with A Aᵀ = C, torch.linalg.cholesky for instance."),
        (c + mean.outer(mean), "you did not take the mean off before you multiplied codes.T @ codes: that is the "
                               "second moment, not the covariance."),
        (c.inverse(), "you used the inverse of the covariance: wide directions come out narrow."),
        (c.inverse() @ c.inverse(), "you used the inverse of the covariance: wide directions come out narrow."),
        (5 * c, "you did not divide by the number of codes: a covariance is a mean of products."),
    ]


def close(a: Tensor, b: Tensor) -> bool:
    return torch.allclose(a, b.to(a), rtol=1e-3, atol=1e-4)
