"""Chapter 04, exercises 2 and 5: the best discriminator, and one step of Dirac-GAN."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from course_lib.exercises.calling import NotYet, ask
from course_lib.exercises.ch04.pairs import compare_pair
from course_lib.exercises.checking import as_numbers, compare, require_fit, same, show, verdict
from course_lib.gans import optimal_logits

# --- exercise 2: the best discriminator ----------------------------------------------------------------------------

def check_best_discriminator(my_best_discriminator: Callable) -> None:
    """my_best_discriminator(log_p_r, log_p_g) → D*(x) = p_r/(p_r + p_g), (n,), at n points; both (n,), in nats.

    Densities that float32 cannot hold come last: a formula that is right in exact arithmetic gets there.
    """
    log_p_r, log_p_g = torch.randn((2, 6), generator=torch.Generator().manual_seed(1)) - 0.7
    small = {"log_p_r": torch.tensor([0.6, 0.1]).log(), "log_p_g": torch.tensor([0.2, 0.4]).log()}
    with verdict():
        compare(my_best_discriminator, {"log_p_r": log_p_r, "log_p_g": log_p_g}, _best, BEST_MISTAKES,
                small=("two points, with p_r = (0.6, 0.1) and p_g = (0.2, 0.4),", small), read="section 4.2")
        for pair in ((-1000.0, -1001.0), (1000.0, 1002.0), (1000.0, -1000.0), (-1000.0, 1000.0)):
            _require_in_log_space(my_best_discriminator, *pair)


def _require_in_log_space(f: Callable, log_r: float, log_g: float) -> None:
    """At one point whose densities are 0 or inf in float32."""
    arguments = {"log_p_r": torch.tensor([log_r]), "log_p_g": torch.tensor([log_g])}
    answer = ask(f, arguments, echo=False)
    got, wanted = as_numbers(answer), _best(**arguments).double()
    if same(got, wanted):
        return
    if got.shape != wanted.shape:
        require_fit(answer, got, wanted, arguments)
    case = (f"where log p_r = {log_r:.0f} and log p_g = {log_g:.0f} your answer is {show(got)}; it must be "
            f"{show(wanted)}")
    if not got.isfinite().all():
        raise NotYet(f"the formula is right, but {case}. An image of many pixels has log densities like these, and in "
                     "float32 exp of them is 0 or inf, so that you divide 0 by 0 or inf by inf. Divide numerator and "
                     "denominator by p_r first: only log p_r − log p_g is left (section 4.2).")
    raise NotYet(f"right for moderate densities, but {case}. Do not clamp, and add no small number to the densities: "
                 "σ of the difference of the logs needs neither.")


def _best(log_p_r: Tensor, log_p_g: Tensor) -> Tensor:
    return optimal_logits(log_p_r, log_p_g).sigmoid()


def _of_densities(f: Callable) -> Callable:
    """A function of p_r and p_g."""
    return lambda log_p_r, log_p_g: f(log_p_r.exp(), log_p_g.exp())


ODDS = "The odds are D*/(1 − D*) = p_r/p_g: solve for D*."
OVER_POINTS = ("you normalise over the points. Every x stands for itself: at each, p_r is divided by p_r + p_g of the "
               "same x (section 4.2).")
BEST_MISTAKES = [
    (_of_densities(lambda r, g: g / (r + g)),
     "this is p_g/(p_r + p_g), the probability that x is *generated*. Here D(x) is the probability that x is real "
     "(section 4.2)."),
    (_of_densities(lambda r, g: r / g), f"this is p_r/p_g, which may be any number above 0: the odds. {ODDS}"),
    (_of_densities(lambda r, g: g / r), f"this is p_g/p_r, the odds turned over. {ODDS}"),
    (lambda log_p_r, log_p_g: log_p_r - log_p_g,
     "these are the logits of D*, log p_r − log p_g. That is the heart of it; asked is D* itself, so the sigmoid is "
     "missing."),
    (lambda log_p_r, log_p_g: log_p_g - log_p_r,
     "this is log p_g − log p_r: the logits with their sign turned, and without the sigmoid (section 4.2)."),
    (lambda log_p_r, log_p_g: log_p_r / (log_p_r + log_p_g),
     "you take the log densities for densities. p = exp(log p) (section 4.2)."),
    (_of_densities(lambda r, g: (r - g).sigmoid()),
     "this is σ of the difference of the *densities*. It is σ of the difference of their *logs*: where both densities "
     "are small, one can still be a thousand times the other (section 4.2)."),
    (_of_densities(lambda r, g: (r / g).sigmoid()),
     "this is σ of the ratio p_r/p_g: never below ½. It is σ of the *log* of the ratio (section 4.2)."),
    (_of_densities(lambda r, g: (r > g).float()),
     "you decide, 1 or 0. That is which is likelier; the best D says *how* likely, because a log punishes false "
     "certainty (section 4.2)."),
    (lambda log_p_r, log_p_g: log_p_r.sigmoid(),
     "this is p_r/(p_r + 1), that is, σ(log p_r): p_g does not come in. Set the derivative of p_r log D + "
     "p_g log(1 − D) to zero."),
    (lambda log_p_r, log_p_g: log_p_g.sigmoid(),
     "this is p_g/(p_g + 1), that is, σ(log p_g): p_r does not come in. Set the derivative of p_r log D + "
     "p_g log(1 − D) to zero."),
    (_of_densities(lambda r, g: 1 + g),
     "brackets are missing: `p_r / p_r + p_g` is 1 + p_g. Write p_r / (p_r + p_g)."),
    (_of_densities(lambda r, g: r / r + g / r),
     "this is (p_r + p_g)/p_r: the fraction stands on its head."),
    (_of_densities(lambda r, g: r),
     "you return p_r. A probability comes only from dividing by p_r + p_g (section 4.2)."),
    (_of_densities(lambda r, g: r + g), "you return p_r + p_g, the denominator only (section 4.2)."),
    (_of_densities(lambda r, g: r - g), "you return p_r − p_g. D* is a ratio, p_r/(p_r + p_g) (section 4.2)."),
    (_of_densities(lambda r, g: r / (r + g).mul(0.5)),
     "you divide by the mean of the two densities, so your D reaches up to 2. Divide by their sum."),
    (_of_densities(lambda r, g: (r - g) / (r + g)),
     "this is (p_r − p_g)/(p_r + p_g), from −1 to 1: it is 2 D* − 1. A probability lies between 0 and 1."),
    (lambda log_p_r, log_p_g: torch.full_like(log_p_r, 0.5),
     "you return ½ everywhere. That is D* once the generator has won, p_g = p_r; here it has not (section 4.2)."),
    (lambda log_p_r, log_p_g: logsigmoid(log_p_r - log_p_g), "you return log D*. Asked is D*, a probability."),
    (_of_densities(lambda r, g: (r / g).clamp(max=1)),
     "you cut p_r/p_g off at 1. That is no way to a probability: at p_r = p_g it must be ½ (section 4.2)."),
    (_of_densities(lambda r, g: r.square() / (r.square() + g.square())),
     "your densities are squared: the densities as they are give p_r/(p_r + p_g). (Or is there a 2 under the σ?)"),
    (_of_densities(lambda r, g: r.sqrt() / (r.sqrt() + g.sqrt())),
     "you take the root of the densities. As they are they give p_r/(p_r + p_g). (Or is there a ½ under the σ?)"),
    (lambda log_p_r, log_p_g: ((log_p_r - log_p_g) / math.log(10)).sigmoid(),
     "your logits are logarithms to base 10. σ belongs to the natural one (section 4.2)."),
    (lambda log_p_r, log_p_g: ((log_p_r - log_p_g) / math.log(2)).sigmoid(),
     "your logits are logarithms to base 2. σ belongs to the natural one (section 4.2)."),
    (lambda log_p_r, log_p_g: log_p_r.softmax(0), OVER_POINTS),
    (lambda log_p_r, log_p_g: (log_p_r - log_p_g).softmax(0), OVER_POINTS),
    (_of_densities(lambda r, g: r / (r + g).sum()), OVER_POINTS),
    (lambda log_p_r, log_p_g: _best(log_p_r.softmax(0).log(), log_p_g.softmax(0).log()), OVER_POINTS),
    *[(lambda log_p_r, log_p_g, total=total: total(_best(log_p_r, log_p_g)),
       "you return one number. D* is a function of x: one probability for each point, (n,).")
      for total in (torch.mean, torch.sum)],
]


# --- exercise 5: a step of Dirac-GAN -------------------------------------------------------------------------------

def check_dirac_step(my_dirac_step: Callable) -> None:
    """my_dirac_step(theta, psi, lr) → (θ, ψ) after one alternating step: ψ ascends V, then θ descends it.

    V = log σ(0) + log(1 − σ(ψθ)). All of them are tensors of shape ().
    """
    theta, psi, lr, zero = (torch.tensor(value) for value in (1.3, 0.7, 0.4, 0.0))
    small = {"theta": torch.tensor(1.0), "psi": zero, "lr": torch.tensor(1.0)}
    with verdict():
        compare_pair(my_dirac_step, {"theta": theta, "psi": psi, "lr": lr}, _alternating, DIRAC_MISTAKES,
                     small=("theta = 1, psi = 0 and lr = 1", small), names=("theta", "psi"), read="section 4.5")


def _new_psi(theta: Tensor, psi: Tensor, lr: Tensor) -> Tensor:
    return psi - lr * theta * (psi * theta).sigmoid()


def _new_theta(theta: Tensor, psi: Tensor, lr: Tensor) -> Tensor:
    return theta + lr * psi * (psi * theta).sigmoid()


def _alternating(theta: Tensor, psi: Tensor, lr: Tensor) -> tuple[Tensor, Tensor]:
    psi = _new_psi(theta, psi, lr)
    return _new_theta(theta, psi, lr), psi


def _psi(slope: Callable, why: str) -> tuple[Callable, str]:
    """A mistake in the discriminator's step, ψ ← ψ + lr · slope(θ, ψ), whatever the generator makes of it."""
    return lambda theta, psi, lr: (None, psi + lr * slope(theta, psi)), f"the discriminator's step: {why}"


