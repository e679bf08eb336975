"""Exercises of chapter 04: right answers pass in many forms, and each known mistake is told apart from all others.

What no answer may do to a check is tested in test_exercises.py, for the checks of all chapters.
"""

import inspect
import math
from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.special import expit
from test_exercises import in_one_line, mistakes, name_only, said
from torch.distributions import Bernoulli, Categorical

from course_lib import gans
from course_lib.exercises import calling, ch04
from course_lib.exercises.ch04 import games, losses, steps


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    """The first optimizer of a process imports much of torch; beside a busy neighbour that takes more than 5 s."""
    monkeypatch.setattr(calling, "LIMIT", 60.0)


# --- right answers; the notebook's own solutions are proved in test_exercises.py --------------------------------------

def my_discriminator_loss(real_logits, fake_logits):
    return -(F.logsigmoid(real_logits).mean() + F.logsigmoid(-fake_logits).mean())


def my_best_discriminator(log_p_r, log_p_g):
    return torch.sigmoid(log_p_r - log_p_g)


def my_slopes(logits):
    return -torch.sigmoid(logits), -torch.sigmoid(-logits)


def my_gan_losses(G, D, x, z):
    fakes = G(z)
    return my_discriminator_loss(D(x), D(fakes.detach())), -F.logsigmoid(D(fakes)).mean()


def my_dirac_step(theta, psi, lr):
    psi = psi - lr * theta * torch.sigmoid(psi * theta)
    theta = theta + lr * psi * torch.sigmoid(psi * theta)
    return theta, psi


# --- right answers, written in another way -------------------------------------------------------------------------

bce = F.binary_cross_entropy_with_logits


def loss_by_cross_entropy(r, f):
    return bce(r, torch.ones_like(r)) + bce(f, torch.zeros_like(f))


def loss_by_one_cross_entropy(r, f):
    labels = torch.cat([torch.ones(len(r)), torch.zeros(len(f))])
    return 2 * bce(torch.cat([r, f]), labels)


def loss_by_bernoulli(r, f):
    return -(Bernoulli(logits=r).log_prob(torch.ones_like(r)) + Bernoulli(logits=f).log_prob(0 * f)).mean()


def loss_by_two_classes(r, f):
    real = torch.stack([0 * r, r], 1).log_softmax(1)[:, 1]
    fake = torch.stack([0 * f, f], 1).log_softmax(1)[:, 0]
    return -(sum(real) + sum(fake)) / len(r)


def loss_by_logaddexp(r, f):
    zero = torch.zeros(())
    return torch.logaddexp(-r, zero).mean() + torch.logaddexp(f, zero).double().mean()


def best_by_search(log_p_r, log_p_g):
    """The D at which the integrand of V is largest, point by point, by bisection of its slope in the logit."""
    low, high = torch.full_like(log_p_r, -3000).double(), torch.full_like(log_p_r, 3000).double()
    for _ in range(80):                     # d/dl [p_r log σ(l) + p_g log σ(−l)] = p_r σ(−l) − p_g σ(l)
        l = (low + high) / 2
        up = log_p_r + F.logsigmoid(-l) > log_p_g + F.logsigmoid(l)
        low, high = torch.where(up, l, low), torch.where(up, high, l)
    return low.sigmoid()


def best_by_classes(log_p_r, log_p_g):
    return Categorical(logits=torch.stack([log_p_r, log_p_g], -1)).probs[:, 0]


def slopes_by_autograd(logits):
    l = logits.detach().clone().requires_grad_()
    return tuple(torch.autograd.grad(loss.sum(), l)[0] for loss in (F.logsigmoid(-l), -F.logsigmoid(l)))


def slopes_by_difference(logits):
    l, h = logits.double(), 1e-4
    slope = lambda f: (f(l + h) - f(l - h)) / (2 * h)
    return [slope(lambda l: F.logsigmoid(-l)), slope(lambda l: -F.logsigmoid(l))]


def losses_by_course(G, D, x, z):
    return gans.minimax_discriminator_loss(D(x), D(G(z).detach())), gans.non_saturating_generator_loss(D(G(z)))


def losses_without_detach(G, D, x, z):
    with torch.no_grad():
        fakes = G(z)
    return loss_by_cross_entropy(D(x), D(fakes)), bce(D(G(z)), torch.ones(len(z)))


def losses_with_frozen_players(G, D, x, z):
    G.requires_grad_(False)
    loss_D = my_discriminator_loss(D(x), D(G(z)))
    G.requires_grad_(True)
    D.requires_grad_(False)
    loss_G = -F.logsigmoid(D(G(z))).mean()
    D.requires_grad_(True)
    return [loss_D, loss_G]


def losses_in_one_batch(G, D, x, z):
    logits = D(torch.cat([x, G(z).detach()]))
    return torch.stack([my_discriminator_loss(*logits.chunk(2)), F.softplus(-D(G(z))).mean()])


def value(theta, psi):
    return F.logsigmoid(psi * 0) + F.logsigmoid(-psi * theta)


def dirac_by_autograd(theta, psi, lr):
    theta, psi = theta.clone().requires_grad_(), psi.clone().requires_grad_()
    psi = (psi + lr * torch.autograd.grad(value(theta, psi), psi)[0]).detach().requires_grad_()
    return theta - lr * torch.autograd.grad(value(theta, psi), theta)[0], psi


