"""Exercises: solutions pass, blanks are told so, known mistakes get messages of their own, nothing breaks a check."""

import _thread
import ast
import json
import re
import signal
import sys
import time
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from course_lib.exercises import calling, ch01, ch02, ch04, ch05, ch06, ch07, ch08, ch13
from tools.common import ROOT

BLANK = "not attempted yet\n"
LABEL = re.compile(r"\*\*\d+ min · (easy|medium|hard)\*\*")


def said(check, answer, capsys) -> str:
    """What the check prints about an answer; the lines joined."""
    capsys.readouterr()
    assert check(answer) is None
    out, err = capsys.readouterr()
    assert not err
    return out


def in_one_line(words: str) -> str:
    return " ".join(words.split())


# --- the notebooks -------------------------------------------------------------------------------------------------

def tagged(cell, tag) -> bool:
    return tag in cell["metadata"].get("tags", [])


def sources(notebook) -> list[dict]:
    return [{**cell, "source": "".join(cell["source"])} for cell in notebook["cells"]]


def exercises_of(path) -> list[list[dict]]:
    """For each exercise its cells: the text before it, its code, and what follows up to the next exercise's text."""
    cells = sources(json.loads(path.read_text(encoding="utf-8")))
    places = [i for i, cell in enumerate(cells) if tagged(cell, "exercise")]
    ends = [place - 1 for place in places[1:]] + [len(cells)]
    return [[cells[place - 1], *(cell for cell in cells[place:end] if cell["metadata"].get("tags"))]
            for place, end in zip(places, ends, strict=bool(places))]


def imports_of(path) -> dict:
    """The names that the imports of a notebook's first code cell give; the rest of that cell is not run."""
    first = next(c for c in sources(json.loads(path.read_text(encoding="utf-8"))) if c["cell_type"] == "code")
    lines = [node for node in ast.parse(first["source"]).body if isinstance(node, ast.Import | ast.ImportFrom)]
    names = {}
    exec(compile(ast.Module(lines, []), path.name, "exec"), names)
    return names


NOTEBOOKS = [path for path in sorted((ROOT / "notebooks").glob("[0-9]*.ipynb")) if exercises_of(path)]
EXERCISES = [pytest.param(path, cells, id=f"{path.name[:2]}-{number}")
             for path in NOTEBOOKS for number, cells in enumerate(exercises_of(path), start=1)]


def test_chapters_have_four_to_six_exercises():
    counts = {path.name[:2]: len(exercises_of(path)) for path in NOTEBOOKS}
    assert counts.get("01") == 5
    assert all(4 <= count <= 6 for count in counts.values()), counts


@pytest.mark.parametrize("path, cells", EXERCISES)
def test_an_exercise_has_a_label_two_hints_and_one_solution(path, cells):
    text, code, *rest = cells
    assert text["cell_type"] == "markdown" and text["source"].startswith("### Exercise ")
    assert len(LABEL.findall(text["source"])) == 1
    assert [cell["metadata"]["tags"] for cell in rest] == [["hints"], ["solution"]]
    hints, solution = (cell["source"] for cell in rest)
    assert re.findall(r"<summary>(.*)</summary>", hints) == ["Hint 1", "Hint 2"]
    assert re.findall(r"<summary>(.*)</summary>", solution) == ["Solution"]
    for folded in (hints, solution):        # Markdown and formulas are rendered inside <details> only between blanks
        assert folded.count("<details>") == folded.count("</summary>\n\n") == folded.count("\n\n</details>")
    assert solution.count("```python\n") == 1 and "```" not in hints
    assert re.search(r"^ch\d\d\.check_\w+\(my_\w+\)$", code["source"].splitlines()[-1])


@pytest.mark.parametrize("path, cells", EXERCISES)
def test_left_blank_it_says_so(path, cells, capsys):
    exec(cells[1]["source"], imports_of(path))
    assert capsys.readouterr() == (BLANK, "")


@pytest.mark.parametrize("path, cells", EXERCISES)
def test_the_folded_solution_passes(path, cells, capsys):
    names = imports_of(path)
    exec(re.search(r"```python\n(.*?)```", cells[3]["source"], re.DOTALL).group(1), names)
    exec(cells[1]["source"].splitlines()[-1], names)
    assert capsys.readouterr() == ("passed\n", "")


# --- right answers, written in another way -------------------------------------------------------------------------

