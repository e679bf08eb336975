"""Exercises of chapter 13: right answers pass in many forms, mistakes are told apart, and what is said is true.

What no answer may do to a check is tested in test_exercises.py, for the checks of all chapters.
"""

import math

import pytest
import torch
from test_exercises import in_one_line, mistakes, name_only, said

from course_lib.datasets.toy import ring
from course_lib.diffusion import samplers
from course_lib.diffusion.schedules import Schedule, at, posterior, q_sample
from course_lib.exercises import calling, ch13
from course_lib.exercises.ch13 import noising, sampling


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    """Beside a busy neighbour 10,000 samples take a while."""
    monkeypatch.setattr(calling, "LIMIT", 60.0)


# --- right answers; the notebook's own solutions are proved in test_exercises.py -------------------------------------

def my_step_mean(x, e, a, ab):
    return (x - (1 - a) / (1 - ab).sqrt() * e) / a.sqrt()


def my_noised(x, e, ab):
    ab = ab[:, None, None, None]
    return ab**0.5 * x + (1 - ab)**0.5 * e


def my_schedule(beta):
    bar = torch.cat([torch.ones(1), (1 - beta).cumprod(0)])
    return bar, beta * (1 - bar[:-1]) / (1 - bar[1:])


def my_sample(model, beta, x, noise, ask=lambda t, B: t, last=1, start=0, stop=1, sd=lambda b: b**0.5):
    bar = torch.cumprod(1 - beta, 0)
    for t in range(len(beta) - 1 - start, stop - 1, -1):
        x = my_step_mean(x, model(x, ask(t, len(x))), 1 - beta[t], bar[t])
        if t > last:
            x = x + sd(beta[t]) * noise[t]
    return x


def my_guided(y, null, w):
    return (1 + w) * y - w * null


# --- right answers, written in another way -------------------------------------------------------------------------

def mean_by_the_posterior(x, e, a, ab):
    """Equation 7 with x̂_0 in it, in place of equation 11."""
    before, x0 = ab / a, (x - (1 - ab).sqrt() * e) / ab.sqrt()
    return (before.sqrt() * (1 - a) * x0 + a.sqrt() * (1 - before) * x) / (1 - ab)


def mean_by_the_score(x, e, a, ab):
    return (x + (1 - a) * (-e / (1 - ab).sqrt())) / a.sqrt()


def noised_in_a_loop(x, e, ab):
    return torch.stack([math.sqrt(a) * x[i] + math.sqrt(1 - a) * e[i] for i, a in enumerate(ab.tolist())])


def schedule_by_logs(beta):
    bar = torch.cat([beta.new_zeros(1, dtype=torch.float64), torch.log1p(-beta.double()).cumsum(0)]).exp()
    return [bar, beta * (bar[:-1] - 1) / (bar[1:] - 1)]


def schedule_in_a_loop(beta):
    bar, tilde = [1.0], []
    for b in beta.tolist():
        bar.append(bar[-1] * (1 - b))
        tilde.append(b * (1 - bar[-2]) / (1 - bar[-1]))
    return torch.tensor(bar), torch.tensor(tilde)


def schedule_by_the_library(beta):
    schedule = Schedule(beta)
    t = torch.arange(1, schedule.T + 1)
    return schedule.alpha_bar, posterior(schedule, torch.zeros(len(t)), torch.zeros(len(t)), t)[1]


def sample_by_recursion(model, beta, x, noise):
    if len(beta) == 1:
        return x
    t = torch.full((len(x),), len(beta) - 1)
    x = my_step_mean(x, model(x, t), 1 - beta[-1], (1 - beta).prod()) + (len(beta) > 2) * beta[-1].sqrt() * noise[-1]
    return sample_by_recursion(model, beta[:-1], x, noise[:-1])


def sample_by_a_while(model, beta, x, noise):
    t, z = len(beta), noise.clone()
    z[1] = 0
    while t := t - 1:
        x = mean_by_the_posterior(x, model(x, torch.tensor(t)), 1 - beta[t], (1 - beta[:t + 1]).prod())
        x += beta[t].sqrt() * z[t]
    return x


ALL = [(ch13.check_step_mean, my_step_mean), (ch13.check_noised, my_noised), (ch13.check_schedule, my_schedule),
       (ch13.check_sample, my_sample), (ch13.check_guided, my_guided)]
RIGHT = [
    *ALL, (ch13.check_step_mean, mean_by_the_posterior), (ch13.check_step_mean, mean_by_the_score),
    (ch13.check_noised, noised_in_a_loop),
    (ch13.check_noised, lambda x, e, ab: torch.einsum("kb,kbchw->bchw", torch.stack([ab, 1 - ab]).sqrt(),
                                                      torch.stack([x, e]))),
    (ch13.check_schedule, schedule_by_logs), (ch13.check_schedule, schedule_in_a_loop),
    (ch13.check_sample, sample_by_recursion), (ch13.check_sample, sample_by_a_while),
    (ch13.check_sample, lambda *a: my_sample(*a, ask=lambda t, B: torch.full((B,), t))),
    (ch13.check_sample, lambda *a: my_sample(*a, ask=lambda t, B: torch.full((B, 1), t))),
    (ch13.check_guided, lambda y, null, w: y + w * (y - null)),
    (ch13.check_guided, lambda y, null, w: torch.lerp(null, y, 1 + w)),
]