def dirac_by_optimizers(theta, psi, lr):
    G, D = torch.nn.Parameter(theta.clone()), torch.nn.Parameter(psi.clone())
    opt_D, opt_G = torch.optim.SGD([D], lr.item(), maximize=True), torch.optim.SGD([G], lr.item())
    for opt in (opt_D, opt_G):
        opt.zero_grad()
        value(G, D).backward()
        opt.step()
    return G, D


def dirac_in_numbers(theta, psi, lr):
    psi = psi - lr * theta * expit(float(psi * theta))
    return torch.tensor([theta + lr * psi / (1 + math.exp(-psi * theta)), psi])


RIGHT = [
    (ch04.check_discriminator_loss, my_discriminator_loss), (ch04.check_best_discriminator, my_best_discriminator),
    (ch04.check_generator_slopes, my_slopes), (ch04.check_gan_losses, my_gan_losses),
    (ch04.check_dirac_step, my_dirac_step),
    (ch04.check_discriminator_loss, gans.minimax_discriminator_loss),
    (ch04.check_discriminator_loss, loss_by_cross_entropy), (ch04.check_discriminator_loss, loss_by_one_cross_entropy),
    (ch04.check_discriminator_loss, loss_by_bernoulli), (ch04.check_discriminator_loss, loss_by_two_classes),
    (ch04.check_discriminator_loss, loss_by_logaddexp), (ch04.check_discriminator_loss, partial(loss_by_cross_entropy)),
    (ch04.check_discriminator_loss, lambda r, f: (F.softplus(-r) + F.softplus(f)).mean()),
    (ch04.check_best_discriminator, best_by_search), (ch04.check_best_discriminator, best_by_classes),
    (ch04.check_best_discriminator, lambda r, g: 1 / (1 + (g - r).exp())),
    (ch04.check_best_discriminator, lambda r, g: torch.exp(r - torch.logaddexp(r, g))),
    (ch04.check_best_discriminator, lambda r, g: gans.optimal_logits(r.double(), g.double()).sigmoid()),
    (ch04.check_best_discriminator, lambda r, g: (1 + torch.tanh((r - g) / 2)) / 2),
    (ch04.check_generator_slopes, slopes_by_autograd), (ch04.check_generator_slopes, slopes_by_difference),
    (ch04.check_generator_slopes, lambda l: torch.stack([-l.sigmoid(), l.sigmoid() - 1])),
    (ch04.check_generator_slopes, lambda l: (-1 / (1 + (-l).exp()), -1 / (1 + l.exp()))),
    (ch04.check_generator_slopes, lambda l: (gans.minimax_generator_slope(l), gans.non_saturating_generator_slope(l))),
    (ch04.check_gan_losses, losses_by_course), (ch04.check_gan_losses, losses_without_detach),
    (ch04.check_gan_losses, losses_with_frozen_players), (ch04.check_gan_losses, losses_in_one_batch),
    (ch04.check_dirac_step, dirac_by_autograd), (ch04.check_dirac_step, dirac_by_optimizers),
    (ch04.check_dirac_step, dirac_in_numbers),
    (ch04.check_dirac_step, lambda theta, psi, lr: gans.dirac_gan(theta.item(), psi.item(), lr.item(), 1,
                                                                  "alternating")[1]),
]


@pytest.mark.parametrize("check, answer", RIGHT, ids=lambda x: getattr(x, "__name__", ""))
def test_a_right_answer_passes_however_it_is_written(check, answer, capsys):
    assert said(check, answer, capsys) == "passed\n"


@pytest.mark.parametrize("check, answer", [*RIGHT[:5], (ch04.check_generator_slopes, slopes_by_autograd),
                                           (ch04.check_dirac_step, dirac_by_optimizers)],
                         ids=lambda x: x.__name__)
def test_gradients_are_asked_for_wherever_the_check_is_called(check, answer, capsys):
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            assert said(check, answer, capsys) == "passed\n"


def test_what_an_answer_prints_is_shown_once(capsys):
    for check, answer in RIGHT[:5]:
        def talks(*args, answer=answer):
            print("here")
            return answer(*args)
        talks.__signature__ = inspect.signature(answer)
        assert said(check, talks, capsys) == "here\npassed\n"


@pytest.mark.parametrize("known, arguments", [
    (losses.DISCRIMINATOR_MISTAKES, {"real_logits": torch.tensor([0.2, 0.7]), "fake_logits": torch.tensor([0.4, 0.8])}),
    (losses.SLOPE_MISTAKES, {"logits": torch.tensor([-2.0, 0.5])}), (steps.LOSSES_MISTAKES, steps._batch()),
    (games.BEST_MISTAKES, {"log_p_r": torch.tensor([-1.0, 0.5]), "log_p_g": torch.tensor([-2.0, -0.2])}),
    (games.DIRAC_MISTAKES, {"theta": torch.tensor(1.3), "psi": torch.tensor(0.7), "lr": torch.tensor(0.4)})],
    ids=["loss", "slopes", "step", "best", "dirac"])
def test_every_known_mistake_is_a_number(known, arguments):
    """A NaN would take in every answer that is NaN."""
    for mistake, message in known:
        got = mistake(**arguments)
        for part in got if isinstance(got, tuple) else (got,):
            assert part is None or part.isfinite().all(), message


# --- what the folded solutions say ---------------------------------------------------------------------------------