def loss_in_loops(x_hat, x):
    total = 0
    for a, b in zip(x_hat, x, strict=True):
        for p, q in zip(a.flatten(), b.flatten(), strict=True):
            total += (p - q)**2
    return total / len(x)


def denoising_in_loops(model, x, eps, sigma):
    noisy = torch.stack([x[i] + sigma[i] * eps[i] for i in range(len(x))])
    return sum(torch.dist(a, b)**2 for a, b in zip(model(noisy), x, strict=True)) / len(x)


def share_in_loops(z, codes, test_codes):
    spread = ((codes - codes.mean(0))**2).mean(0)**0.5                  # with N in place of N − 1

    def distance(point):
        return min(sum(((point - code) / spread)**2)**0.5 for code in codes)

    limit = sorted(distance(point) for point in test_codes)[int(0.99 * len(test_codes))]
    return sum(bool(distance(point) > limit) for point in z) / len(z)


def among_themselves(z, codes):
    z, codes = z / codes.std(0), codes / codes.std(0)
    apart = torch.cdist(codes, codes).topk(2, largest=False).values[:, 1]       # the first is the code itself
    return (torch.cdist(z, codes).amin(1) > apart.quantile(0.99)).float().mean()


def share_by_numpy(z, codes, test_codes):
    z, codes, test_codes = (points.double().numpy() for points in (z, codes, test_codes))
    near = lambda a: (((a[:, None] - codes) / codes.std(0))**2).sum(-1).min(1)
    return np.mean(near(z) > np.quantile(near(test_codes), 0.99))


def fitted(root):
    def sample(codes, eps):
        return codes.mean(0) + eps @ root(torch.cov(codes.T))
    return sample


def by_eigenvectors(C):
    values, vectors = torch.linalg.eigh(C)
    return values.sqrt().diag() @ vectors.T


def symmetric_root(C):
    values, vectors = torch.linalg.eigh(C)
    return vectors @ values.sqrt().diag() @ vectors.T


def fitted_by_hand(codes, eps):
    mean = torch.stack([column.double().mean() for column in codes.T])
    centred = codes.double() - mean
    A = torch.linalg.cholesky(centred.T @ centred / len(codes))         # with N in place of N − 1
    return torch.stack([mean - A @ e for e in eps.double()])


def fitted_by_torch(codes, eps):
    normal = torch.distributions.MultivariateNormal(codes.mean(0), torch.cov(codes.T))
    return normal.loc + torch.einsum("ij,nj->ni", normal.scale_tril, eps)


def prints(x_hat, x):
    print("x is", tuple(x.shape))
    return loss_in_loops(x_hat, x)


RIGHT = [
    (ch01.check_loss, lambda x_hat, x: torch.einsum("bchw,bchw->", x_hat - x, x_hat - x) / len(x)),
    (ch01.check_loss, lambda x_hat, x: torch.linalg.vector_norm(x_hat - x, dim=(1, 2, 3)).pow(2).mean()),
    (ch01.check_loss, lambda x_hat, x: ((x_hat - x).double()**2).sum() / x.shape[0]),
    (ch01.check_loss, lambda x_hat, x: nn.functional.mse_loss(x_hat, x) * x[0].numel()),
    (ch01.check_loss, lambda *batch: loss_in_loops(*batch)),
    (ch01.check_loss, partial(loss_in_loops)),
    (ch01.check_best_answer, lambda images, weights: torch.einsum("nhw,nhw->hw", images, weights / weights.sum(0))),
    (ch01.check_best_answer, lambda images, weights: torch.stack([
        sum(w * x for w, x in zip(weights[:, r].double(), images[:, r], strict=True)) / weights[:, r].sum(0)
        for r in range(images.shape[1])])),
    (ch01.check_denoising_loss, denoising_in_loops),
    (ch01.check_denoising_loss, lambda model, x, eps, sigma: (model.decode(model.encode(
        x.double() + sigma[:, None, None, None] * eps)) - x).square().sum() / x.shape[0]),
    (ch01.check_empty_share, share_in_loops),
    (ch01.check_empty_share, share_by_numpy),
    (ch01.check_empty_share, lambda z, codes, test_codes: torch.tensor(share_by_numpy(z, codes, test_codes))),
    (ch01.check_sample_fitted, fitted(by_eigenvectors)),
    (ch01.check_sample_fitted, fitted(symmetric_root)),
    (ch01.check_sample_fitted, fitted(lambda C: torch.linalg.cholesky(C, upper=True))),
    (ch01.check_sample_fitted, fitted_by_hand),
    (ch01.check_sample_fitted, fitted_by_torch),
]


