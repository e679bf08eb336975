"""Exercises of chapter 08: right answers pass in many forms, and what is said in them is true.

Known mistakes: test_exercises_ch08_terms.py and test_exercises_ch08_steps.py. What no answer
may do to a check is tested in test_exercises.py, for the checks of all chapters.
"""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from test_exercises import in_one_line, said
from torch import nn
from torch.distributions import Bernoulli, MultivariateNormal, Normal

from course_lib import gans
from course_lib.autoencoders import feature_nll, gaussian_nll
from course_lib.exercises import calling, ch08
from course_lib.exercises.ch08 import gan_term, llike, signs, toy


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    """Beside a busy neighbour a matrix of 2048 × 2048 takes a while."""
    monkeypatch.setattr(calling, "LIMIT", 60.0)


log, sig = torch.log, torch.sigmoid


# --- right answers; the notebook's own solutions are proved in test_exercises.py -------------------------------------

def my_llike(f, t):
    n = f[0].numel()
    return ((f - t).square().flatten(1).sum(1) / 2 + n / 2 * math.log(2 * math.pi)).mean()


def my_three_gradients(enc, dec, dis, losses):
    return [torch.autograd.grad(losses[i], net.weight, retain_graph=i < 2)[0] for i, net in enumerate((enc, dec, dis))]


def my_gan_term(x, t, p):
    return F.logsigmoid(x).mean() + F.logsigmoid(-t).mean() + F.logsigmoid(-p).mean()


def my_enc_dec_losses(prior, llike, gan, gamma):
    return prior + llike, gamma * llike + gan


def my_step(dec, dis, llike, gan_dec, gan_dis, gamma, lr):
    return dec - lr * (gamma * llike + gan_dec), dis + lr * gan_dis


# --- right answers, written in another way -------------------------------------------------------------------------

def llike_by_normal(f, t):
    return -Normal(t, 1.0).log_prob(f).sum((1, 2, 3)).mean()


def llike_by_multivariate_normal(f, t):
    f, t = f.flatten(1), t.flatten(1)
    return -MultivariateNormal(t, torch.eye(f.shape[1])).log_prob(f).mean()


def llike_in_loops(f, t):
    total = 0
    for a, b in zip(f.flatten(1), t.flatten(1), strict=True):
        total = total - Normal(b, 1.0).log_prob(a).double().sum()
    return total / len(f)


def llike_by_gaussian_loss(f, t):
    return F.gaussian_nll_loss(t, f, torch.ones_like(f), full=True) * f[0].numel()


def llike_of_detached(f, t):
    return gaussian_nll(t, f.detach()).mean()


def by_backward(enc, dec, dis, losses):
    found = []
    for net, loss in zip((enc, dec, dis), losses, strict=True):
        for other in (enc, dec, dis):
            other.weight.grad = None
        loss.backward(retain_graph=True)
        found.append(net.weight.grad.clone())
    return tuple(found)


def by_inputs(enc, dec, dis, losses):
    losses[0].backward(inputs=[enc.weight], retain_graph=True)
    losses[1].backward(inputs=list(dec.parameters()), retain_graph=True)
    losses[2].backward(inputs=[dis.weight])
    return enc.weight.grad, dec.weight.grad, dis.weight.grad


def by_tuples(enc, dec, dis, losses):
    return [torch.autograd.grad(loss, net.parameters(), retain_graph=True)
            for net, loss in zip((enc, dec, dis), losses, strict=True)]


bce = F.binary_cross_entropy_with_logits


def gan_by_cross_entropy(x, t, p):
    return -(bce(x, torch.ones_like(x)) + bce(t, torch.zeros_like(t)) + bce(p, torch.zeros_like(p)))


def gan_by_one_cross_entropy(x, t, p):
    return -3 * bce(torch.cat([x, t, p]), torch.cat([0 * x + 1, 0 * t, 0 * p]))


def gan_by_bernoulli(x, t, p):
    terms = [Bernoulli(logits=l).log_prob(torch.full_like(l, y)) for l, y in ((x, 1.0), (t, 0.0), (p, 0.0))]
    return torch.stack(terms).sum(0).mean()


def gan_by_the_library(x, t, p):
    none = torch.zeros(len(x), 2)
    return gans.vaegan_losses(none, none, none, none, x, t, p).gan


def step_in_two(dec, dis, llike, gan_dec, gan_dis, gamma, lr):
    dis = dis - lr * (-gan_dis)
    return torch.sub(dec - lr * gamma * llike, gan_dec, alpha=lr.item()), dis


def step_by_sgd(dec, dis, llike, gan_dec, gan_dis, gamma, lr):
    new = [nn.Parameter(weight.clone()) for weight in (dec, dis)]
    for weight, grad in zip(new, (gamma * llike + gan_dec, -gan_dis), strict=True):
        weight.grad = grad
        torch.optim.SGD([weight], lr=lr.item()).step()
    return tuple(weight.detach() for weight in new)