@pytest.mark.parametrize("check, answer", RIGHT, ids=lambda x: getattr(x, "__name__", ""))
def test_a_right_answer_passes_however_it_is_written(check, answer, capsys):
    assert said(check, answer, capsys) == "passed\n"


@pytest.mark.filterwarnings("ignore:x_T is not nearly noise")
def test_the_library_passes_too(capsys):
    """It warns, as 2 or 6 steps of the check do not end in noise."""
    assert said(ch13.check_schedule, schedule_by_the_library, capsys) == "passed\n"


@pytest.mark.parametrize("check, answer", ALL, ids=lambda x: x.__name__)
def test_what_an_answer_prints_is_shown_once(check, answer, capsys):
    def talks(*args):
        print("hello")
        return answer(*args)
    told = said(check, talks, capsys)
    assert told.count("hello") == 1 and told.endswith("passed\n")


# --- known mistakes: (answer, words that its message has and no other has) -------------------------------------------

MEAN = [
    (lambda x, e, a, ab: my_step_mean(x, e, ab, a), "α and ᾱ are exchanged everywhere"),
    (lambda x, e, a, ab: (x - (1 - ab) / (1 - a).sqrt() * e) / a.sqrt(), "are exchanged in the factor of ε"),
    (lambda x, e, a, ab: my_step_mean(x, e, ab, ab), "this is x̂_0, the guess"),
    (lambda x, e, a, ab: (x - (1 - ab).sqrt() * e) / a.sqrt(), "you take *all* the noise away, √(1 − ᾱ_t) ε"),
    (lambda x, e, a, ab: my_step_mean(x, e, a, a), "ᾱ does not come in: you have"),
    (lambda x, e, a, ab: (x - (1 - a) / (1 - ab).sqrt() * e) / ab.sqrt(), "you divide by √ᾱ_t: ᾱ for α"),
    (lambda x, e, a, ab: (x - (1 - a) / (1 - ab) * e) / a.sqrt(), "the root on 1 − ᾱ_t is missing"),
    (lambda x, e, a, ab: (x - ((1 - a) / (1 - ab)).sqrt() * e) / a.sqrt(), "√β_t stands where β_t belongs"),
    (lambda x, e, a, ab: (x - a / (1 - ab).sqrt() * e) / a.sqrt(), "α_t stands where β_t belongs: β_t = 1 − α_t, the"),
    (lambda x, e, a, ab: (x - ab / (1 - ab).sqrt() * e) / a.sqrt(), "ᾱ_t stands where β_t"),
    (lambda x, e, a, ab: (x - (1 - a.sqrt()) / (1 - ab).sqrt() * e) / a.sqrt(), "you have 1 − √α_t for β_t"),
    (lambda x, e, a, ab: my_step_mean(x, e, a, 1 - (1 - ab.sqrt())**2), "the root is on ᾱ_t alone"),
    (lambda x, e, a, ab: my_step_mean(x, e, a, ab.sqrt()), "one root too many"),
    (lambda x, e, a, ab: my_step_mean(x, e, a, 1 - ab), "the size of the *image* in x_t"),
    (lambda x, e, a, ab: (x - (1 - a) * e) / a.sqrt(), "That form is the score's"),
    (lambda x, e, a, ab: (x - (1 - a) * (1 - ab).sqrt() * e) / a.sqrt(), "ε is *divided* by it"),
    (lambda x, e, a, ab: (x - e / (1 - ab).sqrt()) / a.sqrt(), "β_t is missing: ε's"),
    (lambda x, e, a, ab: (x - e) / a.sqrt(), "you take all of ε away"),
    (lambda x, e, a, ab: x / a.sqrt(), "ε does not come in"),
    (lambda x, e, a, ab: my_step_mean(x, e, a, ab) / a.sqrt(), "you divide by α_t. The step"),
    (lambda x, e, a, ab: my_step_mean(x, e, a, ab) * a.sqrt() / ab, "you divide by ᾱ_t. It"),
    (lambda x, e, a, ab: my_step_mean(x, e, a, ab) * a.sqrt(), "1/√α_t is missing: the step"),
    (lambda x, e, a, ab: my_step_mean(x, e, a, ab) * a, "you multiply by √α_t, as"),
    (lambda x, e, a, ab: my_step_mean(x, e, a, ab) * (a / (1 - a)).sqrt(), "you divide by √β_t"),
    (lambda x, e, a, ab: x / a.sqrt() - (1 - a) / (1 - ab).sqrt() * e, "1/√α_t is on x_t alone"),
    (lambda x, e, a, ab: my_step_mean(x, -e, a, ab), "the sign of ε is turned: going back"),
    (lambda x, e, a, ab: x / a.sqrt() - ((1 / a - ab / a).sqrt() - (1 - ab / a).sqrt()) * e, "this is DDIM's step"),
    (lambda x, e, a, ab: 2 * my_step_mean(x, e, a, ab),
     "at α = 0.85 and ᾱ = 0.3 your answer is 2.17 times x_t and -0.389 times eps. It must be 1.08 times x_t and -0.19"),
    (lambda x, e, a, ab: my_step_mean(x, e, a, ab) ** 3, "the answer is [[0.9]], and yours is [[0.729]]"),
    (lambda x, e, a, ab: my_step_mean(x, e, a, ab) + (1 - a).sqrt() * torch.randn_like(x), "numbers of its own"),
    (lambda x, e, a, ab: my_step_mean(x, e, a, ab)[0], "your answer has shape (3,); it must be (4, 3)"),
]


