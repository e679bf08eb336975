"""Chapter 08, exercise 3: L_GAN with its three terms, of x, x̃ and x_p."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from course_lib.exercises.calling import NotYet, ask, in_time
from course_lib.exercises.checking import as_numbers, compare, same, show, verdict

NAMES = {"logits_x": "x", "logits_x_tilde": "x̃", "logits_x_p": "x_p"}


def check_gan_term(my_gan_term: Callable) -> None:
    """my_gan_term(logits_x, logits_x_tilde, logits_x_p) → mean log D(x) + mean log(1 − D(x̃)) + mean log(1 − D(x_p)).

    A scalar, never above 0; all (B,). The logits lie between 0 and 1, so that whoever takes them for probabilities gets
    a number; then come logits of ±1000.
    """
    with verdict(), torch.inference_mode(False), torch.enable_grad():
        logits = 0.1 + 0.8 * torch.rand((3, 5), generator=torch.Generator().manual_seed(236))
        small = torch.tensor([[2.0, 1.0], [1.5, 1.0], [1.0, 4.0]]).log()
        compare(my_gan_term, _learning(*logits), _gan, GAN_MISTAKES, read="section 8.3", trains=True,
                small=("D(x) = ⅔ and ½, D(x̃) = 0.6 and ½, D(x_p) = ½ and 0.8, so the logits (0.693, 0), (0.405, 0) and "
                       "(0, 1.386),", _learning(*small)))
        for words, logit, wanted in (("right", 1000.0, 0.0), ("wrong", -1000.0, -3000.0)):
            sure = [torch.full((2,), sign * logit) for sign in (1, -1, -1)]
            _require_stable(my_gan_term, _learning(*sure), torch.tensor(wanted).double(),
                            f"where D is sure and {words}, with logits of {logit:.0f} on x and {-logit:.0f} on x̃ and "
                            "x_p,")


def _learning(*logits: Tensor) -> dict[str, Tensor]:
    return {name: values.clone().requires_grad_() for name, values in zip(NAMES, logits, strict=True)}


def _require_stable(f: Callable, arguments: dict[str, Tensor], wanted: Tensor, case: str) -> None:
    """At logits of ±1000, in value and in gradient."""
    answer = ask(f, arguments, echo=False)
    got = as_numbers(answer)
    if not got.isfinite().all():
        raise NotYet(f"the formula is right, but {case} your L_GAN is {show(got)}; it must be {show(wanted)}. In "
                     "float32 σ(l) is exactly 1 from l = 17 on, and the log of 1 − 1 is −inf. log σ(l) is "
                     "torch.nn.functional.logsigmoid(l), and log(1 − σ(l)) is logsigmoid(−l) (section 4.1).")
    if not same(got, wanted):
        raise NotYet(f"right for small logits, but {case} L_GAN must be {show(wanted)}, and yours is {show(got)}. Do "
                     "not clamp, and add no small number under the logarithm (binary_cross_entropy on probabilities "
                     "stops at 100, too): logsigmoid needs neither.")
    grads, problem = in_time(lambda: torch.autograd.grad(answer.sum(), list(arguments.values()), allow_unused=True), f)
    if problem:
        raise NotYet(problem)
    for (name, logits), grad, side in zip(arguments.items(), grads, (1, -1, -1), strict=True):
        slope = side * (-side * logits).sigmoid() / len(logits)
        if grad is None:
            raise NotYet(f"the number is right, but no gradient flows back to {name}: Dis would not learn from "
                         f"{NAMES[name]}. Something cuts it: .detach(), .data, .item(), numpy or torch.no_grad().")
        if not same(grad, slope.detach()):
            raise NotYet(f"L_GAN is right, but {case} its gradient with respect to {name} is {show(grad)}; it must be "
                         f"{show(slope)}. torch.where does not mend a gradient: from the branch that is thrown away "
                         "comes 0 · inf, which is NaN. logsigmoid has the right one.")


# --- the answer, and the mistakes ----------------------------------------------------------------------------------

def _terms(x: Callable | None, x_tilde: Callable | None, x_p: Callable | None) -> Callable:
    """The sum of three means, of functions of the logits; None for a term that is left out."""
    def value(logits_x: Tensor, logits_x_tilde: Tensor, logits_x_p: Tensor) -> Tensor:
        pairs = ((x, logits_x), (x_tilde, logits_x_tilde), (x_p, logits_x_p))
        return sum((f(logits).mean() for f, logits in pairs if f), torch.zeros(()))
    return value


def _of(f: Callable) -> Callable:
    """A function of the three lists of logits, whatever they are called."""
    return lambda logits_x, logits_x_tilde, logits_x_p: f(logits_x, logits_x_tilde, logits_x_p)


def _real(l: Tensor) -> Tensor:
    """log D."""
    return logsigmoid(l)


def _fake(l: Tensor) -> Tensor:
    """log(1 − D)."""
    return logsigmoid(-l)


_gan = _terms(_real, _fake, _fake)
FAKE = "To Dis it is a fake, and the probability of calling it so is 1 − D: log(1 − D) (section 8.3)."
NO_LOG = "the logarithms are missing: L_GAN is a log likelihood, of three kinds of images (section 8.3)."
BOTH_LOSSES = ("this is what Dec *descends* in the non-saturating form, −log D(x̃) − log D(x_p). Asked is L_GAN, which "
               "has log(1 − D) of both, and log D(x) (section 8.4).")
GAN_MISTAKES = [
    (_terms(_real, None, _fake),
     "x̃ is missing: this is a plain GAN's. Reconstructions are fakes too; without them Dis never sees what Dec makes "
     "of codes from q(z|x), and L_GAN does not make these any sharper (section 8.3)."),
    (_terms(_real, _fake, None),
     "x_p is missing: Dis sees reconstructions only, and nobody looks at what Dec makes of z ~ N(0, I), which is where "
     "samples come from (section 8.3)."),
    (_terms(None, _fake, _fake), "x is missing: a Dis that calls everything fake would be perfect. Add log D(x)."),
    (_terms(_real, None, None), "x̃ and x_p are missing: a Dis that calls everything real would be perfect."),
    (_terms(_real, _real, _fake),
     f"x̃ has log D where log(1 − D) is due: it counts as real. It is made of x, but Dec has made it. {FAKE}"),
    (_terms(_real, _fake, _real), f"x_p has log D where log(1 − D) is due. {FAKE}"),
    (_terms(_real, _real, _real), "all three have log D: Dis would call everything real. x̃ and x_p are fakes, and have "
                                  "log(1 − D) (section 8.3)."),
    (_terms(_fake, _fake, _fake), "all three have log(1 − D): Dis would call everything fake. x is real, and has "
                                  "log D (section 8.3)."),
    (_terms(_fake, _real, _real), "the labels are exchanged: here D is the probability that an image is *real*."),
    (_of(lambda x, t, p: _gan(x, t, p) / 3),
     "this is a third of it: is it one mean over all 3B logits? L_GAN is the *sum* of three means, and at D = ½ it is "
     "−3 log 2 = −2.08 (section 8.3)."),
    (_of(lambda x, t, p: _real(x).mean() + (_fake(t) + _fake(p)).mean() / 2),
     "you halve the fakes, or take one mean over both kinds. That is a fair choice, and some code makes it, but Larsen "
     "et al. add three terms of equal weight (section 8.3)."),
    (_of(lambda x, t, p: 2 * _real(x).mean() + (_fake(t) + _fake(p)).mean()),
     "x counts twice: a GAN's value for x̃, plus one for x_p. Each kind counts once: three terms (section 8.3)."),
    (_of(lambda x, t, p: -_gan(x, t, p)),
     "the sign is turned: this is −L_GAN, the loss that Dis descends. Asked is L_GAN itself, a log likelihood, never "
     "above 0 (section 8.3)."),
    (_of(lambda x, t, p: -_gan(x, t, p) / 3),
     "the sign is turned, and it is a third: binary cross-entropy over all 3B logits. Asked is the *sum* of three mean "
     "*log likelihoods* (section 8.3)."),
    (_of(lambda x, t, p: _real(x).mean() - (_fake(t) + _fake(p)).mean()),
     "the terms of x̃ and x_p have the wrong sign. All three are log likelihoods, and are added."),
    (_of(lambda x, t, p: (_fake(t) + _fake(p)).mean() - _real(x).mean()),
     "the term of x has the wrong sign. All three are log likelihoods, and are added."),
    (_terms(_real, _fake, lambda l: -_fake(l)), "the term of x_p has the wrong sign. All three are added."),
    (_terms(_real, lambda l: -_fake(l), _fake), "the term of x̃ has the wrong sign. All three are added."),
    (_of(lambda x, t, p: _gan(x, t, t)), "x̃ is in it twice, and x_p is not."),
    (_of(lambda x, t, p: _gan(x, p, p)), "x_p is in it twice, and x̃ is not."),
    (_terms(None, lambda l: -_real(l), lambda l: -_real(l)), BOTH_LOSSES),
    (_of(lambda x, t, p: _gan(x, t, p) * len(x)), "you add up the batch, so L_GAN grows with B. Each term is a mean."),
    (_of(lambda x, t, p: _real(x) + _fake(t) + _fake(p)), "you return one number for each x. L_GAN is their mean."),
    (_of(lambda x, t, p: x.log().mean() + (1 - t).log().mean() + (1 - p).log().mean()),
     "you take the logits for probabilities. The sigmoid is missing: D = σ(l), so log D = log σ(l)."),
    (_of(lambda x, t, p: _gan(x.sigmoid(), t.sigmoid(), p.sigmoid())),
     "the sigmoid is taken twice. logsigmoid holds one already: give it the logits as they come."),
    (_of(lambda x, t, p: _gan(x, t, p) / math.log(2)), "it is in bits. Here all is in nats: the natural logarithm."),
    (_of(lambda x, t, p: x.sigmoid().mean().log() + (-t).sigmoid().mean().log() + (-p).sigmoid().mean().log()),
     "you take the log of the mean probability. It is the mean of the logs: first log, then mean."),
    (_terms(torch.sigmoid, lambda l: (-l).sigmoid(), lambda l: (-l).sigmoid()), NO_LOG),
    (_terms(torch.sigmoid, lambda l: -l.sigmoid(), lambda l: -l.sigmoid()), NO_LOG),
    (_terms(_real, lambda l: l.sigmoid().log1p(), lambda l: l.sigmoid().log1p()),
     "on the fakes you have log(1 + D), as log1p(D) gives: it is log(1 − D)."),
    (_terms(lambda l: l, lambda l: -l, lambda l: -l),
     "this is a critic's gap, with no sigmoid and no logarithm (chapter 6). Here D = σ(l) is a probability."),
]