@pytest.mark.parametrize("theta, psi, lr", [(1.3, 0.7, 0.4), (-2.0, 0.3, 3.0), (0.01, -0.02, 0.1)])
def test_a_simultaneous_step_of_dirac_gan_goes_outwards_by_a_known_factor(theta, psi, lr):
    path = gans.dirac_gan(theta, psi, lr, 1)
    factor = path[1].square().sum() / path[0].square().sum()
    assert factor.item() == pytest.approx(1 + lr**2 * expit(psi * theta)**2, rel=1e-12)


@pytest.mark.parametrize("lr", [0.1, 1.0, 3.9])
def test_an_alternating_step_of_dirac_gan_turns_around_the_centre(lr):
    a, tiny = lr / 2, 1e-6
    columns = [gans.dirac_gan(*start, lr, 1, "alternating")[1] / tiny for start in ((tiny, 0.0), (0.0, tiny))]
    step = torch.stack(columns, 1)
    torch.testing.assert_close(step, torch.tensor([[1 - a**2, a], [-a, 1]], dtype=torch.float64), rtol=0, atol=1e-8)
    np.testing.assert_allclose(np.abs(np.linalg.eigvals(step.numpy())), 1, atol=1e-8)


def test_what_a_discriminator_that_knows_nothing_pays():
    assert my_discriminator_loss(torch.zeros(3), torch.zeros(3)).item() == pytest.approx(2 * math.log(2))
    sigmoid = torch.tensor([16.5, 17.0]).sigmoid()
    assert sigmoid[0] < 1 == sigmoid[1] and torch.tensor(88.5).exp().isfinite() and torch.tensor(89.0).exp().isinf()


def right_option(question):
    """The option at which the verdict is "Yes."; with any other it names that one."""
    options, yes = question.children[1].options, []
    for option in options:
        question.children[1].value = option
        told = question.children[2].value
        yes += [option] if "<b>Yes.</b>" in told else []
    assert len(yes) == 1 and len(options) == 3
    return yes[0]


def test_the_questions_know_their_answers():
    rare = torch.tensor([0.001])
    assert gans.optimal_discriminator(rare, rare) == 0.5 and right_option(ch04.predict_best()) == "½"
    slopes = [f"{-slope.item():.3f}" for slope in my_slopes(torch.tensor(0.001).logit())]
    assert right_option(ch04.predict_slopes()) == " and ".join(slopes)
    path = gans.dirac_gan(0.05, 0.0, 0.05, 500)
    assert bool((path.norm(dim=1).diff() > 0).all()) and "outwards" in right_option(ch04.predict_dirac())
    face, smile, glasses = np.eye(3)
    codes = {"A": face + smile + glasses, "B": face + glasses, "C": face}
    np.testing.assert_array_equal(eval(right_option(ch04.predict_vector()).replace("−", "-"), codes), face + smile)
    assert right_option(ch04.predict_balance()).startswith("it may come out better or worse")


# --- known mistakes: (answer, words that its message has and no other has) -----------------------------------------

log, sig = torch.log, torch.sigmoid


def on_logits(real=F.logsigmoid, fake=lambda f: F.logsigmoid(-f), total=torch.mean):
    return lambda r, f: -(total(real(r)) + total(fake(f)))


def naive(r, f):
    return -(log(sig(r)) + log(1 - sig(f))).mean()


def by_odds(r, f):
    return -(log(r.exp() / (1 + r.exp())) + log(1 / (1 + f.exp()))).mean()


def with_where(r, f):
    def softplus(l):
        return torch.where(l > 20, l, torch.log1p(l.exp()))
    return (softplus(-r) + softplus(f)).mean()


def bce_of(r, f):
    return F.binary_cross_entropy(r, torch.ones_like(r)) + F.binary_cross_entropy(f, torch.zeros_like(f))