def with_weights(signal, noise, lay=lambda ab: ab.view(-1, 1, 1, 1)):
    return lambda x, e, ab: signal(lay(ab)) * x + noise(lay(ab)) * e


def laid(lay):
    return with_weights(torch.sqrt, lambda a: (1 - a).sqrt(), lay)


ROOT, ROOT_NOT = torch.sqrt, lambda a: (1 - a).sqrt()
NOISED = [
    (with_weights(lambda a: a, lambda a: 1 - a), "both roots are forgotten: ᾱ_t x_0"),
    (with_weights(lambda a: a, ROOT_NOT), "the root on ᾱ_t is forgotten: it"),
    (with_weights(ROOT, lambda a: 1 - a), "the root on 1 − ᾱ_t is forgotten: it"),
    (with_weights(ROOT_NOT, ROOT), "signal and noise are exchanged: √ᾱ_t"),
    (with_weights(lambda a: 1 - a, lambda a: a), "exchanged, and both roots"),
    (with_weights(ROOT, lambda a: 1 - a.sqrt()), "the root is on ᾱ_t alone"),
    (with_weights(lambda a: a, lambda a: (1 - a**2).sqrt()), "you take ᾱ_t for its own root"),
    (with_weights(ROOT, lambda a: (1 - a**0.5)**0.5), "one root too many"),
    (with_weights(lambda a: 1, ROOT_NOT), "the image does not shrink"),
    (with_weights(ROOT, lambda a: 1), "√(1 − ᾱ_t) is missing before ε"),
    (with_weights(ROOT, ROOT), "√ᾱ_t is on ε as well"),
    (with_weights(lambda a: a, lambda a: a), "ᾱ_t is on both"),
    (with_weights(ROOT, lambda a: 0), "eps does not come in"),
    (with_weights(lambda a: 0, ROOT_NOT), "x_0 does not come"),
    (with_weights(ROOT, lambda a: -(1 - a).sqrt()), "the sign of ε is turned. x_t"),
    (lambda x, e, ab: my_noised(e, -x, ab), "this is v ="),
    (with_weights(lambda a: a**-0.5, lambda a: -((1 - a) / a)**0.5), "this is the way back"),
    (laid(lambda a: a.cumprod(0)[:, None, None, None]), "a product along the batch"),
    (laid(torch.mean), "one mean ᾱ for the whole batch"), (laid(lambda a: a[0]), "all images have the first one's ᾱ"),
    (laid(lambda a: a), "ᾱ is laid along the *last* dimension, W: a noise"),
    (laid(lambda a: a.view(-1, 1)), "ᾱ is laid along the *rows*"),
    (laid(lambda a: a.view(1, -1, 1, 1)), "ᾱ is laid along the *channels*"),
    (lambda x, e, ab: ab * x + (1 - ab) * e, "both roots are forgotten, and ᾱ is laid"),
    (lambda x, e, ab: ab * x + (1 - ab).sqrt() * e, "the root on ᾱ_t is forgotten, and ᾱ is laid"),
    (lambda x, e, ab: ab.sqrt() * x + (1 - ab) * e, "the root on 1 − ᾱ_t is forgotten, and ᾱ is laid"),
    (lambda x, e, ab: my_noised(x, e, ab) * (1 if x.shape[2] != 4 else 2),
     "come out right, but x_0 (2, 1, 4, 5), eps (2, 1, 4, 5), alpha_bar_t (2,) do not"),
    (with_weights(lambda a: 3 * a, ROOT_NOT), "at ᾱ = 0.64 your answer is 1.92 times x_0 and 0.6 times eps. It must be "
                                              "0.8 times x_0 and 0.6 times eps."),
    (lambda x, e, ab: my_noised(x, torch.randn_like(e), ab), "random numbers of its own"),
    (lambda x, e, ab: my_noised(x, e, ab).clamp(-1, 1), "the answer is [[[[2]]]], and yours is [[[[1]]]]"),
    (lambda x, e, ab: x.mul_(ab.view(-1, 1, 1, 1)), "changes its argument x_0 in place"),
]