RIGHT = [
    (ch08.check_llike, my_llike), (ch08.check_three_gradients, my_three_gradients), (ch08.check_gan_term, my_gan_term),
    (ch08.check_enc_dec_losses, my_enc_dec_losses), (ch08.check_signs, my_step),
    (ch08.check_llike, llike_by_normal), (ch08.check_llike, llike_by_multivariate_normal),
    (ch08.check_llike, llike_in_loops), (ch08.check_llike, llike_by_gaussian_loss),
    (ch08.check_llike, llike_of_detached),
    (ch08.check_llike, lambda f, t: feature_nll(t, f, lambda x: x, sigma=1.0).mean()),
    (ch08.check_three_gradients, by_backward), (ch08.check_three_gradients, by_inputs),
    (ch08.check_three_gradients, by_tuples),
    (ch08.check_gan_term, gan_by_cross_entropy), (ch08.check_gan_term, gan_by_one_cross_entropy),
    (ch08.check_gan_term, gan_by_bernoulli), (ch08.check_gan_term, gan_by_the_library),
    (ch08.check_enc_dec_losses, lambda prior, llike, gan, gamma: [llike + prior, torch.lerp(gan, gan + llike, gamma)]),
    (ch08.check_enc_dec_losses, lambda *terms: torch.stack(my_enc_dec_losses(*terms))),
    (ch08.check_signs, step_in_two), (ch08.check_signs, step_by_sgd),
]


@pytest.mark.parametrize("check, answer", RIGHT, ids=lambda x: getattr(x, "__name__", ""))
def test_a_right_answer_passes_however_it_is_written(check, answer, capsys):
    assert said(check, answer, capsys) == "passed\n"


@pytest.mark.parametrize("check, answer", RIGHT[:5], ids=lambda x: x.__name__)
def test_a_check_can_be_called_where_no_gradients_are_kept(check, answer, capsys):
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            assert said(check, answer, capsys) == "passed\n"


@pytest.mark.parametrize("check, answer", RIGHT[:5], ids=lambda x: x.__name__)
def test_what_an_answer_prints_is_shown_once(check, answer, capsys):
    def talks(*args):
        print("hello")
        return answer(*args)
    told = said(check, talks, capsys)
    assert told.count("hello") == 1 and told.endswith("passed\n")


@pytest.mark.parametrize("answer", [lambda f, t: (f - t).square().sum((1, 2, 3)).mean() / 2,
                                    lambda f, t: F.mse_loss(t, f, reduction="sum") / (2 * len(f)),
                                    lambda f, t: torch.cdist(f.flatten(1), t.flatten(1)).diag().pow(2).mean() / 2])
def test_without_its_constant_the_likelihood_passes_and_is_told(answer, capsys):
    told = said(ch08.check_llike, answer, capsys)
    assert told.startswith("passed\n(You leave out the constant") and "every gradient is the same" in in_one_line(told)


# --- what the exercises and their solutions say, against independent answers -----------------------------------------

def test_the_toy_is_a_vae_gan_by_the_formulas():
    """L_prior by torch.distributions, L_llike and L_GAN of probabilities, and no term's gradient near another's."""
    (W_enc, W_dec, W_dis), batch = toy.draw_toy()
    terms = toy.three_terms(W_enc, W_dec, W_dis, batch)
    mu, log_var = torch.tanh(batch.x @ W_enc).split(2, 1)
    q = Normal(mu, log_var.exp().sqrt())
    prior = torch.distributions.kl_divergence(q, Normal(0.0, 1.0)).sum(1).mean()
    z = q.loc + q.scale * batch.eps
    f_x, f_t, f_p = (torch.tanh(a @ W_dis) for a in (batch.x, torch.tanh(z @ W_dec), torch.tanh(batch.z_p @ W_dec)))
    gan = (log(sig(f_x.sum(1))) + log(1 - sig(f_t.sum(1))) + log(1 - sig(f_p.sum(1)))).mean()
    torch.testing.assert_close(terms, gans.VAEGANLosses(prior, -Normal(f_t, 1.0).log_prob(f_x).sum(1).mean(), gan))
    weights = [weight.requires_grad_() for weight in (W_enc, W_dec, W_dis)]
    for weight in weights:
        _, of_llike, of_gan = (g.flatten() for g in toy.gradients(toy.three_terms(*weights, batch), weight))
        assert abs(torch.cosine_similarity(of_llike, of_gan, dim=0)) < 0.5 and min(of_llike.norm(), of_gan.norm()) > 0.3


def as_printed(dec, dis, llike, gan_dec, gan_dis, gamma, lr):
    return dec - lr * (gamma * llike - gan_dec), dis - lr * gan_dis


def changes(step, given):
    """How L_GAN changes by a step of Dec alone, and by one of Dis alone."""
    dec, dis = step(*given.values())
    before = signs._l_gan(given["theta_dec"], given["theta_dis"])
    return signs._l_gan(dec, given["theta_dis"]) - before, signs._l_gan(given["theta_dec"], dis) - before


def test_small_steps_with_the_right_signs_raise_and_lower_the_term():
    """What the check looks at: Dis up, Dec at γ = 0 down; and what is printed in the notes does the opposite."""
    given = signs._toy(0.0, 0.01)
    for step, side in ((my_step, 1), (as_printed, -1)):
        by_dec, by_dis = changes(step, given)
        assert side * by_dec < -1e-4 and side * by_dis > 1e-4