LOSS = [
    (on_logits(fake=F.logsigmoid), "on the fakes you have log D for log(1 − D)"),
    (lambda r, f: bce(r, 0 * r + 1) + bce(f, 0 * f + 1), "on the fakes you have log D for log(1 − D)"),
    (on_logits(real=lambda r: F.logsigmoid(-r)), "on the real data you have log(1 − D)"),
    (lambda r, f: my_discriminator_loss(f, r), "the labels are exchanged"),
    (lambda r, f: bce(r, 0 * r) + bce(f, 0 * f + 1), "the labels are exchanged"),
    (lambda r, f: -my_discriminator_loss(r, f), "the sign is turned: this is V"),
    (lambda r, f: bce(r, 0 * r + 1) - bce(f, 0 * f), "the term of the fakes has the wrong sign"),
    (lambda r, f: bce(f, 0 * f) - bce(r, 0 * r + 1), "the term of the real data has the wrong sign"),
    (bce_of, "you take the logits for probabilities"),
    (lambda r, f: -log(r).mean() - log(1 - f).mean(), "you take the logits for probabilities"),
    (lambda r, f: loss_by_cross_entropy(sig(r), sig(f)), "the sigmoid is taken twice"),
    (lambda r, f: bce_of(sig(sig(r)), sig(sig(f))), "the sigmoid is taken twice"),
    (on_logits(total=torch.sum), "you add up the batch"),
    (lambda r, f: loss_by_cross_entropy(r, f) / 2, "you have half of it"),
    (lambda r, f: bce(torch.cat([r, f]), torch.cat([0 * r + 1, 0 * f])), "you have half of it"),
    (on_logits(total=lambda l: l), "you return one number for each pair"),
    (lambda r, f: bce(r, 0 * r + 1), "the fakes are missing"),
    (lambda r, f: bce(f, 0 * f), "the real data are missing"),
    (on_logits(lambda r: torch.log2(sig(r)), lambda f: torch.log2(sig(-f))), "your loss is in bits"),
    (lambda r, f: -log(sig(r).mean()) - log(1 - sig(f).mean()), "you take the log of the mean probability"),
    (lambda r, f: -sig(r).mean() - (1 - sig(f)).mean(), "the logarithms are missing. Without"),
    (lambda r, f: (1 - sig(r) + sig(f)).mean(), "the logarithms are missing. Without"),
    (lambda r, f: (sig(f) - sig(r)).mean(), "the logarithms are missing. Without"),
    (on_logits(fake=lambda f: torch.log1p(sig(f))), "on the fakes you have log(1 + D)"),
    (lambda r, f: bce(f, 0 * f + 1), "this is the generator's non-saturating loss"),
    (lambda r, f: -bce(f, 0 * f), "this is what the generator makes small"),
    (lambda r, f: f.mean() - r.mean(), "this is the loss of a Wasserstein critic"),
    (gans.hinge_discriminator_loss, "this is the hinge loss"),
    (gans.least_squares_discriminator_loss, "this is a squared error of the labels"),
    (lambda r, f: F.mse_loss(r, 0 * r + 1) + F.mse_loss(f, 0 * f), "this is a squared error of the labels"),
    (lambda r, f: F.mse_loss(sig(r), 0 * r + 1) + F.mse_loss(sig(f), 0 * f), "this is a squared error of the labels"),
    (lambda r, f: ((1 - sig(r))**2 + sig(f)**2).mean() / 2, "this is a squared error of the labels"),
    (naive, "and wrong, with logits of -1000 on the real data and 1000 on the fakes, your loss is inf"),
    (lambda r, f: naive(r.double(), f.double()), "and wrong, with logits of -1000 on the real data and 1000 on the "
     "fakes, your loss is inf"),
    (by_odds, "sure and right, with logits of 1000 on the real data and -1000 on the fakes, your loss is nan"),
    (lambda r, f: -(log(sig(r) + 1e-8) + log(1 - sig(f) + 1e-8)).mean(), "must be 2000, and yours is 36.84. Do not"),
    (lambda r, f: bce_of(sig(r), sig(f)), "must be 2000, and yours is 200. Do not clamp"),
    (lambda r, f: naive(r.clamp(-9, 9), f.clamp(-9, 9)), "must be 0, and yours is 0.0002468. Do not clamp"),
    (with_where, "the loss is right, but where the discriminator is sure and wrong, with logits of -1000 on the real "
     "data and 1000 on the fakes, its gradient with respect to real_logits is [nan, nan]; it must be [-0.5, -0.5]"),
    (lambda r, f: my_discriminator_loss(r, 2 * f - f.detach()),
     "its gradient with respect to fake_logits is [1, 1]; it must be [0.5, 0.5]"),
    (lambda r, f: my_discriminator_loss(r.detach(), f), "no gradient flows back to real_logits"),
    (lambda r, f: my_discriminator_loss(r, f.detach()), "no gradient flows back to fake_logits"),
    (lambda r, f: my_discriminator_loss(r, f).detach(), "no gradient flows back from it"),
    (lambda r, f: my_discriminator_loss(r, f).item(), "a Python number (float)"),
    (lambda r, f: my_discriminator_loss(r, f) * torch.nan, "your answer holds NaN"),
    (lambda r, f: my_discriminator_loss(r, f)[None], "the numbers are right, but for real_logits (5,)"),
    (lambda r, f: my_discriminator_loss(r, f) + 1, "the answer is 1.354, and yours is 2.354"),
    (lambda r, f: my_discriminator_loss(r + torch.randn(len(r)), f), "random numbers of its own"),
]


def of_p(f):
    return lambda r, g: f(torch.exp(r), torch.exp(g))


def ratio(r, g):
    return r / (r + g)