@pytest.mark.parametrize("check, answer", RIGHT, ids=lambda x: getattr(x, "__name__", ""))
def test_a_right_answer_passes_however_it_is_written(check, answer, capsys):
    assert said(check, answer, capsys) == "passed\n"


def test_what_an_answer_prints_appears_once_before_the_verdict(capsys):
    assert said(ch01.check_loss, prints, capsys) == "x is (2, 1, 1, 3)\npassed\n"


# --- known mistakes: (answer, words that its message has and no other has) -----------------------------------------

def squares(x_hat, x):
    return ((x_hat - x)**2).reshape(len(x), -1)


LOSS = [
    (lambda a, b: torch.nn.functional.mse_loss(a, b), "average over the pixels too"),
    (lambda a, b: squares(a, b).sum(), "add the images up. The 1/n"),
    (lambda a, b: squares(a, b).sum() / squares(a, b).shape[1], "the other way round"),
    (lambda a, b: squares(a, b).sum(1).sqrt().mean(), "take a root"),
    (lambda a, b: torch.linalg.norm(a - b), "take a root"),
    (lambda a, b: squares(a, b).sum(1).mean().sqrt(), "take a root"),
    (lambda a, b: torch.nn.functional.mse_loss(a, b).sqrt(), "take a root"),
    (lambda a, b: (a - b).abs().sum((1, 2, 3)).mean(), "absolute values"),
    (lambda a, b: torch.nn.functional.l1_loss(a, b), "absolute values"),
    (lambda a, b: (a - b).sum((1, 2, 3)).mean(), "add the differences as they are"),
    (lambda a, b: (b - a).mean(), "add the differences as they are"),
    (lambda a, b: (a - b).sum((1, 2, 3)).square().mean(), "square after the sum"),
    (lambda a, b: squares(a, b).sum(1), "one number for each image"),
    (lambda a, b: (a - b)**2, "one number for each pixel"),
    (lambda a, b: ((a - b)**2).sum((2, 3)).mean(), "average over the channels"),
    (lambda a, b: ((a - b)**2).sum(1).mean(), "add up the channels only"),
    (lambda a, b: squares(a, b).sum(1).mean() / 2, "no ½"),
    (lambda a, b: -squares(a, b).sum(1).mean(), "sign is turned"),
    (lambda a, b: squares(a, b).sum(1).mean().item(), "a Python number (float)"),
    (lambda a, b: squares(a, b).sum(1).mean().detach(), "no gradient flows back"),
    (lambda a, b: squares(a, b).sum(1).mean() * 3, "the answer is 14.5, and yours is 43.5"),
    (lambda a, b: squares(a, b).sum() / 4, "the answer is 14.5, and yours is 7.25"),        # right for 4 images only
    (lambda a, b: squares(a, b)[:, :4].sum(1).mean(), "in a small case your function is right"),
    (lambda a, b: squares(a, b).sum(1).mean().reshape(1), "the numbers are right, but for x_hat (4, 3, 2, 5), x"),
]


def weighted(x, w):
    return (w * x).sum(0) / w.sum(0)


BEST = [
    (lambda x, w: x.mean(0), "does not look at the weights"),
    (lambda x, w: x.median(0).values, "the median"),
    (lambda x, w: (w * x).sum(0) / len(x), "divide by their number"),
    (lambda x, w: (w * x).sum(0), "but do not divide"),
    (lambda x, w: (w * x).sum(0) / w.sum(), "sum of all weights"),
    (lambda x, w: (w * x).sum() / w.sum(), "return one number"),
    (lambda x, w: (w / w.flatten(1).sum(1)[:, None, None] * x).sum(0), "sum over an image's pixels"),
    (lambda x, w: weighted(x, w / w.flatten(1).sum(1)[:, None, None]), "sum over an image's pixels"),
    (lambda x, w: torch.tensordot(w.mean((1, 2)) / w.mean((1, 2)).sum(), x, dims=1), "one weight for all its pixels"),
    (lambda x, w: weighted(x, w**2), "weights are squared"),
    (lambda x, w: weighted(x, w**0.5), "root of the weights"),
    (lambda x, w: weighted(x, 1 / w), "turned over"),
    (lambda x, w: (torch.softmax(w, 0) * x).sum(0), "softmax"),
    (lambda x, w: x[0], "one of the images"),
    (lambda x, w: x[(w * (x - weighted(x, w))**2).sum((1, 2)).argmin()], "one of the images"),
    (lambda x, w: x.gather(0, w.argmax(0)[None]).squeeze(0), "one of the images"),
    (lambda x, w: weighted(x, w)[None], "weights (4, 3, 5) your answer has shape (1, 3, 5); it must be (3, 5)"),
    (lambda x, w: (w * x).sum(1) / w.sum(1), "your answer has shape (4, 5); it must be (3, 5)"),
    (lambda x, w: weighted(x, w).long(), "dtype int64"),
    (lambda x, w: 1 - weighted(x, w), "the answer is [[0.5, 0.75]], and yours is [[0.5, 0.25]]"),
    (lambda x, w: weighted(x, w).tolist(), "a list of"),
]