def _theta(slope: Callable, why: str) -> tuple[Callable, str]:
    """A mistake in the generator's step, θ ← θ + lr · slope(θ, new ψ, old ψ), the discriminator's being right."""
    return (lambda theta, psi, lr: (theta + lr * slope(theta, _new_psi(theta, psi, lr), psi), None),
            f"the generator's step: {why}")


NO_SIGMOID = "the σ is missing: d/dl log(1 − σ(l)) = −σ(l). Without it this is the game V = −ψθ, of a linear critic."
IN_D = ("you differentiate the logarithm with respect to D, and leave out dD/dl = D(1 − D). Its second factor cancels "
        "the 1/(1 − D), and D = σ(ψθ) is left (section 4.4).")
ONLY_D = ("you differentiate D itself, and get σ(l)(1 − σ(l)). The derivative of log(1 − D) is −σ(l), with l = ψθ "
          "(section 4.4).")
HALF = "you have ½ for σ(ψθ). That holds where ψθ = 0, and nowhere else."
NO_LR = "lr does not come in: a step is the learning rate times the gradient."
NOT_MOVED = "it did not move. Each player takes one step, first D and then G (section 4.5)."
DIRAC_MISTAKES = [
    (lambda theta, psi, lr: _alternating(theta, psi, lr)[::-1], "the two are exchanged: return theta first, then psi."),
    (lambda theta, psi, lr: (_new_theta(theta, psi, lr), _new_psi(theta, psi, lr)),
     "this is the simultaneous step: G moves against the psi that was. Asked is the alternating one: D first, then G "
     "against the new psi (section 4.5)."),
    (lambda theta, psi, lr: (_new_theta(theta, psi, lr), _new_psi(_new_theta(theta, psi, lr), psi, lr)),
     "the generator moves first, and D answers to the new theta. Algorithm 1 has it the other way round: D first, then "
     "G against the new psi (sections 4.1 and 4.5)."),
    (lambda theta, psi, lr: (_alternating(theta, psi, lr)[0] - theta, _new_psi(theta, psi, lr) - psi),
     "you return the changes. Asked is where the two stand afterwards, theta + … and psi + …"),
    _psi(lambda theta, psi: 0 * psi, NOT_MOVED),
    _psi(lambda theta, psi: theta * (psi * theta).sigmoid(),
         "the sign is turned, and D descends V. It ascends: ∂V/∂ψ = −θ σ(ψθ), and psi moves along it (section 4.5)."),
    _psi(lambda theta, psi: -theta, NO_SIGMOID), _psi(lambda theta, psi: theta, NO_SIGMOID),
    _psi(lambda theta, psi: theta * (-psi * theta).sigmoid(),
         "you have the gradient of log D for that of log(1 − D): D learns to call the fake real (section 4.5)."),
    _psi(lambda theta, psi: -theta * (-psi * theta).sigmoid(),
         "you have σ(−ψθ) where it is σ(ψθ): d/dl log(1 − σ(l)) = −σ(l), and 1 − σ(l) belongs to log σ(l)."),
    _psi(lambda theta, psi: -theta / 2, HALF),
    _psi(lambda theta, psi: -psi * (psi * theta).sigmoid(),
         "psi is moved along psi. The logit is l = ψθ, so ∂l/∂ψ = θ (section 4.5)."),
    *[_psi(lambda theta, psi, sign=sign: sign * theta / (-psi * theta).sigmoid(), IN_D) for sign in (1, -1)],
    *[_psi(lambda theta, psi, sign=sign: sign * theta * (psi * theta).sigmoid() * (-psi * theta).sigmoid(), ONLY_D)
      for sign in (1, -1)],
    (lambda theta, psi, lr: (None, psi - theta * (psi * theta).sigmoid()), f"the discriminator's step: {NO_LR}"),
    _theta(lambda theta, psi, old: 0 * psi, NOT_MOVED),
    _theta(lambda theta, psi, old: -psi * (psi * theta).sigmoid(),
           "the sign is turned, and G ascends V. It descends: ∂V/∂θ = −ψ σ(ψθ), and theta moves against it (section "
           "4.5)."),
    _theta(lambda theta, psi, old: psi * (-psi * theta).sigmoid(),
           "you have σ(−ψθ) where it is σ(ψθ). That is the non-saturating loss, −log D; asked is the minimax game, in "
           "which G descends log(1 − D) (section 4.4)."),
    _theta(lambda theta, psi, old: -psi * (-psi * theta).sigmoid(),
           "G descends log D: its fake goes where D is lower. In the minimax game it descends log(1 − D)."),
    _theta(lambda theta, psi, old: psi / 2, HALF),
    _theta(lambda theta, psi, old: psi, NO_SIGMOID), _theta(lambda theta, psi, old: -psi, NO_SIGMOID),
    *[_theta(lambda theta, psi, old, slope=slope: slope(theta, psi, old),
             "the new psi stands in one place, and the old one in the other. D has moved: the new one holds in both.")
      for slope in (lambda theta, psi, old: psi * (old * theta).sigmoid(),
                    lambda theta, psi, old: old * (psi * theta).sigmoid())],
    _theta(lambda theta, psi, old: old * (-old * theta).sigmoid(),
           "two things: G moves against the psi that was, and you have σ(−ψθ), of the non-saturating loss. Take the "
           "new psi, and σ(ψθ)."),
    _theta(lambda theta, psi, old: -old * (old * theta).sigmoid(),
           "two things: G moves against the psi that was, and the wrong way. It descends V, against the new psi."),
    _theta(lambda theta, psi, old: theta * (psi * theta).sigmoid(),
           "theta is moved along theta. The logit is l = ψθ, so ∂l/∂θ = ψ (section 4.5)."),
    *[_theta(lambda theta, psi, old, sign=sign: sign * psi / (-psi * theta).sigmoid(), IN_D) for sign in (1, -1)],
    *[_theta(lambda theta, psi, old, sign=sign: sign * psi * (psi * theta).sigmoid() * (-psi * theta).sigmoid(),
             ONLY_D) for sign in (1, -1)],
    (lambda theta, psi, lr: (_new_theta(theta, _new_psi(theta, psi, lr), 1), None), f"the generator's step: {NO_LR}"),
]
