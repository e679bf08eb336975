"""Chapter 04, exercise 4: both losses of one step, in value and in the gradients that they give to G and to D."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from course_lib.exercises.calling import NotYet, ask, in_time, unchanged
from course_lib.exercises.ch04.losses import DISCRIMINATOR_MISTAKES
from course_lib.exercises.ch04.pairs import compare_pair, read_pair
from course_lib.exercises.checking import same, show, verdict
from course_lib.gans import minimax_discriminator_loss, minimax_generator_loss, non_saturating_generator_loss

LOSSES = ("loss_D", "loss_G")


class Player(nn.Module):
    """x → squash(x W): a network of one weight, which a check hands over as it is, so that gradients can be read there.

    Inputs (B, n), W (n, m) or (n,): outputs (B, m) or (B,).
    """

    def __init__(self, weight: Tensor, squash: Callable[[Tensor], Tensor] = lambda x: x):
        super().__init__()
        self.weight, self.squash = nn.Parameter(weight), squash

    def __deepcopy__(self, memo: dict) -> Player:
        return self

    def forward(self, x: Tensor) -> Tensor:
        return self.squash(x @ self.weight)


def _batch(low: float = 0.1, high: float = 0.9) -> dict[str, Any]:
    """Noise as wide as the data, so that D(z) and G(x) give numbers; logits between low and high: see exercise 1."""
    draw = torch.Generator().manual_seed(45)
    G = Player(torch.randn((2, 2), generator=draw), lambda x: 2 * x.tanh())
    D = Player(2 * torch.randn(2, generator=draw), lambda x: low + (high - low) * x.sigmoid())
    x, z = torch.randn((2, 4, 2), generator=draw)
    return {"G": G, "D": D, "x": 1 + x, "z": z}


def _one_of_each() -> dict[str, Any]:
    return {"G": Player(torch.tensor([[2.0]])), "D": Player(torch.tensor([1.0])),
            "x": torch.tensor([[2.0]]).log(), "z": torch.tensor([[1.5]]).log() / 2}


def check_gan_losses(my_gan_losses: Callable) -> None:
    """my_gan_losses(G, D, x, z) → (−(1/B) Σ [log D(x) + log(1 − D(G(z)))], −(1/B) Σ log D(G(z))), two scalars.

    D gives logits, (B,). The first must have a gradient in D and none in G, the second one in G through D.
    """
    with verdict(), torch.inference_mode(False), torch.enable_grad():
        first = _one_of_each()
        weights = [(name, first[name].weight, first[name].weight.detach().clone()) for name in ("G", "D")]
        read_pair(ask(my_gan_losses, first), LOSSES)
        for name, weight, before in weights:
            _require_untouched(name, first[name], weight, before)
        compare_pair(my_gan_losses, _batch(), _losses, LOSSES_MISTAKES, names=LOSSES, echo=False,
                     small=("G(z) = 2 z, logits D(x) = x, one x = 0.693 and one z = 0.203, so D(x) = ⅔ and D(G(z)) = "
                            "0.6,", _one_of_each()), read="sections 4.1 and 4.4")
        arguments, ours = _batch(-4, 4), _batch(-4, 4)
        losses, got = read_pair(ask(my_gan_losses, arguments, echo=False), LOSSES)
        for name, loss, wanted in zip(LOSSES, got, _losses(**ours), strict=True):
            if not same(loss, wanted.detach()):
                raise NotYet(f"right for logits between 0 and 1, but for logits from −4 to 4 {name} must be "
                             f"{show(wanted)}, and yours is {show(loss)}. Are they clamped, or is a sign taken off?")
        grads, problem = in_time(lambda: [_gradients(loss, arguments) for loss in losses], my_gan_losses)
        if problem:
            raise NotYet(problem)
        _require_step_of_D(grads[0], ours)
        _require_step_of_G(grads[1], ours)


def _losses(G: nn.Module, D: nn.Module, x: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
    return minimax_discriminator_loss(D(x), D(G(z).detach())), non_saturating_generator_loss(D(G(z)))


# --- what a function must leave alone, and what gradients it must give ---------------------------------------------

def _require_untouched(name: str, network: nn.Module, weight: Tensor, before: Tensor) -> None:
    if not weight.requires_grad:
        raise NotYet(f"your function leaves {name} frozen: after requires_grad_(False) its weights learn no more, in "
                     "any step. There is no need to freeze a player: an optimizer moves its own weights only.")
    if getattr(network, "weight", None) is not weight or not unchanged(weight, before):
        raise NotYet(f"your function changes the weights of {name}. Only the two losses are asked for, both with the "
                     "weights as they come; whoever calls it takes the steps.")
    if weight.grad is not None:
        raise NotYet("your function calls .backward(). Only the two losses are asked for, with the way back still "
                     "open; whoever calls it takes the gradients.")


def _gradients(loss: Tensor, networks: dict[str, Any]) -> dict[str, Tensor | None]:
    """{"G": …, "D": …}, None where no gradient arrives."""
    grads = [None, None]
    if loss.requires_grad:
        grads = torch.autograd.grad(loss, [networks["G"].weight, networks["D"].weight], retain_graph=True,
                                    allow_unused=True)
    return {name: grad if grad is not None and grad.count_nonzero() else None
            for name, grad in zip(("G", "D"), grads, strict=True)}


def _require_step_of_D(grads: dict[str, Tensor | None], batch: dict[str, Any]) -> None:
    G, D, x, z = batch.values()
    if grads["D"] is None:
        raise NotYet("both numbers are right, but no gradient flows from loss_D to D, so D could not learn. Something "
                     "cuts it: .detach(), .data, .item() or torch.no_grad() around D. Only G(z) is to be detached.")
    if grads["G"] is not None:
        raise NotYet("both numbers are right, but loss_D has a gradient in G as well: a .backward() on it would push "
                     "G to make D's task *easier*. In D's step the fakes are data: give D G(z).detach(). (To detach z "
                     "is of no use; it is G's weights that must not be reached.)")
    for grad, term in ((non_saturating_generator_loss(D(x)), "the real data"),
                       (-minimax_generator_loss(D(G(z))), "the fakes")):
        if same(grads["D"], _gradients(grad, batch)["D"]):
            raise NotYet(f"both numbers are right, but the gradient of loss_D reaches D through {term} only. The other "
                         "term is cut off behind D: leave D(…) as it is, and detach G(z) before D sees it.")
    if not same(grads["D"], _gradients(_losses(G, D, x, z)[0], batch)["D"]):
        raise NotYet("both numbers are right, but not the gradient of loss_D in D. Is a part of it detached, or "
                     "something used twice?")


def _require_step_of_G(grads: dict[str, Tensor | None], batch: dict[str, Any]) -> None:
    if grads["G"] is None and grads["D"] is not None:
        raise NotYet("both numbers are right, but the gradient of loss_G ends at D's weights and does not reach G: the "
                     "fakes are detached here too. In G's step the weights of D stay as they are, but the gradient "
                     "passes *through* D to G: D(G(z)), with no .detach() and no torch.no_grad() (section 4.1).")
    if grads["G"] is None:
        raise NotYet("both numbers are right, but no gradient flows from loss_G to G, so G could not learn. D(G(z)) is "
                     "cut off: by .detach(), .data or torch.no_grad(). That D's weights stay in G's step does not mean "
                     "that D is left out: the gradient passes *through* D to G (section 4.1).")
    if not same(grads["G"], _gradients(_losses(*batch.values())[1], batch)["G"]):
        raise NotYet("both numbers are right, but not the gradient of loss_G in G. Is a part of it detached, or "
                     "something used twice?")


# --- the mistakes that the values tell -----------------------------------------------------------------------------

def _discriminator(loss: Callable, why: str) -> tuple[Callable, str]:
    """A mistake in loss_D, a function of D(x) and D(G(z)), whatever loss_G is."""
    return lambda G, D, x, z: (loss(D(x), D(G(z))), None), f"loss_D: {why}"


def _generator(loss: Callable, why: str) -> tuple[Callable, str]:
    """A mistake in loss_G, a function of D(x) and D(G(z)), loss_D being right."""
    return lambda G, D, x, z: (None, loss(D(x), D(G(z)))), f"loss_G: {why}"


NOISE_TO_D = "you give D the noise z. It judges what G makes of it: D(G(z))."
X_TO_G = "you put x through G. G makes fakes of noise: D(G(z)), not D(G(x)) (section 4.1)."
SATURATING = ("this is log(1 − D(G(z))), of the minimax game: it gives almost no gradient where D is sure of a fake. "
              "Asked is the non-saturating loss, −log D(G(z)) (section 4.4).")
NO_LOG = "the logarithm is missing: it is −log D(G(z)) (section 4.4)."
LOSSES_MISTAKES = [
    (lambda G, D, x, z: _losses(G, D, x, z)[::-1], "the two are exchanged: return loss_D first, then loss_G."),
    *[(lambda G, D, x, z, wrong=wrong: (minimax_discriminator_loss(D(x), D(wrong(G, x, z))), None), f"loss_D: {why}")
      for wrong, why in ((lambda G, x, z: z, NOISE_TO_D), (lambda G, x, z: G(x), X_TO_G))],
    *[_discriminator(lambda real, fake, loss=loss: loss(real_logits=real, fake_logits=fake), why)
      for loss, why in DISCRIMINATOR_MISTAKES],
    _discriminator(lambda real, fake: minimax_discriminator_loss(fake, fake),
                   "both terms are of the fakes. The first is of the real data, log D(x)."),
    _discriminator(lambda real, fake: minimax_discriminator_loss(real, real),
                   "both terms are of the real data. The second is of the fakes, log(1 − D(G(z)))."),
    *[(lambda G, D, x, z, wrong=wrong: (None, non_saturating_generator_loss(D(wrong(G, x, z)))), f"loss_G: {why}")
      for wrong, why in ((lambda G, x, z: z, NOISE_TO_D), (lambda G, x, z: G(x), X_TO_G))],
    _generator(lambda real, fake: logsigmoid(-fake).mean(), SATURATING),
    _generator(lambda real, fake: -minimax_discriminator_loss(real, fake),
               "this is V, that is, −loss_D: the zero-sum game. Of its two terms the first does not depend on G, and "
               "the second saturates. Asked is the non-saturating loss, −log D(G(z)) (section 4.4)."),
    _generator(minimax_discriminator_loss,
               "this is loss_D once more, so G would help D. Asked is −log D(G(z)) (section 4.4)."),
    _generator(lambda real, fake: -logsigmoid(-fake).mean(),
               "this is −log(1 − D(G(z))), least where D is sure that G(z) is fake. Asked is −log D(G(z)) (section "
               "4.4)."),
    _generator(lambda real, fake: logsigmoid(fake).mean(),
               "the sign is turned: an optimizer makes log D(G(z)) small, so G's fakes get worse. It is −log D(G(z))."),
    _generator(lambda real, fake: -logsigmoid(real).mean(),
               "this is −log D(x). G has no part in the real data; its loss is of D(G(z))."),
    _generator(lambda real, fake: -(logsigmoid(real) + logsigmoid(fake)).mean(),
               "the real data are in it. They do not depend on G: its loss is −log D(G(z)) alone."),
    _generator(lambda real, fake: logsigmoid(-real).mean().neg() - logsigmoid(fake).mean(),
               "this is D's loss with the labels exchanged. The part of the real data does not depend on G: its loss "
               "is −log D(G(z)) alone."),
    _generator(lambda real, fake: -fake.log().mean(), "you take the logits for probabilities: D = σ(l) (section 4.1)."),
    _generator(lambda real, fake: -logsigmoid(fake.sigmoid()).mean(), "the sigmoid is taken twice."),
    _generator(lambda real, fake: -logsigmoid(fake).sum(), "you add up the batch. It is a mean, as in loss_D."),
    _generator(lambda real, fake: -logsigmoid(fake), "you return one number for each fake. The loss is their mean."),
    _generator(lambda real, fake: -logsigmoid(fake).mean() / 2, "you have half of it: there is no ½."),
    _generator(lambda real, fake: -logsigmoid(fake).mean() / math.log(2),
               "it is in bits. The logarithm is the natural one."),
    _generator(lambda real, fake: -fake.sigmoid().mean().log(), "you take the log of the mean. It is the mean of the "
                                                                "logs."),
    _generator(lambda real, fake: -fake.sigmoid().mean(), NO_LOG),
    _generator(lambda real, fake: (-fake).sigmoid().mean(), NO_LOG),
    _generator(lambda real, fake: -fake.mean(),
               "this is −l, of the hinge loss or of a Wasserstein critic. Asked is −log D(G(z)), with D = σ(l)."),
]
