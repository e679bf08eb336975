"""Chapter 13, exercise 4: DDPM's sampler, its first and its last step, and what they do to samples."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from course_lib.checks import require
from course_lib.exercises.calling import NotYet, ask
from course_lib.exercises.checking import as_numbers, compare, verdict

MEAN, STD = 1.0, 0.2            # of the data whose ε̂ the check knows exactly
READ = "section 13.4"


def check_sample(my_sample: Callable) -> None:
    """my_sample(eps_model, beta, x_T, noise) → x_0 (B, d), by Ho, Jain and Abbeel 2020, Algorithm 2, with σ_t² = β_t.

    eps_model(x_t, t) → ε̂ (B, d), t an int or an integer tensor (B,); beta: (T+1,), β_t at index t, 0 at index 0;
    x_T: (B, d); noise: (T+1, B, d), of which noise[t] goes into the step from t to t − 1. The numbers are compared
    first. Where they differ, it is looked at which times the model was asked for, and what becomes of samples.
    """
    with verdict(), _told_by_samples(my_sample), _told_by_times(my_sample):
        compare(my_sample, _case(4, 3, 2), _sampler(), MISTAKES, read=READ,
                small=("T = 2, β_1 = 0.19, β_2 = 0.36, x_T = 1, noise[t] = t and a model that answers t/10,", _small()))


class Model:
    """The exact ε̂ = E[ε|x_t] where x_0 ~ N(MEAN, STD²) in each coordinate, for any t: past the ends it stays as there.

    It remembers in ``times`` what it was asked for. A check hands it over as it is, with no copy.
    """

    def __init__(self, beta: Tensor):
        self.alpha_bar = (1 - beta).cumprod(0)
        self.times: list[float] = []

    def __deepcopy__(self, memo: dict) -> Model:
        return self

    def __call__(self, x: Tensor, t: int | Tensor) -> Tensor:
        t = _read_times(x, t)
        self.times.append(t.flatten()[0].item())
        alpha_bar = self.alpha_bar[t.long().clamp(0, len(self.alpha_bar) - 1)]
        return (1 - alpha_bar).sqrt() * (x - alpha_bar.sqrt() * MEAN) / (alpha_bar * STD**2 + 1 - alpha_bar)


def _tenth(x: Tensor, t: int | Tensor) -> Tensor:
    return _read_times(x, t) / 10 + torch.zeros_like(x)


def _read_times(x: Tensor, t: int | Tensor) -> Tensor:
    """(B, 1) or (1, 1)."""
    require(isinstance(x, Tensor) and x.ndim == 2, "eps_model takes x_t (B, d) first, then t.")
    t = torch.as_tensor(t)
    require(t.numel() in (1, len(x)), f"eps_model was given t of shape {tuple(t.shape)} for {len(x)} samples; it takes "
                                      "an int, or a tensor with a time for each sample.")
    return t.view(-1, 1)


def _case(T: int, B: int, d: int) -> dict[str, Any]:
    """β_t = 0.02 t. The step to t = 0 is so long that its noise can be seen."""
    draw = torch.Generator().manual_seed(11)
    beta = 0.02 * torch.arange(T + 1)
    return {"eps_model": Model(beta), "beta": beta, "x_T": torch.randn((B, d), generator=draw),
            "noise": torch.randn((T + 1, B, d), generator=draw)}


def _small() -> dict[str, Any]:
    return {"eps_model": _tenth, "beta": torch.tensor([0.0, 0.19, 0.36]), "x_T": torch.ones(1, 1),
            "noise": torch.arange(3.0).view(3, 1, 1)}


# --- a second look -------------------------------------------------------------------------------------------------

@contextlib.contextmanager
def _told_by_times(f: Callable) -> Iterator[None]:
    """Around ``compare``: where it only shows a small case, or NaN, the times that the model is asked for tell more."""
    try:
        yield
    except NotYet as why:
        words = str(why)
        if not words.startswith(("for T", "in a small", "your answer holds")):
            raise
        case = _case(4, 2, 1)
        with contextlib.suppress(NotYet):
            ask(f, case, echo=False)
        times = case["eps_model"].times
        if times and times != [4, 3, 2, 1]:
            asked = ", ".join(f"{t:.3g}" for t in times[:12]) + (", …" if times[12:] else "")
            raise NotYet(f"with T = 4 your function asks the model for t = {asked}. It must be 4, 3, 2, 1: from x_T to "
                         f"x_0 are T steps, and each begins at the time of the x that it is given ({READ}).") from None
        if words.startswith("your answer holds"):
            raise NotYet(f"{words} At index 0 β is 0 and ᾱ is 1, so β/√(1 − ᾱ) is 0/0 there: do you read beta or ᾱ at "
                         f"t − 1? Index t is time t ({READ}).") from None
        raise


@contextlib.contextmanager
def _told_by_samples(f: Callable) -> Iterator[None]:
    """Around ``compare``: adds to what is wrong with the numbers what becomes of 10,000 samples by it."""
    try:
        yield
    except NotYet as why:
        of_numbers = str(why).startswith(("for T", "in a small", "with T"))
        if not of_numbers and str(why) not in {message for _, message in MISTAKES}:
            raise
        x = _samples(f)
        if x is None:
            raise
        mean, std = x.mean().item(), x.std().item()
        hidden = abs(std / STD - 1) < 0.03 and abs(mean - MEAN) < 0.02
        raise NotYet(f"{why} In samples: your samples have mean {_short(mean)} and standard deviation {_short(std)}, "
                     f"the data {_short(MEAN)} and {_short(STD)}, with the exact ε̂."
                     + (" So samples do not tell this mistake; the numbers do." if hidden else "")) from None


def _short(number: float) -> str:
    """Two decimals, of large numbers two digits: what another machine's rounding does not change."""
    return f"{round(number, 2) + 0.0:.2f}" if abs(number) < 10 else f"{number:.2g}"