def bar_by(f):
    """A mistake in ᾱ with a β̃ that somebody would then compute, where the lengths allow it."""
    def schedule(beta):
        bar = f(beta)
        before, now = bar[:-1], bar[1:]
        n = min(len(beta), len(now))
        return bar, beta[:n] * (1 - before[:n]) / (1 - now[:n])
    return schedule


def tilde_by(f):
    return lambda beta: (my_schedule(beta)[0], f(beta, *(my_schedule(beta)[0][k:len(beta) + k] for k in (0, 1))))


def cat(*parts):
    return torch.cat([torch.as_tensor(part, dtype=torch.float32).reshape(-1) for part in parts])


def prod(beta):
    return (1 - beta).cumprod(0)


def fraction(b, p, n):
    return b * (1 - p) / (1 - n)


SCHEDULE = [
    (lambda beta: my_schedule(beta)[::-1], "the two are exchanged"),
    (bar_by(prod), "ᾱ_0 = 1 is missing at the front"),
    (bar_by(lambda b: cat(1, prod(b)[:-1])), "ᾱ_T is missing at the"),
    (bar_by(lambda b: cat(1, 1, prod(b)[:-1])), "ᾱ is shifted by one"),
    (bar_by(lambda b: cat(prod(b), 1)), "the 1 is at the end"), (bar_by(lambda b: cat(prod(b), 0)), "a 0 at the end"),
    (bar_by(lambda b: cat(0, prod(b))), "as if x_0 were nothing but noise"),
    (bar_by(lambda b: prod(b).flip(0)), "it runs backwards, and ᾱ_0"),
    (bar_by(lambda b: cat(1, prod(b)).flip(0)), "it runs backwards. t rises"),
    (bar_by(lambda b: cat(1, 1 - b)), "these are the α_t. ᾱ_t is their *product* up to t: .cum"),
    (bar_by(lambda b: 1 - b), "these are the α_t. ᾱ_t is their *product* up to t, after"),
    (bar_by(lambda b: b.cumprod(0)), "you multiply the β_t"),
    (bar_by(lambda b: cat(1, b.cumprod(0))), "you multiply the β_t"),
    (bar_by(lambda b: cat(1, 1 - b.cumprod(0))), "you have 1 − Π β"),
    (bar_by(lambda b: cat(1, 1 - b.cumsum(0))), "you have 1 − Σ β"),
    (bar_by(lambda b: cat(1, (-b.cumsum(0)).exp())), "you have e^(−Σ β)"),
    (bar_by(lambda b: cat(1, prod(b)).sqrt()), "you have √ᾱ, the factor"),
    (bar_by(lambda b: 1 - cat(1, prod(b))), "you have 1 − ᾱ, the variance"),
    (bar_by(lambda b: cat(1, prod(b)).log()), "this is log ᾱ"),
    (tilde_by(lambda b, p, n: fraction(b, n, n)), "this is β_t. Have you taken ᾱ_t for ᾱ_{t−1}"),
    (tilde_by(lambda b, p, n: fraction(b, n, p)), "the fraction is turned over"),
    (tilde_by(lambda b, p, n: fraction(b, cat(n[0], n[:-1]), n)), "yours is β_1. Was ᾱ_1 put in"),
    (tilde_by(lambda b, p, n: fraction(b, cat(0, n[:-1]), n)), "yours is 1. Was 0 put in for ᾱ_0"),
    (tilde_by(lambda b, p, n: cat(fraction(b, p, n)[1], fraction(b, p, n)[1:])), "it repeats β̃_2"),
    (tilde_by(lambda b, p, n: fraction(cat(0, b)[:-1], p, n)), "β is shifted by one"),
    (tilde_by(lambda b, p, n: fraction(b[1:], p[1:], n[1:])), "yours begins with β̃_2"),
    (tilde_by(lambda b, p, n: cat(0, fraction(b, p, n))), "it has T + 1 entries"),
    (tilde_by(lambda b, p, n: fraction(b, p, n).sqrt()), "you have its root"),
    (tilde_by(lambda b, p, n: b * ((1 - p) / (1 - n)).sqrt()), "there is a root on the fraction"),
    (tilde_by(lambda b, p, n: b * p / n), "the 1 − is missing above and below"),
    (tilde_by(lambda b, p, n: b**2), "which is β_t²"),
    (tilde_by(lambda b, p, n: fraction(1 - b, p, n)), "α_t stands where"),
    (tilde_by(lambda b, p, n: (1 - p) / (1 - n)), "β_t is missing: this"),
    (tilde_by(lambda b, p, n: b * (1 - p)), "1 − ᾱ_t is missing below"),
    (tilde_by(lambda b, p, n: b / (1 - n)), "1 − ᾱ_{t−1} is missing above"),
    (tilde_by(lambda b, p, n: 2 * fraction(b, p, n)),
     "alpha_bar = [1, 0.8, 0.4] and beta_tilde = [0, 0.1667], and yours is alpha_bar = [1, 0.8, 0.4] and beta_tilde = "
     "[0, 0.3333]"),
    (lambda beta: my_schedule(beta)[0], "your answer has shape (3,), one tensor"),
    (lambda beta: my_schedule(torch.linspace(beta[0], beta[-1], len(beta))), "in a simple case your function is right"),
]