def mean_square(a, b):
    return squares(a, b).sum(1).mean()


def each(sigma):
    return sigma[:, None, None, None]


DENOISING = [
    (lambda f, x, e, s: mean_square(f(x + each(s) * e), x + each(s) * e), "your target is the noisy image"),
    (lambda f, x, e, s: mean_square(f(x) + each(s) * e, x), "to what comes out of the model"),
    (lambda f, x, e, s: mean_square(f(x), x), "given the clean image"),
    (lambda f, x, e, s: mean_square(f(x), x + each(s) * e), "input and target are exchanged"),
    (lambda f, x, e, s: mean_square(x + each(s) * e, x), "the model does not come in"),
    (lambda f, x, e, s: mean_square(f(x + each(s) * e), e), "ask the model for the noise"),
    (lambda f, x, e, s: mean_square(f(x + each(s) * e), each(s) * e), "ask the model for the noise"),
    (lambda f, x, e, s: mean_square(f(x + s * e), x), "broadcasts it along the last dimension"),
    (lambda f, x, e, s: mean_square(f(x + each(s)**2 * e), x), "you use σ²"),
    (lambda f, x, e, s: mean_square(f(x + each(s).sqrt() * e), x), "the root of σ"),
    (lambda f, x, e, s: mean_square(f(x + e), x), "sigma does not come in"),
    (lambda f, x, e, s: mean_square(f(x + s.mean() * e), x), "the mean of sigma"),
    (lambda f, x, e, s: mean_square(f(x - each(s) * e), x), "take the noise away"),
    (lambda f, x, e, s: mean_square(f((x + each(s) * e).clamp(0, 1)), x), "clip the noisy image"),
    (lambda f, x, e, s: torch.nn.functional.mse_loss(f(x + each(s) * e), x), "average over the pixels too"),
    (lambda f, x, e, s: squares(f(x + each(s) * e), x).sum(), "add the images up"),
    (lambda f, x, e, s: mean_square(f(x + each(s) * torch.randn_like(x)), x), "random numbers of its own"),
    (lambda f, x, e, s: mean_square(f(x + each(s) * e).detach(), x), "no gradient flows back"),
    (lambda f, x, e, s: mean_square(f(x.add_(each(s) * e)), x), "changes its argument x in place"),
    (lambda f, x, e, s: 2 * mean_square(f(x + each(s) * e), x), "the answer is 1, and yours is 2"),
    (lambda f, x, e, s: f(x + s.view(-1, 1, 1) * e).sum(), "your function stops with RuntimeError: The size of tensor"),
]


def nearest(a, b):
    return torch.cdist(a, b).min(1).values


def limit_of(t, codes, q=0.99):
    return torch.quantile(nearest(t, codes), q)


def share(z, codes, t, scale=None, q=0.99):
    s = codes.std(0) if scale is None else scale
    return (nearest(z / s, codes / s) > limit_of(t / s, codes / s, q)).float().mean()


def beyond(z, codes, t, limit):
    """The share with another limit, a function of the test codes' distances."""
    s = codes.std(0)
    return (nearest(z / s, codes / s) > limit(nearest(t / s, codes / s))).float().mean()


def share_of(z, codes, t, distance):
    s = codes.std(0)
    return (distance(z / s, codes / s) > distance(t / s, codes / s).quantile(0.99)).float().mean()