def test_the_best_answer_to_images_that_cannot_be_told_apart():
    """Two fakes for each real image: D = ⅓, and not ½ where L_GAN is −3 log 2."""
    value = lambda D: my_gan_term(*[torch.full((4,), D).logit()] * 3).item()
    best = max(np.linspace(0.01, 0.99, 981), key=value)
    assert best == pytest.approx(1 / 3, abs=1e-3) and value(1 / 3) == pytest.approx(-1.91, abs=0.005)
    assert value(0.5) == pytest.approx(-3 * math.log(2)) == pytest.approx(-2.08, abs=0.005)


def test_shares_take_a_gradient_apart():
    draw = torch.Generator().manual_seed(0)
    a, b = torch.randn((2, 3, 4), generator=draw)
    assert toy.shares(2 * a - 0.3 * b, [a, b]) == pytest.approx([2, -0.3], abs=1e-5)
    assert toy.shares(2 * a, [torch.zeros_like(a), a, b]) == pytest.approx([0, 2, 0], abs=1e-5)
    assert toy.shares(a + 0.01 * torch.randn((3, 4), generator=draw), [a, b]) is None
    assert toy.shares(a * torch.nan, [a, b]) is None


def test_the_sum_of_the_three_losses_has_no_game_left():
    """(L_prior + L_llike) + (γ L_llike + L_GAN) − L_GAN: what Dis would get, and what the exercise says of it."""
    weights, batch = toy.draw_toy()
    dis = weights[2].requires_grad_()
    prior, llike, gan = toy.three_terms(*weights[:2], dis, batch)
    total = (prior + llike) + (0.3 * llike + gan) - gan
    torch.testing.assert_close(*(torch.autograd.grad(loss, dis, retain_graph=True)[0] for loss in (total, 1.3 * llike)))


def right_option(question):
    """(the right option, why), as it appears when that one is chosen; with any other it names that one."""
    choice, verdict = question().children[1:]
    yes = []
    for words in choice.options:
        choice.value = words
        yes += [(words, verdict.value)] if "<b>Yes.</b>" in verdict.value else []
    assert len(yes) == 1 and len(choice.options) == 3
    return yes[0]


def test_the_questions_know_their_answers():
    f = torch.randn((1, 2048), generator=torch.Generator().manual_seed(0))
    right, why = right_option(ch08.predict_no_log)
    log_p = Normal(f, 1.0).log_prob(f).sum()
    assert right == "0" and log_p.exp() == 0 == log_p.double().exp() and round(log_p.item()) == -1882
    assert "0.399" in why and round(1 / math.sqrt(2 * math.pi), 3) == 0.399 and "e^−1882" in why
    for dtype, smallest in ((np.float32, "e^−103"), (np.float64, "e^−744")):
        assert smallest in why and f"e^−{-int(np.log(float(np.nextafter(dtype(0), dtype(1)))))}" == smallest

    right, why = right_option(ch08.predict_leak)
    weights, batch = toy.draw_toy()
    dis = weights[2].clone().requires_grad_()
    error = lambda W: toy.three_terms(*weights[:2], W, batch).llike - 1.5 * math.log(2 * math.pi)   # Enc, Dec stand
    start = error(dis).item()
    for _ in range(300):
        dis.data -= 0.2 * torch.autograd.grad(error(dis), dis)[0]
    assert right == "they grow blind to what x and x̃ differ in" and error(dis) < 0.1 * start
    assert "A layer that answers the same to every image does it perfectly" in why
    assert error(torch.zeros_like(dis)).item() == pytest.approx(0, abs=1e-6)


def test_the_step_that_the_notes_print_is_told_by_what_it_does(capsys):
    """The message has the numbers of the small steps, and they go the wrong way."""
    told = in_one_line(said(ch08.check_signs, as_printed, capsys))
    given = signs._toy(0.0, 0.01)
    before = signs._l_gan(given["theta_dec"], given["theta_dis"])
    dec, dis = as_printed(*given.values())
    for after in (signs._l_gan(dec, given["theta_dis"]), signs._l_gan(given["theta_dec"], dis)):
        assert f"from {before:.4f} to {after:.4f}" in told


def test_the_arguments_are_what_the_exercises_need():
    """Six features at which p is a number; 2048 at which it is 0 in float64; logits that pass for probabilities."""
    few, many = llike._features((5, 3, 1, 2), 0.6), llike._features((2, 32, 8, 8), 1.0)
    log_p = lambda given: Normal(given["features_x_tilde"], 1.0).log_prob(given["features_x"]).double().sum((1, 2, 3))
    assert log_p(few).exp().min() > 1e-4 and (log_p(many).exp() == 0).all()
    seen = {}
    gan_term.check_gan_term(lambda x, t, p: seen.setdefault(len(x), (x, t, p)) and my_gan_term(x, t, p))
    assert torch.stack(seen[5]).min() > 0 and torch.stack(seen[5]).max() < 1
