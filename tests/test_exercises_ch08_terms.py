"""Exercises of chapter 08, the terms L_llike and L_GAN: each known mistake is told apart from all others."""

import math

import pytest
import torch
import torch.nn.functional as F
from test_exercises import in_one_line, mistakes, name_only, said
from test_exercises_ch08 import bce, log, my_gan_term, my_llike, sig
from torch.distributions import MultivariateNormal, Normal

from course_lib import gans
from course_lib.exercises import calling, ch08


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    """Beside a busy neighbour a matrix of 2048 × 2048 takes a while."""
    monkeypatch.setattr(calling, "LIMIT", 60.0)


# --- known mistakes: (answer, words that its message has and no other has) -------------------------------------------

def of_errors(f):
    return lambda a, b: f(((a - b)**2).sum((1, 2, 3)), a[0].numel())


def nll(e, n):
    return e / 2 + n * math.log(2 * math.pi) / 2


def with_sigma(s):
    return lambda f, t: -Normal(t, s).log_prob(f).sum((1, 2, 3)).mean()


def floored(f, t):
    p = Normal(t, 1.0).log_prob(f).sum((1, 2, 3)).exp()
    return -(p + 1e-30).log().mean()


LLIKE = [
    (lambda f, t: -Normal(t, 1.0).log_prob(f).exp().prod(3).prod(2).prod(1).mean(), "this is −E[p], as it is often"),
    (of_errors(lambda e, n: -torch.exp(-e / 2).mean()), "this is −E[p], as it is often"),
    (of_errors(lambda e, n: torch.exp(-nll(e, n)).mean()), "this is E[p], without its minus"),
    (of_errors(lambda e, n: torch.exp(-e / 2).mean()), "this is E[p], without its minus"),
    (of_errors(lambda e, n: -torch.exp(-nll(e, n)).mean().log()), "the log of the batch's *mean density*"),
    (of_errors(lambda e, n: -torch.exp(-e / 2).mean().log()), "the log of the batch's *mean density*"),
    (lambda f, t: -my_llike(f, t), "the sign is turned: this is + log p"),
    (of_errors(lambda e, n: -e.mean() / 2), "the sign is turned: this is + log p"),
    (of_errors(lambda e, n: (nll(e, n) + e / 2).mean()), "the ½ is missing: log N"),
    (of_errors(lambda e, n: e.mean()), "squared error, without its ½"),
    (lambda f, t: F.gaussian_nll_loss(t, f, torch.ones_like(f)), "the mean over the features. They"),
    (lambda f, t: F.gaussian_nll_loss(t, f, torch.ones_like(f), full=True), "the mean over the features. They"),
    (lambda f, t: -Normal(t, 1.0).log_prob(f).mean(), "the mean over the features. They"),
    (lambda f, t: F.mse_loss(t, f), "this is the mean squared error, over features too"),
    (lambda f, t: F.mse_loss(t, f) / 2 + f[0].numel() * math.log(2 * math.pi) / 2, "constant is that of all features"),
    (of_errors(lambda e, n: nll(e, n).sum()), "you add the images up, so"),
    (of_errors(lambda e, n: e.sum() / 2), "you add the images up, so"),
    (lambda f, t: F.mse_loss(t, f, reduction="sum"), "you add the images up, and the ½"),
    (of_errors(nll), "one number for each image"), (of_errors(lambda e, n: e / 2), "one number for each image"),
    (lambda f, t: with_sigma(F.mse_loss(t, f).sqrt())(f, t), "your σ is fitted to the batch"),
    (of_errors(lambda e, n: nll(e, 1).mean()), "your constant is that of one feature"),
    (of_errors(lambda e, n: nll(e, 2 * n).mean()), "your constant is twice what it is"),
    (of_errors(lambda e, n: nll(e, -n).mean()), "the constant has the wrong sign"),
    (of_errors(lambda e, n: nll(e, n).mean() / math.log(2)), "it is in bits"),
    (lambda f, t: (f - t).flatten(1).norm(dim=1).mean(), "the length of the error"),
    (lambda f, t: (f - t).abs().sum((1, 2, 3)).mean(), "as a Laplace density"),
    (with_sigma(2.0), "off by 1: that costs 0.125 more"), (with_sigma(0.5), "off by 1: that costs 2 more"),
    (with_sigma(math.sqrt(2)), "off by 1: that costs 0.25 more"),
    (lambda f, t: my_llike(f, t) + 1, "not the constant: for two features without error yours is 2.838"),
    (of_errors(lambda e, n: (e**1.5).mean()), "the answer is 4.338, and yours is 11.18"),
    (lambda f, t: -Normal(t, 1.0).log_prob(f).prod(1).sum((1, 2)).mean(), "the answer is 4.338, and yours is"),
    (lambda f, t: my_llike(f[:, :2], t[:, :2]), "in a small case your function is right"),
    (lambda f, t: -Normal(t, 1.0).log_prob(f).sum((1, 2, 3)).exp().log().mean(), "p is about e^−2900"),
    (lambda f, t: -MultivariateNormal(t.flatten(1).double(), torch.eye(t[0].numel()).double())
     .log_prob(f.flatten(1)).exp().log().mean(), "p is about e^−2900"),
    (floored, "and yours is 69.08. Is something clamped"),
    (lambda f, t: my_llike(f, t.detach()) + 0 * t.sum(), "its gradient in the features of x̃ is not"),
    (lambda f, t: my_llike(f.requires_grad_(), t.detach()), "no gradient flows back to the features of x̃"),
    (lambda f, t: my_llike(f, t).detach(), "no gradient flows back from it"),
    (lambda f, t: my_llike(f, t).item(), "a Python number (float)"),
    (lambda f, t: my_llike(f, t) + 0.1 * torch.rand(()), "random numbers of its own"),
    (lambda f, t: my_llike(f, t)[None], "the numbers are right, but for features_x (5, 3, 1, 2)"),
]