EMPTY = [
    (lambda z, c, t: share(z, c, t, scale=1.0), "not in units of each latent's own spread"),
    (lambda z, c, t: share(z, c, t, scale=c.std()), "not in units of each latent's own spread"),
    (lambda z, c, t: share(z, c, t, scale=c.var(0)), "divide by the variance"),
    (lambda z, c, t: 1 - share(z, c, t), "not empty"),
    (lambda z, c, t: round(share(z, c, t).item() * len(z)), "how many are empty"),
    (lambda z, c, t: 100 * share(z, c, t), "a percentage"),
    (lambda z, c, t: nearest(z / c.std(0), c / c.std(0)) > limit_of(t / c.std(0), c / c.std(0)), "True or False"),
    (lambda z, c, t: nearest(z / c.std(0), c / c.std(0)) / limit_of(t / c.std(0), c / c.std(0)), "each z's score"),
    (lambda z, c, t: share(z, t, c, scale=c.std(0)), "training and test codes are exchanged"),
    (lambda z, c, t: (nearest(z / c.std(0), t / c.std(0)) > limit_of(t / c.std(0), c / c.std(0))).float().mean(),
     "nearest *test* code"),
    (lambda z, c, t: beyond(z, c, t, torch.mean), "their mean"),
    (lambda z, c, t: beyond(z, c, t, torch.median), "their median"),
    (lambda z, c, t: beyond(z, c, t, torch.max), "their largest"),
    (lambda z, c, t: share(z, c, t, q=0.01), "the 0.01 quantile"),
    (lambda z, c, t: share(z, c, t, q=0.95), "the 0.95 quantile"),
    (lambda z, c, t: share(z, c, t, q=0.9), "the 0.9 quantile"),
    (lambda z, c, t: beyond(z, c, t, lambda d: 0.99 * d.max()), "0.99 of the largest"),
    (lambda z, c, t: share(z, c, c), "taken from the training codes"),
    (lambda z, c, t: among_themselves(z, c), "how far the training codes are from each other"),
    (lambda z, c, t: share(z, c, z), "taken from z itself"),
    (lambda z, c, t: (nearest(z, c / c.std(0)) > limit_of(t / c.std(0), c / c.std(0))).float().mean(),
     "Here z is not divided"),
    (lambda z, c, t: (nearest(z / c.std(0), c / c.std(0)) > limit_of(t, c)).float().mean(), "Here the limit is not"),
    (lambda z, c, t: share(z / z.std(0), c / c.std(0), t / t.std(0), scale=1.0), "divided by its own"),
    (lambda z, c, t: share(z, c.mean(0)[None], t, scale=c.std(0)), "distance to the mean of the codes"),
    (lambda z, c, t: share_of(z, c, t, lambda a, b: torch.cdist(a, b).amax(1)), "to the *farthest* code"),
    (lambda z, c, t: share_of(z, c, t, lambda a, b: torch.cdist(a, b).mean(1)), "mean distance to the codes"),
    (lambda z, c, t: nearest(z, c).mean(), "the answer is 0.25, and yours is 1.375"),
    (lambda z, c, t: share(z, c, t).reshape(1, 1), "the numbers are right, but for z (250, 3)"),
]


def normal(codes, eps, root=None, mean=None):
    C = torch.cov(codes.T)
    A = torch.linalg.cholesky(C) if root is None else root(C)
    return (codes.mean(0) if mean is None else mean) + eps @ A.T