def sample_with(**parts):
    return lambda *args: my_sample(*args, **parts)


def sample_from_zero(model, beta, x, noise):
    """As code does whose time begins with 0, on arrays in which it begins with 1."""
    bar = (1 - beta).cumprod(0)
    for t in reversed(range(len(beta) - 1)):
        x = my_step_mean(x, model(x, t), 1 - beta[t], bar[t]) + (t > 0) * beta[t].sqrt() * noise[t]
    return x


def own_noise(model, beta, x, noise):
    return my_sample(model, beta, x, torch.randn_like(noise))


def read_before(model, beta, x, noise):
    bar = (1 - beta).cumprod(0)
    for t in range(len(beta) - 1, 0, -1):
        x = my_step_mean(x, model(x, t), 1 - beta[t], bar[t - 1]) + (t > 1) * beta[t].sqrt() * noise[t]
    return x


def tilde_sd(f):
    def answer(model, beta, x, noise):
        tilde = torch.cat([torch.zeros(1), my_schedule(beta[1:])[1]])
        return my_sample(model, beta, x, noise * (f(tilde) / beta.sqrt()).nan_to_num()[:, None, None])
    return answer


def noise_from(which):
    return lambda model, beta, x, noise: my_sample(model, beta, x, torch.stack(
        [noise[which(t, len(beta) - 1)] for t in range(len(beta))]))


def mean_by(f):
    """Another mean of one step: a function of x, ε̂, α and ᾱ."""
    def answer(model, beta, x, noise):
        bar = (1 - beta).cumprod(0)
        for t in range(len(beta) - 1, 0, -1):
            x = f(x, model(x, t), 1 - beta[t], bar[t]) + (t > 1) * beta[t].sqrt() * noise[t]
        return x
    return answer


def ddim(model, beta, x, noise):
    bar = (1 - beta).cumprod(0)
    for t in range(len(beta) - 1, 0, -1):
        e = model(x, t)
        x = bar[t - 1].sqrt() * (x - (1 - bar[t]).sqrt() * e) / bar[t].sqrt() + (1 - bar[t - 1]).sqrt() * e
    return x


def forwards(model, beta, x, noise):
    bar = (1 - beta).cumprod(0)
    for t in range(1, len(beta)):
        x = my_step_mean(x, model(x, t), 1 - beta[t], bar[t]) + (t > 1) * beta[t].sqrt() * noise[t]
    return x


def counted(model, beta, x, noise):
    return my_sample(model, beta, x, noise, ask=lambda t, B: len(beta) - t)


def fraction_of_T(model, beta, x, noise):
    return my_sample(model, beta, x, noise, ask=lambda t, B: t / (len(beta) - 1))


def always_T(model, beta, x, noise):
    return my_sample(model, beta, x, noise, ask=lambda t, B: len(beta) - 1)


def noise_of_marginal(k):
    """√(1 − ᾱ) z with ᾱ of time t − k."""
    def answer(model, beta, x, noise):
        size = (1 - (1 - beta).cumprod(0)).sqrt()
        size = torch.cat([torch.zeros(k), size])[:len(beta)]
        return my_sample(model, beta, x, noise * (size / beta.sqrt()).nan_to_num()[:, None, None])
    return answer