def _samples(f: Callable) -> Tensor | None:
    with contextlib.suppress(NotYet):
        x = as_numbers(ask(f, _case(20, 10_000, 1), echo=False))
        if x.shape == (10_000, 1) and x.isfinite().all():
            return x
    return None


# --- the sampler, with a part of it exchanged ----------------------------------------------------------------------

def _mean(x: Tensor, eps: Tensor, beta: Tensor, alpha_bar: Tensor, t: int) -> Tensor:
    return (x - beta[t] / (1 - alpha_bar[t]).sqrt() * eps) / (1 - beta[t]).sqrt()


def _ddim(x: Tensor, eps: Tensor, beta: Tensor, alpha_bar: Tensor, t: int) -> Tensor:
    x_0 = (x - (1 - alpha_bar[t]).sqrt() * eps) / alpha_bar[t].sqrt()
    return alpha_bar[t - 1].sqrt() * x_0 + (1 - alpha_bar[t - 1]).sqrt() * eps


def _sampler(times: Callable = lambda T: range(T, 0, -1), asked: Callable = lambda t, T: t, mean: Callable = _mean,
             sigma: Callable = lambda beta, alpha_bar, t: beta[t].sqrt(), last: int = 1,
             which: Callable = lambda t, T: t, end: Callable = lambda x: x) -> Callable:
    """Algorithm 2 of which one part is another: the times, the time that the model is told, the mean, the size of the
    noise, the last time (without noise; 0: noise at each), which noise it is, and what is done to x_0."""
    def sample(eps_model: Callable, beta: Tensor, x_T: Tensor, noise: Tensor) -> Tensor:
        alpha_bar, T, x = (1 - beta).cumprod(0), len(beta) - 1, x_T
        for t in times(T):
            x = mean(x, eps_model(x, asked(t, T)), beta, alpha_bar, t)
            if t > last:
                x = x + sigma(beta, alpha_bar, t) * noise[which(t, T)]
        return end(x)
    return sample


def _spread(f: Callable) -> Callable:
    """A wrong factor of the noise, a function of β_t, ᾱ_{t−1} and ᾱ_t."""
    return _sampler(sigma=lambda beta, alpha_bar, t: f(beta[t], alpha_bar[t - 1], alpha_bar[t]))


def _factors(of_eps: Callable, over: Callable) -> Callable:
    """Another mean, (x − of_eps(α, ᾱ) ε)/over(α, ᾱ)."""
    def mean(x: Tensor, eps: Tensor, beta: Tensor, alpha_bar: Tensor, t: int) -> Tensor:
        a, ab = 1 - beta[t], alpha_bar[t]
        return (x - of_eps(a, ab) * eps) / over(a, ab)
    return _sampler(mean=mean)