FITTED = [
    (lambda c, e: c.mean(0) + c.std(0) * e, "the correlations are lost"),
    (lambda c, e: c.mean(0) + c.std(0, correction=0) * e, "the correlations are lost"),
    (lambda c, e: c.mean(0) + c.var(0) * e, "multiply by the variances"),
    (lambda c, e: c.mean(0) + e @ torch.linalg.cholesky(torch.cov(c.T)), "stands the wrong way round"),
    (lambda c, e: c.mean(0) + e @ by_eigenvectors(torch.cov(c.T)).T, "stands the wrong way round"),
    (lambda c, e: c.mean(0) + e @ torch.cov(c.T), "the covariance itself"),
    (lambda c, e: c.mean(0) + e @ torch.cov(c.T, correction=0), "the covariance itself"),
    (lambda c, e: normal(c, e, mean=0.0), "the mean of the codes is missing"),
    (lambda c, e: normal(c, e, mean=c.mean()), "one mean of all numbers"),
    (lambda c, e: (c.mean(0) + e) @ torch.linalg.cholesky(torch.cov(c.T)).T, "multiplies the mean as well"),
    (lambda c, e: normal(c, e, mean=c.median(0).values), "for eps = 0 the answer is the codes' mean, here [1, -2, 3]"),
    (lambda c, e: c.mean(0) + e, "eps was not stretched"),
    (lambda c, e: normal(c, e, root=lambda C: torch.linalg.cholesky(torch.corrcoef(c.T))), "correlation matrix"),
    (lambda c, e: normal(c, e, root=torch.sqrt), "root of each number"),
    (lambda c, e: normal(c, e, root=lambda C: torch.linalg.cholesky(c.T @ c / len(c))), "the second moment"),
    (lambda c, e: normal(c, e, root=lambda C: torch.linalg.cholesky(C.inverse())), "the inverse of the covariance"),
    (lambda c, e: normal(c, e, root=lambda C: torch.linalg.cholesky((c - c.mean(0)).T @ (c - c.mean(0)))),
     "did not divide by the number of codes"),
    (lambda c, e: c.mean(0).expand_as(e), "the same whatever eps is"),
    (lambda c, e: normal(c, torch.randn_like(e)), "noise of your own"),
    (lambda c, e: normal(c, (e - e.mean(0)) / e.std(0)),
     "for eps = 0 the answer is the codes' mean, here [1, -2, 3]"),
    (lambda c, e: normal(c, e**3), "not a number plus a matrix times the noise"),
    (lambda c, e: normal(c, 3 * e), "its entry [1, 1] is 45, where the codes have 5"),
    (lambda c, e: normal(c, e).T, "your answer has shape (3, 7); it must be (7, 3)"),
]


def mistakes(known):
    """Parameters from (check, its wrong answers with the words each must be told): each also with the others' words."""
    return [pytest.param(check, answer, words, {words for _, words in answers} - {words}, id=f"{check.__name__}-{i}")
            for check, answers in known for i, (answer, words) in enumerate(answers)]


def name_only(words, told, others):
    """The mistake is named, and no other one."""
    assert told.startswith("Not yet: ") and words in told
    assert not [other for other in others if other in told and other not in words]


@pytest.mark.parametrize("check, answer, words, others", mistakes([
    (ch01.check_loss, LOSS), (ch01.check_best_answer, BEST), (ch01.check_denoising_loss, DENOISING),
    (ch01.check_empty_share, EMPTY), (ch01.check_sample_fitted, FITTED)]))
def test_a_known_mistake_is_named(check, answer, words, others, capsys):
    name_only(words, in_one_line(said(check, answer, capsys)), others)


# --- answers that would break a check ------------------------------------------------------------------------------

CHECKS = [ch01.check_loss, ch01.check_best_answer, ch01.check_denoising_loss, ch01.check_empty_share,
          ch01.check_sample_fitted, ch02.check_kl, ch02.check_sample, ch02.check_elbo_loss, ch02.check_nats,
          ch02.check_bound, ch04.check_discriminator_loss, ch04.check_best_discriminator, ch04.check_generator_slopes,
          ch04.check_gan_losses, ch04.check_dirac_step, ch05.check_js, ch05.check_w1, ch05.check_plan,
          ch05.check_lower_bound, ch05.check_w1_gradient, ch06.check_wgan_round, ch06.check_gradient_penalty,
          ch06.check_best_critic, ch06.check_lipschitz_bound, ch06.check_power_step, ch06.check_clipped_slope,
          ch07.check_inception_score, ch07.check_frechet, ch07.check_kid, ch07.check_precision_recall,
          ch07.check_frechet_limit, ch07.check_copying, ch08.check_llike, ch08.check_three_gradients,
          ch08.check_gan_term, ch08.check_enc_dec_losses, ch08.check_signs, ch13.check_step_mean, ch13.check_noised,
          ch13.check_schedule, ch13.check_sample, ch13.check_guided]
NO_END = "did not come to an end within 0.3 seconds"


def blank(*args):
    ...


def only_words(*args):
    """What I shall do."""


def dots(*args):
    return ...


def not_implemented(*args):
    raise NotImplementedError


def forgets_return(*args):
    args[0] is None     # noqa: B015


def raises(error):
    def answer(*args):
        raise error
    return answer


def endless(*args):
    while True:
        pass