SAMPLE = [
    (sample_with(last=0), "noise is added at the last step"), (sample_with(stop=2), "what you return is x_1, with"),
    (sample_with(stop=2, last=2), "you return the mean of x_1"), (sample_with(start=1), "your loop starts at T − 1"),
    (forwards, "your loop runs forwards"),
    (sample_with(ask=lambda t, B: t - 1), "the model is given t − 1 with x_t. So at the last step"),
    (sample_with(ask=lambda t, B: torch.full((B,), t - 1)), "the model is given t − 1 with x_t. So at the last step"),
    (sample_with(ask=lambda t, B: t - 1, last=0), "given t − 1 with x_t, and noise is added at t = 1"),
    (sample_with(ask=lambda t, B: t + 1), "the model is given t + 1"), (always_T, "the model is given T at each"),
    (counted, "the model is given the number of the step"), (fraction_of_T, "the model is given t/T"),
    (sample_with(sd=lambda b: b), "you multiply the noise by σ² = β_t"),
    (sample_with(sd=lambda b: b**0.25), "there is one root too many: σ"),
    (tilde_sd(torch.sqrt), "your variance is β̃_t"), (tilde_sd(lambda v: v), "you multiply the noise by β̃_t"),
    (sample_with(sd=lambda b: 1), "σ is missing: noise of size 1"),
    (noise_of_marginal(0), "you add √(1 − ᾱ_t) z"), (noise_of_marginal(1), "you add √(1 − ᾱ_(t−1)) z"),
    (sample_with(sd=lambda b: (1 - b).sqrt()), "σ is √α_t there"),
    (sample_with(sd=lambda b: -b.sqrt()), "the sign of the noise is turned"),
    (sample_with(sd=lambda b: 0), "there is no noise at all"), (ddim, "these are DDIM's steps"),
    (noise_from(lambda t, T: t - 1), "you take noise[t − 1]"),
    (noise_from(lambda t, T: max(t - 2, 0)), "noise[t − 2]"),
    (noise_from(lambda t, T: T - t), "from the front: noise[0]"),
    (noise_from(lambda t, T: min(T - t + 1, T)), "from the front: noise[1]"),
    (noise_from(lambda t, T: T), "the same noise at each step"),
    (mean_by(lambda x, e, a, ab: my_step_mean(x, e, ab, a)), "the mean is wrong: α and ᾱ are exchanged"),
    (mean_by(lambda x, e, a, ab: my_step_mean(x, e, a, ab) * (a / ab)**0.5), "the mean is wrong: you divide by √ᾱ_t"),
    (mean_by(lambda x, e, a, ab: (x - (1 - a) / (1 - ab) * e) / a**0.5), "the mean is wrong: the root on 1 − ᾱ_t"),
    (mean_by(lambda x, e, a, ab: my_step_mean(x, e, a, a)), "the mean is wrong: ᾱ does not come in"),
    (mean_by(lambda x, e, a, ab: my_step_mean(x, e, ab, ab)), "each step goes to x̂_0, all the way"),
    (mean_by(lambda x, e, a, ab: my_step_mean(x, e, a, ab) * a**0.5), "the mean is wrong: 1/√α_t is missing"),
    (mean_by(lambda x, e, a, ab: my_step_mean(x, -e, a, ab)), "the mean is wrong: ε̂ is added"),
    (lambda *a: my_sample(*a).clamp(-1, 1), "you clip to [−1, 1]"), (lambda *a: a[2], "you return x_T: no step"),
    (sample_from_zero, "with T = 4 your function asks the model for t = 3, 2, 1, 0. It must be 4, 3, 2, 1"),
    (sample_with(start=2), "asks the model for t = 2, 1. It"),
    (sample_with(stop=3, last=0), "asks the model for t = 4, 3. It"),
    (read_before, "At index 0 β is 0 and ᾱ is 1"), (own_noise, "random numbers of its own"),
    (sample_with(sd=lambda b: b**0.5 / 2),
     "section 13.4 again. In samples: your samples have mean 1.00 and standard deviation 0.10, the data 1.00 and 0.20"),
    (sample_with(ask=lambda t, B: torch.full((B + 1,), t)),
     "stops with ValueError: eps_model was given t of shape (2,)"),
    (lambda model, b, x, z: my_sample(lambda y, t: model(t, y), b, x, z),
     "ValueError: eps_model takes x_t (B, d) first"),
    (lambda *a: my_sample(*a)[0], "your answer has shape (2,); it must be (3, 2)"),
    (lambda model, b, x, z: model(x.mul_(0), 1), "changes its argument x_T in place"),
]


def weights(y, null):
    return lambda e, n, w: y(w) * e + null(w) * n


GUIDED = [
    (lambda y, n, w: my_guided(y, n, -w), "the sign of w is turned"),
    (lambda y, n, w: y - w * (y - n), "the sign of w is turned"),
    (lambda y, n, w: n + w * (y - n), "that is the other convention"),
    (lambda y, n, w: my_guided(n, y, w), "the two predictions are exchanged"),
    (lambda y, n, w: y + (1 + w) * (y - n), "the 1 counts twice"),
    (weights(lambda w: 1 + w, lambda w: w), "you add ε(x, ∅)"),
    (lambda y, n, w: w * (y - n), "w times the difference alone"), (lambda y, n, w: (1 + w) * y, "ε(x, ∅) is missing"),
    (lambda y, n, w: (1 + w) * y - n, "ε(x, ∅) has the weight −1"),
    (lambda y, n, w: y - w * n, "ε(x, y) has the weight 1. It"),
    (lambda y, n, w: w * y - (1 + w) * n, "the 1 is on the wrong one"),
    (lambda y, n, w: (1 + w) * y + (1 - w) * n, "the weights are 1 + w and 1 − w"),
    (lambda y, n, w: n + w * y, "you have ε(x, ∅) + w ε(x, y)"),
    (lambda y, n, w: y + w * n, "you have ε(x, y) + w ε(x, ∅)"),
    (lambda y, n, w: -my_guided(y, n, w), "both signs are turned"),
    (lambda y, n, w: (y + n) / 2, "you take the mean of the"),
    (lambda y, n, w: (y + w * n) / (1 + w), "more w means less class"),
    (lambda y, n, w: (w * y + n) / (1 + w), "which never reaches ε(x, y)"),
    (lambda y, n, w: my_guided(y, n, w) / 2, "you take half of it"),
    (lambda y, n, w: my_guided(y, n, w) / (1 + 2 * w), "you divide by 1 + 2w"),
    (lambda y, n, w: y, "w does not come in"), (lambda y, n, w: n, "this is the model without a class"),
    (lambda y, n, w: my_guided(y, n, w * w),
     "at w = 2.5 your answer is 7.25 times eps_y and -6.25 times eps_null. It must be 3.5 times eps_y and -2.5 times"),
    (lambda y, n, w: my_guided(y, n, w).clamp(-1, 1), "the answer is [[[[5]]]], and yours is [[[[1]]]]"),
    (lambda y, n, w: my_guided(y, n, w).mean(0), "your answer has shape (1, 2, 4); it must be (3, 1, 2, 4)"),
    (lambda y, n, w: my_guided(y, n, w).sub_(y.mul_(0)), "changes its argument eps_y in place"),
]