BEST = [
    (lambda r, g: my_best_discriminator(g, r), "the probability that x is *generated*"),
    (of_p(lambda r, g: 1 - ratio(r, g)), "the probability that x is *generated*"),
    (lambda r, g: (r - g).exp(), "this is p_r/p_g, which may be"), (of_p(lambda r, g: g / r), "the odds turned over"),
    (torch.sub, "the logits of D*"), (lambda r, g: g - r, "the logits with their sign turned"),
    (ratio, "you take the log densities for densities"),
    (of_p(lambda r, g: sig(r - g)), "σ of the difference of the *densities*"),
    (of_p(lambda r, g: sig(r / g)), "σ of the ratio"),
    (lambda r, g: (r > g).float(), "you decide, 1 or 0"), (lambda r, g: (sig(r - g) > 0.5) * 1.0, "you decide, 1 or 0"),
    (lambda r, g: sig(r), "p_g does not come in"), (lambda r, g: sig(g), "p_r does not come in"),
    (of_p(lambda r, g: r / r + g), "brackets are missing"), (of_p(lambda r, g: (r + g) / r), "stands on its head"),
    (of_p(lambda r, g: r), "you return p_r."), (of_p(lambda r, g: r + g), "the denominator only"),
    (of_p(lambda r, g: r - g), "you return p_r − p_g"),
    (of_p(lambda r, g: r / ((r + g) / 2)), "reaches up to 2"),
    (lambda r, g: torch.tanh((r - g) / 2), "it is 2 D* − 1"),
    (lambda r, g: 0 * r + 0.5, "you return ½ everywhere"), (lambda r, g: log(sig(r - g)), "you return log D*"),
    (of_p(lambda r, g: torch.minimum(r / g, torch.ones(()))), "cut p_r/p_g off at 1"),
    (lambda r, g: sig(2 * (r - g)), "your densities are squared"), (lambda r, g: sig((r - g) / 2), "you take the root"),
    (of_p(lambda r, g: sig(torch.log10(r / g))), "to base 10"), (of_p(lambda r, g: sig(torch.log2(r / g))), None),
    (lambda r, g: torch.softmax(r, 0), "you normalise over the points"),
    (lambda r, g: torch.softmax(r - g, 0), "you normalise over the points"),
    (of_p(lambda r, g: r / sum(r + g)), "you normalise over the points"),
    (of_p(lambda r, g: ratio(r / r.sum(), g / g.sum())), "you normalise over the points"),
    (lambda r, g: sig(r - g).mean(), "you return one number"), (lambda r, g: sig(r - g).sum(), "you return one number"),
    (of_p(ratio), "where log p_r = -1000 and log p_g = -1001 your answer is [nan]"),
    (lambda r, g: of_p(ratio)(r.double(), g.double()), "where log p_r = -1000 and log p_g = -1001 your answer is "
     "[nan]"),
    (lambda r, g: of_p(ratio)(r.clamp(max=0) - r.clamp(max=0) + (r - g).clamp(-80, 80), 0 * g) if (r < 0).all()
     else of_p(ratio)(r, g), "where log p_r = 1000 and log p_g = 1002 your answer is [nan]"),
    (lambda r, g: (r - g).exp() / (1 + (r - g).exp()), "where log p_r = 1000 and log p_g = -1000 your answer is [nan]"),
    (of_p(lambda r, g: r / (r + g + 1e-9)), "Do not clamp, and add no small number to the densities"),
    (lambda r, g: of_p(ratio)(r.clamp(-80, 80), g.clamp(-80, 80)),
     "Do not clamp, and add no small number to the densities"),
    (lambda r, g: sig(r - g)[:, None], "the numbers are right, but for log_p_r (6,)"),
    (lambda r, g: sig(r - g) + 1, "the answer is [0.75, 0.2], and yours is [1.75, 1.2]"),
    (lambda r, g: sig(r - g + torch.rand(len(r))), "random numbers of its own"),
]
BEST = [(answer, words or "to base 2") for answer, words in BEST]


def pair(saturating=lambda l: -sig(l), non_saturating=lambda l: -sig(-l)):
    return lambda l: (saturating(l), non_saturating(l))


def through_the_mean(l):
    l = l.clone().requires_grad_()
    return tuple(torch.autograd.grad(loss, l)[0] for loss in (F.logsigmoid(-l).mean(), -F.logsigmoid(l).mean()))


def derivative(l):
    return sig(l) * (1 - sig(l))


SLOPES = [
    (lambda l: my_slopes(l)[::-1], "the two are exchanged"), (lambda l: my_slopes(-l), "the two are exchanged"),
    (lambda l: (sig(l), sig(-l)), "both signs are turned"),
    (lambda l: (log(1 - sig(l)), -log(sig(l))), "you return the two losses"),
    (pair(sig), "saturating: the sign is turned. log(1 − σ(l)) falls"),
    (pair(lambda l: sig(l) - 1), "you have −(1 − D), the slope of −log D"),
    (lambda l: (-sig(-l), -sig(-l)), "you have −(1 − D), the slope of −log D"),
    (pair(lambda l: 1 - sig(l)), "you have 1 − D, the slope of log D"),
    (pair(non_saturating=lambda l: 1 - sig(l)), "the slope of + log D"),
    (lambda l: (-sig(l), -sig(l)), "you have −D, the slope of log(1 − D)"),
    (lambda l: (-sig(l), sig(l)), "you have + D, the slope of −log(1 − D)"),
    (lambda l: (-1 / (1 - sig(l)), -1 / sig(l)), "saturating: this is the slope with respect to D"),
    (pair(non_saturating=lambda l: -1 / sig(l)), "non-saturating: this is the slope with respect to D"),
    (pair(lambda l: -sig(l) / (1 - sig(l))), "saturating: you have one factor"),
    (pair(non_saturating=lambda l: -(1 - sig(l)) / sig(l)), "non-saturating: you have one factor"),
    (lambda l: (-derivative(l), -derivative(l)), "saturating: you have the slope of D itself"),
    (pair(derivative), "saturating: you have the slope of D itself"),
    (pair(non_saturating=derivative), "non-saturating: you have the slope of D itself"),
    (pair(non_saturating=lambda l: -derivative(l)), "non-saturating: you have the slope of D itself"),
    (lambda l: (-l, -(1 - l)), "saturating: you take the logit for a probability"),
    (pair(non_saturating=lambda l: l - 1), "non-saturating: you take the logit for a probability"),
    (pair(non_saturating=lambda l: l), "non-saturating: you take the logit for a probability"),
    (lambda l: my_slopes(sig(l)), "saturating: the sigmoid is taken twice"),
    (pair(non_saturating=lambda l: my_slopes(sig(l))[1]), "non-saturating: the sigmoid is taken twice"),
    (pair(non_saturating=lambda l: -sig(sig(-l))), "non-saturating: the sigmoid is taken twice"),
    (through_the_mean, "saturating: you divide by B"),
    (pair(non_saturating=lambda l: -sig(-l) / len(l)), "non-saturating: you divide by B"),
    (lambda l: (-sig(l).mean(), -sig(-l).mean()), "saturating: you return one number"),
    (pair(lambda l: -sum(sig(l))), "saturating: you return one number"),
    (pair(non_saturating=lambda l: -sig(-l).mean()), "non-saturating: you return one number"),
    (pair(non_saturating=lambda l: -sum(sig(-l))), "non-saturating: you return one number"),
    (pair(lambda l: -l.exp() / (1 + l.exp())),
     "at the logits (−100, 100) your saturating slope is [0, nan]; it must be [0, -1]"),
    (pair(non_saturating=lambda l: -(-l).exp() / (1 + (-l).exp())),
     "at the logits (−100, 100) your non-saturating slope is [nan, 0]; it must be [-1, 0]"),
    (pair(lambda l: -sig(l.clamp(max=0))), "in a simple case your function is right, but for logits (6,) the answer"),
    (pair(lambda l: torch.where(l == 0, 0.0, -sig(l))),
     "saturating slope = [-0.5, -0.001] and non-saturating slope = [-0.5, -0.999], and yours is saturating slope = "
     "[0, -0.001]"),
    (pair(lambda l: -sig(l)[:, None]), "saturating slope: the numbers are right, but for logits (6,)"),
    (pair(non_saturating=lambda l: -sig(-l).tolist()[0]), "its non-saturating slope is a Python number (float)"),
    (pair(lambda l: (-sig(l)).half()), "saturating slope: your function returns numbers of dtype float16"),
    (lambda l: -sig(l)[:1], "your answer has shape (1,), one tensor, where two tensors are due"),
    (lambda l: (*my_slopes(l), l), "a tuple of 3, where two tensors are due"),
    (lambda l: (my_slopes(l)[0] - 1, my_slopes(l)[1]),
     "saturating slope = [-0.5, -0.001] and non-saturating slope = [-0.5, -0.999], and yours is saturating slope = "
     "[-1.5, -1.001]"),
    (pair(lambda l: -sig(l) + 0.1 * torch.rand(len(l))), "random numbers of its own"),
]