def endless_with_except(*args):
    while True:
        try:
            sum(range(10))
        except Exception:
            pass


def endless_with_bare_except(*args):
    while True:
        try:
            sum(range(10))
        except:         # noqa: E722
            pass


def endless_training(*args):
    x = torch.zeros(3, requires_grad=True)
    while True:
        try:
            x.square().sum().backward()
        except BaseException:
            continue


def endless_printing(*args):
    while True:
        print("and on")


def recursion(*args):
    return recursion(*args)


def recursion_in_torch(*args):
    class Net(nn.Module):
        def forward(self, x):
            return self(x)
    return Net()(args[-1])


def generates(*args):
    yield args[0]


async def waits(*args):
    return args[0]


def spoils_everything(*args):
    for arg in args:
        if isinstance(arg, torch.Tensor):
            arg.data.zero_()
    return torch.zeros(())


def other_dtype(*args):
    args[-1].data = args[-1].data.half()
    return torch.zeros(())


def spoils_random_state(*args):
    torch.manual_seed(5)
    torch.rand(3)


class Nasty(Exception):
    def __str__(self):
        raise RuntimeError("no words for it")


class Nastier(Exception):
    def __str__(self):
        raise SystemExit


class NoNumber:
    def __repr__(self):
        raise RuntimeError("no repr")


def gives(value):
    return lambda *args: value


HOSTILE = {
    "blank": (blank, BLANK), "docstring": (only_words, BLANK), "dots": (dots, BLANK), "lambda": (lambda *a: ..., BLANK),
    "not implemented": (not_implemented, BLANK), "no return": (forgets_return, "is the `return` missing?"),
    "no forward": (lambda *a: nn.Module()(*a), "stops with NotImplementedError: Module"),
    "nan": (gives(torch.tensor(torch.nan)), ""), "inf": (gives(torch.tensor(torch.inf)), ""),
    "shape": (gives(torch.zeros(9, 9, 9)), "your answer has shape (9, 9, 9)"), "empty": (gives(torch.zeros(0)), "(0,)"),
    "huge": (gives(torch.zeros(1).expand(10**6, 10**6)), "shape (1000000, 1000000)"),
    "too huge": (lambda *a: torch.zeros(10**15), "your function stops with RuntimeError"),
    "complex": (gives(torch.zeros(3, dtype=torch.complex64)), "complex numbers"), "int": (gives(torch.tensor(7)), ""),
    "bool": (gives(torch.tensor(True)), ""), "half": (gives(torch.tensor(1.0).half()), ""),
    "meta": (gives(torch.zeros(2, device="meta")), "cannot be read"), "sparse": (gives(torch.eye(3).to_sparse()), ""),
    "nested": (lambda *a: torch.nested.nested_tensor([torch.zeros(2), torch.zeros(3)]), ""),
    "bits": (gives(torch.zeros(2, dtype=torch.uint8).view(torch.bits8)), ""),
    "numpy": (gives(np.zeros(3)), "a numpy array"), "float": (gives(7.5), ""), "nan float": (gives(float("nan")), ""),
    "large int": (gives(10**400), "a Python number (int)"), "string": (gives("0.25"), "a string"),
    "list": (gives([1.0, 2.0]), "a list of 2"), "tuple": (gives((torch.zeros(()),)), "a tuple of 1"),
    "class": (nn.MSELoss, "the class MSELoss"), "no function": (torch.zeros(()), "a tensor of shape ()"),
    "None": (None, "an object of type NoneType"), "number": (3, "a Python number (int)"),
    "function returned": (gives(print), "call it first"), "object": (gives(NoNumber()), "an object of type NoNumber"),
    "generator": (generates, "not `yield`"), "coroutine": (waits, "leave out `async`"),
    "no arguments": (lambda: None, "your function takes (), and"),
    "more arguments": (lambda a, b, c, d, e, f: a, "(a, b, c, d, e, f)"),
    "error": (raises(ValueError("a\nb")), "stops with ValueError: a (line "),
    "address": (raises(ValueError(object())), "at 0x…>"), "nasty": (raises(Nasty()), "stops with Nasty"),
    "nastier": (raises(Nastier()), "cannot be put into words"),
    "exit": (raises(SystemExit(3)), "stops with SystemExit: 3"), "quit": (lambda *a: quit(), "SystemExit"),
    "interrupt": (raises(KeyboardInterrupt()), "stops with KeyboardInterrupt"),
    "memory": (raises(MemoryError()), "MemoryError"), "long": (raises(ValueError("x" * 10_000)), "…"),
    "recursion": (recursion, "calls itself again and again"), "in torch": (recursion_in_torch, "calls itself again"),
    "endless": (endless, NO_END), "endless, except": (endless_with_except, NO_END),
    "endless, bare except": (endless_with_bare_except, NO_END), "endless training": (endless_training, NO_END),
    "endless printing": (endless_printing, NO_END), "sleep": (lambda *a: time.sleep(20), "restart the kernel"),
    "in place": (spoils_everything, "in place"), "dtype in place": (other_dtype, "in place"),
    "closed": (lambda *a: sys.stdout.close(), "return"), "seed": (spoils_random_state, "return"),
}


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(calling, "LIMIT", 0.3)
    monkeypatch.setattr(calling, "GRACE", 2.0)      # loops end long before; two busy cores may need more than a moment


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", HOSTILE)
def test_nothing_breaks_a_check(check, name, impatient, monkeypatch, capsys):
    answer, words = HOSTILE[name]
    if name == "sleep":
        monkeypatch.setattr(calling, "GRACE", 0.1)
    elif words != NO_END:
        monkeypatch.setattr(calling, "LIMIT", 5.0)      # these come to an end, but beside a busy neighbour not at once
    state, start = torch.get_rng_state(), time.perf_counter()
    told = said(check, answer, capsys)
    assert time.perf_counter() - start < 8
    assert torch.equal(torch.get_rng_state(), state)
    assert words in (told if words == BLANK else in_one_line(told))
    assert told == BLANK if words == BLANK else "Not yet: " in told
    assert len(told.replace("and on\n", "").splitlines()) <= 7 and len(told.splitlines()) < 40
    assert not re.search(r"0x[0-9a-f]{3}", told)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_it_says_the_same_each_time(check, capsys):
    wrong = lambda *args: args[-1].double().mean() + 3 * torch.rand(())
    assert said(check, wrong, capsys) == said(check, wrong, capsys) != ""