@pytest.mark.parametrize("check, answer, words, others", mistakes([
    (ch13.check_step_mean, MEAN), (ch13.check_noised, NOISED), (ch13.check_schedule, SCHEDULE),
    (ch13.check_sample, SAMPLE), (ch13.check_guided, GUIDED)]))
def test_a_known_mistake_is_named(check, answer, words, others, capsys):
    name_only(words, in_one_line(said(check, answer, capsys)), others)


# --- what the exercises and their solutions say, against independent answers -----------------------------------------

def test_the_model_of_the_check_is_exact():
    """ε̂ = −√(1 − ᾱ_t) ∇ log p_t, where p_t is the density of x_t; its slope by differences."""
    case = sampling._case(20, 5, 3)
    beta, x, h = case["beta"].double(), case["x_T"].double(), 1e-4
    for t in (1, 7, 20):
        ab = (1 - beta[1:t + 1]).prod()
        log_p = lambda x, ab=ab: -(x - ab.sqrt() * 1.0)**2 / (2 * (ab * 0.2**2 + 1 - ab))      # and a constant
        score = (log_p(x + h) - log_p(x - h)) / (2 * h)
        torch.testing.assert_close(case["eps_model"](x, t), -(1 - ab).sqrt() * score, rtol=1e-4, atol=1e-5)
    assert case["eps_model"].times == [1, 7, 20]


def test_the_right_sampler_is_the_librarys():
    """DDPM with σ² = β, its noise taken from the same generator, in the order in which the library draws it."""
    case = sampling._case(20, 6, 2)
    schedule, model = Schedule(case["beta"][1:]), case["eps_model"]
    draw = torch.Generator().manual_seed(1)
    for t in range(20, 1, -1):
        case["noise"][t] = torch.randn((6, 2), generator=draw)

    def denoiser(x, t):
        return (x - at(schedule.variance, t, x).sqrt() * model(x, t)) / at(schedule.alpha_bar, t, x).sqrt()

    *_, wanted = samplers.ddpm(denoiser, schedule, case["x_T"], samplers.times(20), torch.Generator().manual_seed(1),
                               variance="beta")
    torch.testing.assert_close(my_sample(*case.values()), wanted)


def test_noised_images_are_the_librarys():
    given = noising._images(3, 3, 3, 3, alpha_bar=noising.ALPHA_BAR)
    schedule = Schedule.cosine(50)
    t = torch.tensor([4, 20, 49])
    given["alpha_bar_t"] = schedule.alpha_bar[t].float()
    torch.testing.assert_close(my_noised(*given.values()), q_sample(schedule, given["x_0"], t, given["eps"]))


def test_samples_tell_the_noise_at_the_last_step():
    """Their standard deviation, right and wrong; 3 per cent are four standard errors of 10,000 samples."""
    right, wrong = sampling._samples(my_sample), sampling._samples(sample_with(last=0))
    assert right.std().item() == pytest.approx(0.20, rel=0.03) and right.mean().item() == pytest.approx(1, abs=0.01)
    assert wrong.std().item() == pytest.approx(math.sqrt(0.2**2 + 0.02), rel=0.03)
    assert sampling._case(20, 1, 1)["beta"][1].item() == pytest.approx(0.02)
    assert sampling._samples(sample_with(sd=lambda b: b)).std().item() == pytest.approx(0.05, abs=0.005)


def test_the_message_has_the_numbers_of_the_samples(capsys):
    told = in_one_line(said(ch13.check_sample, sample_with(last=0), capsys))
    spread = sampling._samples(sample_with(last=0)).std().item()
    assert f"standard deviation {spread:.2f}, the data 1.00 and 0.20" in told
    assert "the numbers do" not in told
    assert "samples do not tell this mistake" in in_one_line(said(ch13.check_sample, sample_with(start=1), capsys))