def with_losses(on_D=my_discriminator_loss, on_G=lambda r, f: -F.logsigmoid(f).mean()):
    """The two losses as functions of D(x) and D(G(z))."""
    return lambda G, D, x, z: (on_D(D(x), D(G(z).detach())), on_G(D(x), D(G(z))))


def under_no_grad(G, D, x, z):
    with torch.no_grad():
        return my_gan_losses(G, D, x, z)


def fakes_without_gradient(G, D, x, z):
    with torch.no_grad():
        judged = D(G(z))
    return my_discriminator_loss(D(x), D(G(z).detach())), bce(judged, torch.ones(len(z)))


def one_detached(G, D, x, z):
    fakes = G(z).detach()
    return my_discriminator_loss(D(x), D(fakes)), -F.logsigmoid(D(fakes)).mean()


def judged_by_a_frozen_D(G, D, x, z):
    loss_D, loss_G = my_gan_losses(G, D, x, z)
    D.requires_grad_(False)
    return loss_D, loss_G


def steps_D_first(G, D, x, z):
    optimizer = torch.optim.SGD(D.parameters(), 0.1)
    loss_D = my_discriminator_loss(D(x), D(G(z).detach()))
    loss_D.backward()
    optimizer.step()
    optimizer.zero_grad()
    return loss_D, -F.logsigmoid(D(G(z))).mean()


def goes_back(G, D, x, z):
    loss_D, loss_G = my_gan_losses(G, D, x, z)
    loss_G.backward(retain_graph=True)
    return loss_D, loss_G


def in_double(G, D, x, z):
    return my_gan_losses(G.double(), D.double(), x.double(), z.double())


def forgets_its_weights(G, D, x, z):
    losses = my_gan_losses(G, D, x, z)
    del D.weight
    return losses


def half_seen(loss):
    """The same number, and half of its gradient."""
    return (loss + loss.detach()) / 2