def terms(x=F.logsigmoid, t=lambda l: F.logsigmoid(-l), p=lambda l: F.logsigmoid(-l)):
    return lambda a, b, c: sum(f(l).mean() for f, l in ((x, a), (t, b), (p, c)) if f)


def log_not(l):
    return F.logsigmoid(-l)


def naive_gan(x, t, p):
    return (log(sig(x)) + log(1 - sig(t)) + log(1 - sig(p))).mean()


def gan_with_where(x, t, p):
    def softplus(l):
        return torch.where(l > 20, l, torch.log1p(l.exp()))
    return -(softplus(-x) + softplus(t) + softplus(p)).mean()


def bce_of(l, y):
    return F.binary_cross_entropy(sig(l), torch.full_like(l, y))


GAN = [
    (terms(t=None), "x̃ is missing: this is a plain GAN's"), (terms(p=None), "x_p is missing: Dis sees"),
    (lambda x, t, p: -bce(x, 0 * x + 1) - bce(p, 0 * p), "x̃ is missing: this is a plain GAN's"),
    (terms(x=None), "x is missing: a Dis"), (terms(t=None, p=None), "x̃ and x_p are missing"),
    (terms(t=F.logsigmoid), "x̃ has log D where"), (terms(p=F.logsigmoid), "x_p has log D where"),
    (terms(t=F.logsigmoid, p=F.logsigmoid), "all three have log D:"), (terms(x=log_not), "all three have log(1 − D)"),
    (terms(log_not, F.logsigmoid, F.logsigmoid), "the labels are exchanged"),
    (lambda *l: my_gan_term(*l) / 3, "this is a third of it"),
    (lambda x, t, p: -bce(torch.cat([x, t, p]), torch.cat([0 * x + 1, 0 * t, 0 * p])), "this is a third of it"),
    (lambda x, t, p: F.logsigmoid(x).mean() + F.logsigmoid(-torch.cat([t, p])).mean(), "you halve the fakes"),
    (lambda x, t, p: -gans.minimax_discriminator_loss(x, t) - gans.minimax_discriminator_loss(x, p), "x counts twice"),
    (lambda *l: -my_gan_term(*l), "the sign is turned: this is −L_GAN"),
    (lambda x, t, p: bce(torch.cat([x, t, p]), torch.cat([0 * x + 1, 0 * t, 0 * p])), "and it is a third"),
    (terms(t=F.softplus, p=F.softplus), "the terms of x̃ and x_p have the wrong sign"),
    (terms(x=lambda l: F.softplus(-l)), "the term of x has the wrong sign"),
    (terms(p=F.softplus), "the term of x_p has the wrong sign"),
    (terms(t=F.softplus), "the term of x̃ has the wrong sign"),
    (lambda x, t, p: my_gan_term(x, t, t), "x̃ is in it twice"),
    (lambda x, t, p: my_gan_term(x, p, p), "x_p is in it twice"),
    (lambda x, t, p: bce(t, 0 * t + 1) + bce(p, 0 * p + 1), "what Dec *descends* in the non-saturating form"),
    (lambda x, t, p: F.logsigmoid(x).sum() + log_not(t).sum() + log_not(p).sum(), "you add up the batch"),
    (lambda x, t, p: F.logsigmoid(x) + log_not(t) + log_not(p), "one number for each x"),
    (lambda x, t, p: (log(x) + log(1 - t) + log(1 - p)).mean(), "the logits for probabilities"),
    (lambda x, t, p: my_gan_term(sig(x), sig(t), sig(p)), "the sigmoid is taken twice"),
    (lambda *l: my_gan_term(*l) / math.log(2), "it is in bits"),
    (lambda x, t, p: log(sig(x).mean()) + log(1 - sig(t).mean()) + log(1 - sig(p).mean()), "the log of the mean"),
    (terms(sig, lambda l: 1 - sig(l), lambda l: 1 - sig(l)), "the logarithms are missing"),
    (lambda x, t, p: (sig(x) - sig(t) - sig(p)).mean(), "the logarithms are missing"),
    (terms(t=lambda l: torch.log1p(sig(l)), p=lambda l: torch.log1p(sig(l))), "you have log(1 + D)"),
    (lambda x, t, p: x.mean() - t.mean() - p.mean(), "a critic's gap"),
    (naive_gan, "sure and wrong, with logits of -1000 on x and 1000 on x̃ and x_p, your L_GAN is -inf"),
    (lambda x, t, p: (log(sig(x) + 1e-8) + log(1 - sig(t) + 1e-8) + log(1 - sig(p) + 1e-8)).mean(),
     "must be -3000, and yours is -55.26"),
    (lambda x, t, p: -(bce_of(x, 1.0) + bce_of(t, 0.0) + bce_of(p, 0.0)), "must be -3000, and yours is -300. Do"),
    (gan_with_where, "its gradient with respect to logits_x is [nan, nan]; it must be [0.5, 0.5]"),
    (lambda x, t, p: my_gan_term(x, 2 * t - t.detach(), p),
     "its gradient with respect to logits_x_tilde is [-1, -1]; it must be [-0.5, -0.5]"),
    (lambda x, t, p: my_gan_term(x, t.detach(), p), "no gradient flows back to logits_x_tilde"),
    (lambda *l: my_gan_term(*l).detach(), "no gradient flows back from it"),
    (lambda *l: my_gan_term(*l).item(), "a Python number (float)"),
    (lambda *l: my_gan_term(*l) * torch.nan, "your answer holds NaN"),
    (lambda *l: 5 * my_gan_term(*l[:2], l[2][:1]), "the answer is -2.505, and yours is"),
    (lambda *l: my_gan_term(*l)[None], "the numbers are right, but for logits_x (5,)"),
]


@pytest.mark.filterwarnings("ignore:reduction")
@pytest.mark.parametrize("check, answer, words, others", mistakes([
    (ch08.check_llike, LLIKE), (ch08.check_gan_term, GAN)]))
def test_a_known_mistake_is_named(check, answer, words, others, capsys):
    name_only(words, in_one_line(said(check, answer, capsys)), others)