@pytest.mark.parametrize("number, words", [(-0.004, "0.00"), (0.2449, "0.24"), (9.994, "9.99"), (-86.01, "-86"),
                                           (10175.9, "1e+04")])
def test_numbers_are_short(number, words):
    assert sampling._short(number) == words


def test_shares_along_the_wrong_dimension_are_an_error_or_not():
    naive = with_weights(ROOT, ROOT_NOT, lambda a: a)
    for B, W, stops in ((128, 28, True), (28, 28, False)):
        images = torch.zeros(B, 1, W, W)
        try:
            naive(images, images, torch.full((B,), 0.5))
        except RuntimeError:
            assert stops
        else:
            assert not stops
    with pytest.raises(RuntimeError):
        naive(*noising._images(2, 1, 4, 5, alpha_bar=(0.4, 0.7)).values())


def test_the_solutions_numbers():
    schedule = Schedule.linear(1000)
    assert round(1 / schedule.alpha[1000].sqrt().item(), 2) == 1.01
    assert round(1 / schedule.alpha_bar[1000].sqrt().item()) == 157
    assert schedule.variance[2].item() / schedule.variance[1].item() == pytest.approx(2.2, abs=0.005)
    assert (1 - schedule.alpha_bar[1:] / schedule.alpha_bar[:-1]).max() <= 0.02 + 1e-12
    assert round(schedule.beta[1].sqrt().item() / 2 * 255, 1) == 1.3
    x, e = torch.tensor([0.3]), torch.tensor([-1.2])
    torch.testing.assert_close(my_step_mean(x, e, *schedule.alpha_bar[[1, 1]]),         # at t = 1 the mean is x̂_0
                               my_step_mean(x, e, schedule.alpha[1], schedule.alpha_bar[1]))


def right_option(question):
    """(the right option, all options, why), as it appears when that one is chosen."""
    choice, verdict = question().children[1:]
    yes = []
    for words in choice.options:
        choice.value = words
        yes += [(words, choice.options, verdict.value)] if "<b>Yes.</b>" in verdict.value else []
    assert len(yes) == 1
    return yes[0]


def test_half_noise_comes_at_a_quarter_of_the_linear_schedule():
    right, options, why = right_option(ch13.predict_half_noise)
    linear, cosine = Schedule.linear(1000), Schedule.cosine(1000)
    below = lambda schedule, snr: 1 + (schedule.snr[1:] < snr).nonzero()[0].item()
    nearest = min(options, key=lambda words: abs(int(words.split()[-1]) - below(linear, 1)))
    assert right == nearest == "about 260" and below(linear, 1) == 260
    assert linear.beta[:261].sum().item() == pytest.approx(0.7, abs=0.01) and round(math.exp(-0.7), 1) == 0.5
    for t, snr in ((100, "8.7"), (500, "0.085")):
        assert f"{linear.snr[t].item():.2g}" == snr and f"t = {t} " in why and snr in why
    assert below(linear, 0.01) == 675 and "t = 675" in why
    assert below(cosine, 1) == 497 and "t = 497" in why


def exact(mixture, schedule):
    """E[x_0|x_t] of a mixture whose parts have one weight and one σ."""
    def denoiser(x, t):
        ab, noise = at(schedule.alpha_bar, t, x), at(schedule.variance, t, x)
        var = ab * mixture.stds[0]**2 + noise
        away = x[:, None] - ab.sqrt()[:, None] * mixture.means
        part = (-away.square().sum(2) / (2 * var)).softmax(1)
        mean = part @ mixture.means
        return mean + ab.sqrt() * mixture.stds[0]**2 / var * (x - ab.sqrt() * mean)
    return denoiser


def test_ten_steps_of_ddim_lead_where_a_hundred_do_and_ddpm_elsewhere():
    """On a ring of 8, with the exact denoiser: the same mode for all of 100 starts, the point nearly the same."""
    assert right_option(ch13.predict_same_start)[0] == "nearly the same image, a little coarser"
    schedule, mixture = Schedule.cosine(1000), ring(8)
    x = torch.randn((100, 2), generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    def end(sampler, steps, seed=None):
        draw = None if seed is None else torch.Generator().manual_seed(seed)
        *_, sample = sampler(exact(mixture, schedule), schedule, x, samplers.times(1000, steps), draw)
        return sample, torch.cdist(sample, mixture.means).argmin(1)

    (few, mode_few), (many, mode_many), (again, _) = (end(samplers.ddim, steps) for steps in (10, 100, 100))
    assert torch.equal(many, again) and torch.equal(mode_few, mode_many) and not torch.equal(few, many)
    assert (few - many).norm(dim=1).median() < 0.01 < 0.3 < (many - many.roll(1, 0)).norm(dim=1).median()
    one, other = (end(samplers.ddpm, 50, seed)[1] for seed in (1, 2))
    assert (one == other).double().mean() < 0.4             # 1/8 by chance; 40 of 100 would be 8 standard errors more
