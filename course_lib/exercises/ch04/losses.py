"""Chapter 04, exercises 1 and 3: the discriminator's loss, and the slopes that two losses give the generator."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, relu

from course_lib.exercises.calling import NotYet, ask, in_time
from course_lib.exercises.ch04.pairs import compare_pair, read_pair
from course_lib.exercises.checking import as_numbers, compare, same, show, verdict
from course_lib.gans import (
    minimax_discriminator_loss,
    minimax_generator_slope,
    non_saturating_generator_slope,
)

# --- exercise 1: the discriminator's loss --------------------------------------------------------------------------

def check_discriminator_loss(my_discriminator_loss: Callable) -> None:
    """my_discriminator_loss(real_logits, fake_logits) → −(1/B) Σ [log D(x) + log(1 − D(G(z)))], a scalar; both (B,).

    The logits lie between 0 and 1: whoever takes them for probabilities gets a number, and is told of it. Large ones
    come last: a formula that is right in exact arithmetic gets there, and is told of rounding.
    """
    with verdict(), torch.inference_mode(False), torch.enable_grad():
        real, fake = 0.1 + 0.8 * torch.rand((2, 5), generator=torch.Generator().manual_seed(0))
        small = {"real_logits": torch.tensor([2.0, 1.0]).log(), "fake_logits": torch.tensor([1.5, 1.0]).log()}
        compare(my_discriminator_loss, _learning({"real_logits": real, "fake_logits": fake}),
                minimax_discriminator_loss, DISCRIMINATOR_MISTAKES, read="section 4.1", trains=True,
                small=("D(x) = ⅔ and ½, D(G(z)) = 0.6 and ½, so the logits (0.693, 0) and (0.405, 0),",
                       _learning(small)))
        for words, logit, wanted in (("right", 1000.0, 0.0), ("wrong", -1000.0, 2000.0)):
            arguments = {"real_logits": torch.full((2,), logit), "fake_logits": torch.full((2,), -logit)}
            _require_stable(my_discriminator_loss, _learning(arguments), torch.tensor(wanted).double(),
                            f"where the discriminator is sure and {words}, with logits of {logit:.0f} on the real data "
                            f"and {-logit:.0f} on the fakes,")


def _learning(arguments: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.requires_grad_() for name, value in arguments.items()}


def _require_stable(f: Callable, arguments: dict[str, Tensor], wanted: Tensor, case: str) -> None:
    """At logits of ±1000, in value and in gradient."""
    answer = ask(f, arguments, echo=False)
    got = as_numbers(answer)
    if not got.isfinite().all():
        raise NotYet(f"the formula is right, but {case} your loss is {show(got)}; it must be {show(wanted)}. In "
                     "float32 σ(l) is exactly 1 from l = 17 on, and exp(l) is inf from 89 on: then you divide by inf, "
                     "or take the log of 0. Never leave log space: log σ(l) is torch.nn.functional.logsigmoid(l), and "
                     "log(1 − σ(l)) is logsigmoid(−l) (section 4.1).")
    if not same(got, wanted):
        raise NotYet(f"right for small logits, but {case} the loss must be {show(wanted)}, and yours is {show(got)}. "
                     "Do not clamp, and add no small number under the logarithm (binary_cross_entropy on probabilities "
                     "stops at 100, too): logsigmoid needs neither.")
    grads, problem = in_time(lambda: torch.autograd.grad(answer.sum(), list(arguments.values()), allow_unused=True), f)
    if problem:
        raise NotYet(problem)
    slopes = (-(-arguments["real_logits"]).sigmoid() / 2, arguments["fake_logits"].sigmoid() / 2)       # B = 2
    for name, grad, slope in zip(arguments, grads, slopes, strict=True):
        if grad is None:
            raise NotYet(f"the number is right, but no gradient flows back to {name}. Something cuts it: .detach(), "
                         ".data, .item(), numpy or torch.no_grad().")
        if not same(grad, slope):
            raise NotYet(f"the loss is right, but {case} its gradient with respect to {name} is {show(grad)}; it must "
                         f"be {show(slope)}. torch.where does not mend a gradient: from the branch that is thrown away "
                         "comes 0 · inf, which is NaN. logsigmoid has the right one.")


FAKE_IS_FAKE = "a fake is to be called fake, and the probability of that is 1 − D(G(z)) (section 4.1)."
NO_LOG = ("the logarithms are missing. Without them the best D says 0 or 1, whichever is likelier, and not how likely: "
          "V(G, D) = E[log D(x)] + E[log(1 − D(G(z)))] (section 4.1).")
OTHER_GAME = "Here it is −(1/B) Σ [log D(x) + log(1 − D(G(z)))] (section 4.1)."
DISCRIMINATOR_MISTAKES = [
    (lambda real_logits, fake_logits: -(logsigmoid(real_logits).mean() + logsigmoid(fake_logits).mean()),
     f"on the fakes you have log D for log(1 − D), so D learns to call everything real: {FAKE_IS_FAKE}"),
    (lambda real_logits, fake_logits: -(logsigmoid(-real_logits).mean() + logsigmoid(-fake_logits).mean()),
     "on the real data you have log(1 − D) for log D, so D learns to call everything fake. D(x) is the probability "
     "that x is real (section 4.1)."),
    (lambda real_logits, fake_logits: -(logsigmoid(-real_logits).mean() + logsigmoid(fake_logits).mean()),
     "the labels are exchanged: your D becomes the probability that its input is *generated*. Here D(x) is the "
     "probability that x is real (section 4.1)."),
    (lambda real_logits, fake_logits: -minimax_discriminator_loss(real_logits, fake_logits),
     "the sign is turned: this is V, which the discriminator makes large. An optimizer makes a loss small, so the loss "
     "is −V (section 4.1)."),
    (lambda real_logits, fake_logits: logsigmoid(-fake_logits).mean() - logsigmoid(real_logits).mean(),
     "the term of the fakes has the wrong sign: this loss falls when D calls them real. Both logarithms get the "
     "minus."),
    (lambda real_logits, fake_logits: logsigmoid(real_logits).mean() - logsigmoid(-fake_logits).mean(),
     "the term of the real data has the wrong sign: this loss falls when D calls them fake. Both logarithms get the "
     "minus."),
    (lambda real_logits, fake_logits: -(real_logits.log() + (1 - fake_logits).log()).mean(),
     "you take the logits for probabilities. The sigmoid is missing: D = σ(l), so log D = log σ(l) (section 4.1)."),
    (lambda real_logits, fake_logits: minimax_discriminator_loss(real_logits.sigmoid(), fake_logits.sigmoid()),
     "the sigmoid is taken twice. logsigmoid and binary_cross_entropy_with_logits hold one already: give them the "
     "logits as they come."),
    (lambda real_logits, fake_logits: minimax_discriminator_loss(real_logits, fake_logits) * len(real_logits),
     "you add up the batch, so the loss grows with B. The 1/B in front makes it a mean."),
    (lambda real_logits, fake_logits: minimax_discriminator_loss(real_logits, fake_logits) / 2,
     "you have half of it. Is that one mean over all 2B logits, or a ½? It is the mean over the real ones *plus* the "
     "mean over the fakes, and at D = ½ that is 2 log 2 (section 4.2)."),
    (lambda real_logits, fake_logits: -(logsigmoid(real_logits) + logsigmoid(-fake_logits)),
     "you return one number for each pair of samples. The loss is their mean, one number in all."),
    (lambda real_logits, fake_logits: -logsigmoid(real_logits).mean(),
     "the fakes are missing: a D that calls everything real would be perfect. Add −log(1 − D(G(z)))."),
    (lambda real_logits, fake_logits: -logsigmoid(-fake_logits).mean(),
     "the real data are missing: a D that calls everything fake would be perfect. Add −log D(x)."),
    (lambda real_logits, fake_logits: minimax_discriminator_loss(real_logits, fake_logits) / math.log(2),
     "your loss is in bits. Here all is in nats: the logarithm is the natural one."),
    (lambda real_logits, fake_logits: -(real_logits.sigmoid().mean().log() + (-fake_logits).sigmoid().mean().log()),
     "you take the log of the mean probability. It is the mean of the logs: first log, then mean (section 4.1)."),
    (lambda real_logits, fake_logits: -(real_logits.sigmoid().mean() + (-fake_logits).sigmoid().mean()), NO_LOG),
    (lambda real_logits, fake_logits: (-real_logits).sigmoid().mean() + fake_logits.sigmoid().mean(), NO_LOG),
    (lambda real_logits, fake_logits: fake_logits.sigmoid().mean() - real_logits.sigmoid().mean(), NO_LOG),
    (lambda real_logits, fake_logits: -(logsigmoid(real_logits) + fake_logits.sigmoid().log1p()).mean(),
     "on the fakes you have log(1 + D), as log1p(D) gives: it is log(1 − D)."),
    (lambda real_logits, fake_logits: -logsigmoid(fake_logits).mean(),
     f"this is the generator's non-saturating loss. {OTHER_GAME}"),
    (lambda real_logits, fake_logits: logsigmoid(-fake_logits).mean(),
     f"this is what the generator makes small in the minimax game. {OTHER_GAME}"),
    (lambda real_logits, fake_logits: fake_logits.mean() - real_logits.mean(),
     "this is the loss of a Wasserstein critic, with no sigmoid and no logarithm; it comes in chapter 6. "
     f"{OTHER_GAME}"),
    (lambda real_logits, fake_logits: relu(1 - real_logits).mean() + relu(1 + fake_logits).mean(),
     f"this is the hinge loss. {OTHER_GAME}"),
    *[(lambda real_logits, fake_logits, squash=squash, half=half: half * ((squash(real_logits) - 1).square().mean()
                                                                          + squash(fake_logits).square().mean()),
       f"this is a squared error of the labels. {OTHER_GAME}") for squash in (torch.sigmoid, lambda l: l)
      for half in (0.5, 1)],
]


# --- exercise 3: the slopes that the generator gets ----------------------------------------------------------------

SLOPES = ("saturating slope", "non-saturating slope")


def check_generator_slopes(my_slopes: Callable) -> None:
    """my_slopes(logits) → (d/dl log(1 − σ(l)), d/dl [−log σ(l)]) = (−σ(l), −σ(−l)), both (B,), at each of (B,) logits.

    ±100 come last: a D so sure is met in practice, and exp(100) is inf in float32.
    """
    logits = 1.5 * torch.randn(6, generator=torch.Generator().manual_seed(0))
    with verdict():
        compare_pair(my_slopes, {"logits": logits}, _slopes, SLOPE_MISTAKES, names=SLOPES, read="section 4.4",
                     small=("the logits (0, −6.907), so D = ½ and 0.001,",
                            {"logits": torch.tensor([0.0, -math.log(999)])}))
        sure = torch.tensor([-100.0, 100.0])
        _, got = read_pair(ask(my_slopes, {"logits": sure}, echo=False), SLOPES)
        for name, slope, wanted in zip(SLOPES, got, _slopes(sure), strict=True):
            if not same(slope, wanted):
                slope, wanted = slope.round(decimals=4), wanted.round(decimals=4)
                raise NotYet(f"the formula is right, but at the logits (−100, 100) your {name} is {show(slope)}; it "
                             f"must be {show(wanted)}. exp(100) is inf in float32, and inf/inf and 0/0 are NaN. Cancel "
                             "by hand what can be cancelled: one sigmoid is left (section 4.4).")


def _slopes(logits: Tensor) -> tuple[Tensor, Tensor]:
    return minimax_generator_slope(logits), non_saturating_generator_slope(logits)


def _saturating(slope: Callable, why: str) -> tuple[Callable, str]:
    return lambda logits: (slope(logits), None), f"saturating: {why}"


def _non_saturating(slope: Callable, why: str) -> tuple[Callable, str]:
    return lambda logits: (None, slope(logits)), f"non-saturating: {why}"


IN_D = "this is the slope with respect to D. By the chain rule it is multiplied by dD/dl = D(1 − D) (section 4.4)."
HALF_CHAIN = ("you have one factor of dD/dl, and there are two: dD/dl = D(1 − D). One of them cancels against the "
              "logarithm's 1/(1 − D) or 1/D, and the other is left.")
ONLY_D = ("you have the slope of D itself, D(1 − D), up to a sign. The logarithm adds a factor, 1/(1 − D) or 1/D, and "
          "that cancels one of the two.")
NO_SIGMOID = "you take the logit for a probability. The sigmoid is missing: D = σ(l)."
TWICE = "the sigmoid is taken twice: D = σ(l), and nothing is left to squash."
BATCH_MEAN = "you divide by B: that is the slope of the batch's mean. Asked is what each sample's own loss has."
ONE_NUMBER = "you return one number. Each sample has its own slope: (B,)."
SLOPE_MISTAKES = [
    (lambda logits: _slopes(logits)[::-1],
     "the two are exchanged. Where D is near 0 the saturating one, of log(1 − D), is the one that vanishes (section "
     "4.4)."),
    (lambda logits: tuple(-slope for slope in _slopes(logits)),
     "both signs are turned. A larger logit is a better fake, and both losses *fall* with it, so both slopes are "
     "negative. (Descent goes against the slope, and so raises the logit.)"),
    (lambda logits: (logsigmoid(-logits), -logsigmoid(logits)),
     "you return the two losses. Asked are their derivatives with respect to the logit l."),
    _saturating(lambda l: l.sigmoid(), "the sign is turned. log(1 − σ(l)) falls as l grows, so its slope is negative."),
    _saturating(lambda l: -(-l).sigmoid(),
                "you have −(1 − D), the slope of −log D. The saturating loss is log(1 − D): where D is near 0 it is "
                "flat (section 4.4)."),
    _saturating(lambda l: (-l).sigmoid(), "you have 1 − D, the slope of log D. It is log(1 − D)."),
    _non_saturating(lambda l: (-l).sigmoid(),
                    "the sign is turned: this is the slope of + log D. The loss is −log D, and falls as l grows."),
    _non_saturating(lambda l: -l.sigmoid(),
                    "you have −D, the slope of log(1 − D). The loss is −log D: where D is near 0 it is steep (section "
                    "4.4)."),
    _non_saturating(lambda l: l.sigmoid(),
                    "you have + D, the slope of −log(1 − D). The loss is −log D: to turn the sign of the saturating "
                    "one would send the fakes away from the data (section 4.4)."),
    _saturating(lambda l: -1 / (-l).sigmoid(), IN_D), _non_saturating(lambda l: -1 / l.sigmoid(), IN_D),
    _saturating(lambda l: -l.exp(), HALF_CHAIN), _non_saturating(lambda l: -(-l).exp(), HALF_CHAIN),
    *[part(lambda l, sign=sign: sign * l.sigmoid() * (-l).sigmoid(), ONLY_D) for sign in (1, -1)
      for part in (_saturating, _non_saturating)],
    _saturating(lambda l: -l, NO_SIGMOID), _non_saturating(lambda l: l - 1, NO_SIGMOID),
    _non_saturating(lambda l: l, NO_SIGMOID),
    _saturating(lambda l: -l.sigmoid().sigmoid(), TWICE), _non_saturating(lambda l: -(-l.sigmoid()).sigmoid(), TWICE),
    _non_saturating(lambda l: -(-l).sigmoid().sigmoid(), TWICE),
    *[part(lambda l, side=side: -(side * l).sigmoid() / len(l), BATCH_MEAN)
      for part, side in ((_saturating, 1), (_non_saturating, -1))],
    *[part(lambda l, side=side, total=total: -total((side * l).sigmoid()), ONE_NUMBER)
      for part, side in ((_saturating, 1), (_non_saturating, -1)) for total in (torch.mean, torch.sum)],
]