NOISE = f"noise[t] goes into the step from t to t − 1 ({READ})."
MISTAKES = [
    (_sampler(last=0),
     "noise is added at the last step, t = 1, too. x_0 is the mean itself, z = 0 if t = 1: what is added there, no "
     f"later step takes away ({READ})."),
    (_sampler(times=lambda T: range(T, 1, -1)),
     f"your loop ends at t = 2: what you return is x_1, with noise in it. range(T, 0, -1) goes down to 1 ({READ})."),
    (_sampler(times=lambda T: range(T, 1, -1), last=2),
     "your loop ends at t = 2, without noise at that step: you return the mean of x_1, and the step to x_0 is never "
     f"made. range(T, 0, -1) goes down to 1 ({READ})."),
    (_sampler(times=lambda T: range(T - 1, 0, -1)),
     f"your loop starts at T − 1: x_T is taken for x_(T−1). beta has T + 1 entries, so T = len(beta) − 1 ({READ})."),
    (_sampler(times=lambda T: range(1, T + 1)),
     f"your loop runs forwards, t = 1, …, T. You begin with x_T, so t = T comes first ({READ})."),
    (_sampler(asked=lambda t, T: t - 1),
     "the model is given t − 1 with x_t. So at the last step it is told t = 0, the image itself, finds no noise there, "
     f"and what is in x_1 stays in ({READ})."),
    (_sampler(asked=lambda t, T: t - 1, last=0),
     f"the model is given t − 1 with x_t, and noise is added at t = 1, too. Mend the first, then the second ({READ})."),
    (_sampler(asked=lambda t, T: t + 1),
     "the model is given t + 1 with x_t: it takes x_t for noisier than it is, and at the start it is asked for T + 1, "
     f"a time that it was never trained for ({READ})."),
    (_sampler(asked=lambda t, T: T), f"the model is given T at each step. The time of x_t is t ({READ})."),
    (_sampler(asked=lambda t, T: T - t + 1),
     f"the model is given the number of the step, 1, 2, …, and not the time of x_t, which falls from T ({READ})."),
    (_sampler(asked=lambda t, T: t / T),
     f"the model is given t/T. It takes integers, 1 … T, as it was trained with ({READ})."),
    (_spread(lambda beta, before, now: beta),
     "you multiply the noise by σ² = β_t. It is multiplied by σ, the root: a variance grows with the square of a "
     f"factor ({READ})."),
    (_spread(lambda beta, before, now: beta**0.25), f"there is one root too many: σ = √β_t ({READ})."),
    (_spread(lambda beta, before, now: (beta * (1 - before) / (1 - now)).sqrt()),
     "your variance is β̃_t, the paper's other choice, right where all data are one point. Asked is σ² = β_t (section "
     "13.4)."),
    (_spread(lambda beta, before, now: beta * (1 - before) / (1 - now)),
     f"you multiply the noise by β̃_t, a variance. Asked is σ = √β_t ({READ})."),
    (_spread(lambda beta, before, now: 1), f"σ is missing: noise of size 1 is added at each step. σ = √β_t ({READ})."),
    (_spread(lambda beta, before, now: (1 - now).sqrt()),
     f"you add √(1 − ᾱ_t) z, all the noise that x_t had. σ = √β_t, that of one step ({READ})."),
    (_spread(lambda beta, before, now: (1 - before).sqrt()),
     f"you add √(1 − ᾱ_(t−1)) z, all the noise that x_(t−1) has. The mean holds most of it already; σ = √β_t "
     f"({READ})."),
    (_spread(lambda beta, before, now: (1 - beta).sqrt()), f"σ is √α_t there. It is √β_t ({READ})."),
    (_spread(lambda beta, before, now: -beta.sqrt()),
     "the sign of the noise is turned. The samples are as good, but asked is mean + σ z, with the noise as it comes."),
    (_spread(lambda beta, before, now: 0),
     "there is no noise at all: you take the mean at each step. The means alone run together to where x_0 is most "
     f"likely: far too narrow. (DDIM goes without noise, but it takes another step.) Add σ z while t > 1 ({READ})."),
    (_sampler(mean=_ddim, last=10**6),
     f"these are DDIM's steps, with η = 0: no noise, and a shorter step in its place. Asked is DDPM ({READ})."),
    (_sampler(which=lambda t, T: t - 1), f"you take noise[t − 1]. {NOISE}"),
    (_sampler(which=lambda t, T: t - 2), f"you take noise[t − 2]. {NOISE}"),
    (_sampler(which=lambda t, T: T - t), f"you take the noise from the front: noise[0] at t = T. {NOISE}"),
    (_sampler(which=lambda t, T: T - t + 1), f"you take the noise from the front: noise[1] at t = T. {NOISE}"),
    (_sampler(which=lambda t, T: T), f"you add the same noise at each step. {NOISE}"),
    (_factors(lambda a, ab: (1 - ab) / (1 - a).sqrt(), lambda a, ab: ab.sqrt()),
     "the mean is wrong: α and ᾱ are exchanged (exercise 1)."),
    (_factors(lambda a, ab: (1 - a) / (1 - ab).sqrt(), lambda a, ab: ab.sqrt()),
     "the mean is wrong: you divide by √ᾱ_t, and it is √α_t (exercise 1)."),
    (_factors(lambda a, ab: (1 - a) / (1 - ab), lambda a, ab: a.sqrt()),
     "the mean is wrong: the root on 1 − ᾱ_t is missing (exercise 1)."),
    (_factors(lambda a, ab: (1 - a).sqrt(), lambda a, ab: a.sqrt()),
     "the mean is wrong: ᾱ does not come in; it is β_t/√(1 − ᾱ_t), and not √(1 − α_t) (exercise 1)."),
    (_factors(lambda a, ab: (1 - ab).sqrt(), lambda a, ab: ab.sqrt()),
     "each step goes to x̂_0, all the way, and then adds the noise of one step. It goes one step: the mean of exercise "
     "1."),
    (_factors(lambda a, ab: (1 - a) / (1 - ab).sqrt(), lambda a, ab: 1),
     "the mean is wrong: 1/√α_t is missing (exercise 1)."),
    (_factors(lambda a, ab: -(1 - a) / (1 - ab).sqrt(), lambda a, ab: a.sqrt()),
     "the mean is wrong: ε̂ is added, and it is to be taken away (exercise 1)."),
    (_sampler(end=lambda x: x.clamp(-1, 1)),
     "you clip to [−1, 1]. These are points, and no pixels: asked is x_0 as it comes."),
    (_sampler(times=lambda T: []), "you return x_T: no step is made."),
]