STEP = [
    (lambda *given: my_gan_losses(*given)[::-1], "the two are exchanged: return loss_D first"),
    (lambda G, D, x, z: (my_discriminator_loss(D(x), D(z)), -F.logsigmoid(D(G(z))).mean()),
     "loss_D: you give D the noise z"),
    (lambda G, D, x, z: (my_discriminator_loss(D(x), D(G(x))), -F.logsigmoid(D(G(z))).mean()),
     "loss_D: you put x through G"),
    *[(with_losses(wrong), f"loss_D: {words}") for wrong, words in LOSS[:32]],
    (with_losses(lambda r, f: my_discriminator_loss(f, f)), "both terms are of the fakes"),
    (with_losses(lambda r, f: my_discriminator_loss(r, r)), "both terms are of the real data"),
    (lambda G, D, x, z: (my_gan_losses(G, D, x, z)[0], -F.logsigmoid(D(z)).mean()), "loss_G: you give D the noise z"),
    (lambda G, D, x, z: (my_gan_losses(G, D, x, z)[0], -F.logsigmoid(D(G(x))).mean()), "loss_G: you put x through G"),
    *[(with_losses(on_G=wrong), words) for wrong, words in [
        (lambda r, f: log(1 - sig(f)).mean(), "this is log(1 − D(G(z))), of the minimax game"),
        (lambda r, f: -loss_by_cross_entropy(r, f), "this is V, that is, −loss_D"),
        (loss_by_cross_entropy, "this is loss_D once more"),
        (lambda r, f: bce(f, 0 * f), "this is −log(1 − D(G(z))), least"),
        (lambda r, f: log(sig(f)).mean(), "loss_G: the sign is turned"),
        (lambda r, f: bce(r, 0 * r + 1), "this is −log D(x)"),
        (lambda r, f: bce(r, 0 * r + 1) + bce(f, 0 * f + 1), "the real data are in it"),
        (lambda r, f: bce(r, 0 * r) + bce(f, 0 * f + 1), "this is D's loss with the labels exchanged"),
        (lambda r, f: -log(f).mean(), "loss_G: you take the logits for probabilities"),
        (lambda r, f: bce(sig(f), 0 * f + 1), "loss_G: the sigmoid is taken twice"),
        (lambda r, f: bce(f, 0 * f + 1, reduction="sum"), "loss_G: you add up the batch"),
        (lambda r, f: -log(sig(f)), "loss_G: you return one number for each fake"),
        (lambda r, f: bce(f, 0 * f + 1) / 2, "loss_G: you have half of it"),
        (lambda r, f: -torch.log2(sig(f)).mean(), "loss_G: it is in bits"),
        (lambda r, f: -log(sig(f).mean()), "loss_G: you take the log of the mean"),
        (lambda r, f: -sig(f).mean(), "loss_G: the logarithm is missing"),
        (lambda r, f: (1 - sig(f)).mean(), "loss_G: the logarithm is missing"),
        (lambda r, f: -f.mean(), "loss_G: this is −l, of the hinge loss")]],
    (lambda G, D, x, z: (my_discriminator_loss(D(x), D(G(z))), -F.logsigmoid(D(G(z))).mean()),
     "loss_D has a gradient in G as well"),
    (lambda G, D, x, z: (my_discriminator_loss(D(x), D(G(z.detach()))), -F.logsigmoid(D(G(z))).mean()),
     "loss_D has a gradient in G as well"),
    (one_detached, "the fakes are detached here too"),
    (fakes_without_gradient, "no gradient flows from loss_G to G"),
    (lambda G, D, x, z: (my_gan_losses(G, D, x, z)[0], -F.logsigmoid(D(G(z)).detach()).mean()),
     "no gradient flows from loss_G to G"),
    (under_no_grad, "no gradient flows from loss_D to D"),
    (lambda *given: [loss.detach() for loss in my_gan_losses(*given)], "no gradient flows from loss_D to D"),
    (lambda G, D, x, z: (my_discriminator_loss(D(x), D(G(z)).detach()), -F.logsigmoid(D(G(z))).mean()),
     "reaches D through the real data only"),
    (lambda G, D, x, z: (my_discriminator_loss(D(x).detach(), D(G(z).detach())), -F.logsigmoid(D(G(z))).mean()),
     "reaches D through the fakes only"),
    (lambda *given: (half_seen(my_gan_losses(*given)[0]), my_gan_losses(*given)[1]), "not the gradient of loss_D in D"),
    (lambda *given: (my_gan_losses(*given)[0], half_seen(my_gan_losses(*given)[1])), "not the gradient of loss_G in G"),
    (judged_by_a_frozen_D, "your function leaves D frozen"),
    (lambda G, D, x, z: (G.requires_grad_(False), *my_gan_losses(G, D, x, z))[1:], "your function leaves G frozen"),
    (steps_D_first, "your function changes the weights of D"), (in_double, "changes the weights of G"),
    (forgets_its_weights, "your function changes the weights of D"), (goes_back, "your function calls .backward()"),
    (lambda *given: [loss.item() for loss in my_gan_losses(*given)], "its loss_D is a Python number (float)"),
    (with_losses(on_G=lambda r, f: -F.logsigmoid(f.abs()).mean()), "but for logits from −4 to 4 loss_G must be"),
    (with_losses(lambda r, f: my_discriminator_loss(r, f.clamp(0, 1))), "but for logits from −4 to 4 loss_D must be"),
    (lambda *given: sum(my_gan_losses(*given)), "one tensor, where two tensors are due, loss_D and loss_G"),
    (lambda *given: {"D": 1, "G": 2}, "an object of type dict, where two tensors are due"),
    (lambda G, D, x, z: my_gan_losses(G, D, x, torch.randn_like(z)), "random numbers of its own"),
    (lambda *given: (my_gan_losses(*given)[0], my_gan_losses(*given)[1] + 1),
     "the answer is loss_D = 1.322 and loss_G = 0.5108, and yours is loss_D = 1.322 and loss_G = 1.511"),
    (lambda *given: (my_gan_losses(*given)[0], my_gan_losses(*given)[1][None]), "loss_G: the numbers are right"),
]


def dirac(up=lambda t, p: -t * sig(t * p), down=lambda t, p, old: -p * sig(t * p)):
    """ψ ← ψ + lr · up(θ, ψ), then θ ← θ − lr · down(θ, new ψ, old ψ)."""
    def step(theta, psi, lr):
        new = psi + lr * up(theta, psi)
        return theta - lr * down(theta, new, psi), new
    return step


def generator_first(theta, psi, lr):
    psi, theta = dirac(lambda psi, theta: psi * sig(theta * psi), lambda psi, theta, _: theta * sig(theta * psi))(
        psi, theta, lr)
    return theta, psi