def test_nan_is_seen(capsys):
    assert "your answer holds NaN" in said(ch01.check_loss, lambda a, b: (a - b).sum().log() * torch.nan, capsys)
    assert "your answer holds inf" in said(ch01.check_best_answer, lambda x, w: w[0] / 0, capsys)


def test_after_an_endless_loop_no_thread_is_left(impatient, capsys):
    before = set(sys._current_frames())
    for answer in (endless, endless_with_except, endless_with_bare_except, endless_training):
        told = in_one_line(said(ch01.check_loss, answer, capsys))
        assert "restart the kernel" not in told
    assert set(sys._current_frames()) <= before


@pytest.fixture
def interruptible():
    """Where a shell started the tests in the background, SIGINT is ignored, and no interrupt would arrive."""
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, previous)


def test_an_interrupted_check_stops_the_answer_and_lets_go(interruptible):
    """The reader presses "interrupt" while a check waits."""
    before = set(sys._current_frames())

    def answer(*args):
        _thread.interrupt_main()
        while True:
            pass

    with pytest.raises(KeyboardInterrupt):
        ch01.check_loss(answer)
    time.sleep(0.1)
    assert set(sys._current_frames()) <= before


def test_inputs_are_copies_so_a_check_can_be_run_again(capsys):
    said(ch01.check_best_answer, spoils_everything, capsys)
    assert said(ch01.check_best_answer, weighted, capsys) == "passed\n"


def test_the_line_of_the_mistake_is_shown(tmp_path, capsys):
    file = tmp_path / "cell.py"
    file.write_text("def f(x_hat, x):\n    error = x_hat - x\n    return eror.sum()\n")
    names = {}
    exec(compile(file.read_text(), str(file), "exec"), names)
    told = in_one_line(said(ch01.check_loss, names["f"], capsys))
    assert told == ("Not yet: your function stops with NameError: name 'eror' is not defined (line 3 of your cell: "
                    "`return eror.sum()`).")


def test_gradients_are_asked_for_wherever_the_check_is_called(capsys):
    with torch.no_grad():
        assert said(ch01.check_loss, lambda a, b: squares(a, b).sum(1).mean(), capsys) == "passed\n"
    with torch.inference_mode():
        assert said(ch01.check_loss, lambda a, b: squares(a, b).sum(1).mean(), capsys) == "passed\n"
