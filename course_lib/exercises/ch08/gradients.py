"""Chapter 08, exercise 2: three gradients from one forward, none of which reaches a foreign network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from course_lib.exercises.calling import NotYet, ask, kind, unchanged
from course_lib.exercises.ch08.toy import Net, draw_toy, gradients, shares, three_terms
from course_lib.exercises.checking import as_numbers, verdict
from course_lib.gans import VAEGANLosses

GAMMA = 0.3
NETWORKS = ("Enc", "Dec", "Dis")
TERMS = ("L_prior", "L_llike", "L_GAN")
WANTED = {"Enc": (1, 1, 0), "Dec": (0, GAMMA, 1), "Dis": (0, 0, -1)}       # how much of each term's gradient


def check_three_gradients(my_three_gradients: Callable) -> None:
    """my_three_gradients(enc, dec, dis, losses) → three tensors: the gradient of each network's loss in its weight.

    losses: (3,), from one forward, all to be descended: L_prior + L_llike, γ L_llike + L_GAN, −L_GAN. The gradients of
    the three terms are known here, so an answer is taken apart into them.
    """
    with verdict(), torch.inference_mode(False), torch.enable_grad():
        networks, terms = _one_forward()
        before = [network.weight.detach().clone() for network in networks]
        losses = torch.stack([terms.prior + terms.llike, GAMMA * terms.llike + terms.gan, -terms.gan])
        try:
            answer = ask(my_three_gradients, {"enc": networks[0], "dec": networks[1], "dis": networks[2],
                                              "losses": losses})
        except NotYet as why:
            if "second time" in str(why):
                raise NotYet("the first backward pass has thrown away what the next one needs. One forward feeds three "
                             "gradients here: say retain_graph=True in all but the last (section 8.4).") from None
            raise
        _require_untouched(networks, before)
        ours, terms = _one_forward()
        parts = [gradients(terms, network.weight) for network in ours]
        _judge(dict(zip(NETWORKS, read_three(answer, [weight.shape for weight in before]), strict=True)),
               dict(zip(NETWORKS, parts, strict=True)))


def _one_forward() -> tuple[list[Net], VAEGANLosses]:
    weights, batch = draw_toy()
    networks = [Net(weight) for weight in weights]
    return networks, three_terms(*(network.weight for network in networks), batch)


def _require_untouched(networks: list[Net], before: list[Tensor]) -> None:
    for name, network, weight in zip(NETWORKS, networks, before, strict=True):
        if not isinstance(getattr(network, "weight", None), Tensor) or not unchanged(network.weight, weight):
            raise NotYet(f"your function changes the weights of {name}. Only the gradients are asked for, all three at "
                         "the weights as they come; whoever calls it takes the steps.")
        if not network.weight.requires_grad:
            raise NotYet(f"your function leaves {name} frozen: after requires_grad_(False) its weights learn no more, "
                         "in any step. There is no need to freeze a network: ask for the gradient in the weights you "
                         "mean.")


def read_three(answer: Any, wanted: list[torch.Size]) -> list[Tensor]:
    """Three gradients as float64 numbers, each of the shape of its weights; NotYet where they are not that.

    A gradient may come in a tuple or list of one, as torch.autograd.grad gives it.
    """
    due = f"where three tensors are due, the gradients of {', '.join(NETWORKS)}"
    if isinstance(answer, Tensor):
        raise NotYet(f"your answer has shape {tuple(as_numbers(answer).shape)}, one tensor, {due}.")
    what, advice = kind(answer)
    a_few = isinstance(answer, list | tuple)
    if not a_few or len(answer) != 3:
        raise NotYet(f"your function returns {what}, {due}{'' if a_few else advice}.")
    numbers = []
    for part, name, shape in zip(answer, NETWORKS, wanted, strict=True):
        if isinstance(part, list | tuple) and len(part) == 1:
            part = part[0]
        if part is None:
            raise NotYet(f"{name}: the gradient is None: no backward pass came to these weights. .grad is filled by "
                         ".backward() only; torch.autograd.grad returns what it finds (section 8.4).")
        if not isinstance(part, Tensor):
            raise NotYet(f"{name}: this is {kind(part)[0]}, where a tensor is due, the gradient in its weight.")
        try:
            numbers.append(as_numbers(part))
        except NotYet as why:
            raise NotYet(f"{name}: {why}") from None
        if numbers[-1].shape != shape:
            raise NotYet(f"{name}: the gradient has shape {tuple(numbers[-1].shape)}; it must have that of {name}'s "
                         f"weight, {tuple(shape)}. Return them in the order {', '.join(NETWORKS)}.")
        if not numbers[-1].isfinite().all():
            raise NotYet(f"{name}: your gradient holds NaN or inf. Divide by nothing: it is the loss's, as it comes.")
    return numbers


# --- what a gradient is made of ------------------------------------------------------------------------------------

def _judge(got: dict[str, Tensor], parts: dict[str, list[Tensor]]) -> None:
    """Dis first: whether L_llike reaches it is what the exercise is about."""
    made_of = {name: shares(got[name], parts[name]) for name in NETWORKS}
    summed = {name: (int(name == "Enc"), 1 + GAMMA, 0) for name in NETWORKS}        # L_GAN cancels in the sum
    if all(found and _near(found, summed[name]) for name, found in made_of.items()):
        raise NotYet("all three have the gradient of the *sum* of the three losses, as one backward pass through the "
                     "sum leaves it, or three into the same .grad. Then Dis gets L_llike's gradient, and its own "
                     "L_GAN has gone altogether: + L_GAN in Dec's loss and − L_GAN in Dis's cancel. Each gradient is "
                     "of one loss, in one network's weights (section 8.4).")
    found = made_of["Dis"]
    if found and abs(found[1]) > 1e-3:
        alone = " and nothing else" if abs(found[2]) < 1e-3 else ""
        raise NotYet(f"L_llike's gradient reaches Dis: yours has {found[1]:.3g} times that{alone}. With it, Dis makes "
                     "its features of x and x̃ *alike*, by growing blind to what they differ in: L_llike falls, and no "
                     "reconstruction is the better for it. Which backward passes have left something in Dis's "
                     "weights? Its own loss is losses[2] (section 8.4).")
    for name in ("Dis", "Enc", "Dec"):
        _require_own(name, made_of[name])


def _near(found: list[float], wanted: tuple[float, ...]) -> bool:
    return all(abs(a - b) < 1e-3 for a, b in zip(found, wanted, strict=True))


def _require_own(name: str, found: list[float] | None) -> None:
    wanted, place = WANTED[name], NETWORKS.index(name)
    if found is None:
        raise NotYet(f"{name}: this is no sum of the gradients that the three terms have in {name}'s weights. Take it "
                     f"by torch.autograd.grad of losses[{place}], and change nothing about it (section 8.4).")
    if _near(found, wanted):
        return
    if _near(found, (0, 0, 0)):
        raise NotYet(f"{name}: your gradient is 0 everywhere. Is it of losses[{place}], in {name}'s weights?")
    if _near(found, tuple(-share for share in wanted)):
        raise NotYet(f"{name}: the sign is turned. All three losses come such that they are descended (Dis's is "
                     "−L_GAN), so the gradient is wanted as it is; whoever takes the step subtracts it.")
    foreign = [term for term, a, b in zip(TERMS, found, wanted, strict=True) if b == 0 and abs(a) > 1e-3]
    if name == "Dec" and _near(found, (0, 1 + GAMMA, 1)):
        raise NotYet("Dec: Enc's loss is in it as well as Dec's own. Gradients *add up* in .grad: what Enc's backward "
                     "pass has left there must be zeroed before Dec's, or never come there: torch.autograd.grad(loss, "
                     "weight) (section 8.4).")
    if foreign:
        raise NotYet(f"{name}: {' and '.join(foreign)} {'has' if len(foreign) == 1 else 'have'} a gradient in it, and "
                     f"no part in {name}'s loss. Which backward pass left it there? (section 8.4)")
    told = " + ".join(f"{a:.3g} ∇{term}" for term, a in zip(TERMS, found, strict=True) if abs(a) > 1e-3)
    raise NotYet(f"{name}: yours is {told}, and that is not the gradient of losses[{place}]. Is it the loss of another "
                 "network, or scaled?")