ON_D, ON_G = "the discriminator's step: ", "the generator's step: "
DIRAC = [
    (lambda *given: my_dirac_step(*given)[::-1], "the two are exchanged: return theta first"),
    (dirac(down=lambda t, p, old: -old * sig(t * old)), "this is the simultaneous step"),
    (generator_first, "the generator moves first"),
    (lambda t, p, lr: (my_dirac_step(t, p, lr)[0] - t, my_dirac_step(t, p, lr)[1] - p), "you return the changes"),
    (dirac(lambda t, p: 0), ON_D + "it did not move"),
    (dirac(lambda t, p: t * sig(t * p)), ON_D + "the sign is turned"),
    (dirac(lambda t, p: t * sig(t * p), lambda t, p, old: p * sig(t * p)), ON_D + "the sign is turned"),
    (dirac(lambda t, p: t * sig(t * p), lambda t, p, old: -old * sig(t * old)), ON_D + "the sign is turned"),
    (dirac(lambda t, p: -t, lambda t, p, old: -p), ON_D + "the σ is missing"),
    (dirac(lambda t, p: t), ON_D + "the σ is missing"),
    (dirac(lambda t, p: t * sig(-t * p)), ON_D + "you have the gradient of log D for that of log(1 − D)"),
    (dirac(lambda t, p: -t * sig(-t * p), lambda t, p, old: -p * sig(-t * p)), ON_D + "you have σ(−ψθ)"),
    (dirac(lambda t, p: -t / 2), ON_D + "you have ½ for σ(ψθ)"),
    (dirac(down=lambda t, p, old: -p / 2), ON_G + "you have ½ for σ(ψθ)"),
    (dirac(lambda t, p: -t * sig(2 * t * p)), "but for theta = 1.3, psi = 0.7, lr = 0.4 the answer is theta = "),
    (dirac(lambda t, p: -p * sig(t * p)), ON_D + "psi is moved along psi"),
    (dirac(lambda t, p: -t / (1 - sig(t * p))), ON_D + "you differentiate the logarithm with respect to D"),
    (dirac(lambda t, p: t / (1 - sig(t * p))), ON_D + "you differentiate the logarithm with respect to D"),
    (dirac(lambda t, p: -t * derivative(t * p)), ON_D + "you differentiate D itself"),
    (dirac(lambda t, p: t * derivative(t * p)), ON_D + "you differentiate D itself"),
    (lambda t, p, lr: my_dirac_step(t, p, 1), ON_D + "lr does not come in"),
    (dirac(down=lambda t, p, old: 0), ON_G + "it did not move"),
    (dirac(down=lambda t, p, old: p * sig(t * p)), ON_G + "the sign is turned"),
    (dirac(down=lambda t, p, old: -p * sig(-t * p)), ON_G + "you have σ(−ψθ)"),
    (dirac(down=lambda t, p, old: p * sig(-t * p)), ON_G + "G descends log D"),
    (dirac(down=lambda t, p, old: -p), ON_G + "the σ is missing"),
    (dirac(down=lambda t, p, old: p), ON_G + "the σ is missing"),
    (dirac(down=lambda t, p, old: -p * sig(t * old)), ON_G + "the new psi stands in one place"),
    (dirac(down=lambda t, p, old: -old * sig(t * p)), ON_G + "the new psi stands in one place"),
    (dirac(down=lambda t, p, old: -old * sig(-t * old)), "the psi that was, and you have σ(−ψθ)"),
    (dirac(down=lambda t, p, old: old * sig(t * old)), "the psi that was, and the wrong way"),
    (dirac(down=lambda t, p, old: -t * sig(t * p)), ON_G + "theta is moved along theta"),
    (dirac(down=lambda t, p, old: -p / (1 - sig(t * p))), ON_G + "you differentiate the logarithm with respect to D"),
    (dirac(down=lambda t, p, old: p / (1 - sig(t * p))), ON_G + "you differentiate the logarithm with respect to D"),
    (dirac(down=lambda t, p, old: -p * derivative(t * p)), ON_G + "you differentiate D itself"),
    (dirac(down=lambda t, p, old: p * derivative(t * p)), ON_G + "you differentiate D itself"),
    (lambda t, p, lr: ((s := my_dirac_step(t, p, lr))[1] * sig(s[1] * t) + t, s[1]), ON_G + "lr does not come in"),
    (lambda *given: torch.stack(my_dirac_step(*given)) + 1,
     "the answer is theta = 0.8112 and psi = -0.5, and yours is theta = 1.811 and psi = 0.5"),
    (lambda *given: my_dirac_step(*given)[0], "your answer has shape (), one tensor, where two tensors are due"),
    (lambda *given: [number.item() for number in my_dirac_step(*given)], "its theta is a Python number (float)"),
    (lambda *given: (my_dirac_step(*given)[0][None], my_dirac_step(*given)[1]), "theta: the numbers are right"),
    (lambda t, p, lr: (t * torch.nan, my_dirac_step(t, p, lr)[1]), "theta: your answer holds NaN"),
    (lambda t, p, lr: my_dirac_step(t, p, lr * torch.rand(())), "random numbers of its own"),
]


@pytest.mark.parametrize("check, answer, words, others", mistakes([
    (ch04.check_discriminator_loss, LOSS), (ch04.check_best_discriminator, BEST),
    (ch04.check_generator_slopes, SLOPES), (ch04.check_gan_losses, STEP), (ch04.check_dirac_step, DIRAC)]))
def test_a_known_mistake_is_named(check, answer, words, others, capsys):
    name_only(words, in_one_line(said(check, answer, capsys)), others)
