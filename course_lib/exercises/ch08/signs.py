"""Chapter 08, exercise 5: a step whose signs are printed the wrong way round, to be mended."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from course_lib.exercises.calling import NotYet, ask
from course_lib.exercises.ch04.pairs import compare_pair, read_pair
from course_lib.exercises.ch08.toy import draw_toy, gradients, three_terms
from course_lib.exercises.checking import verdict

NAMES = ("theta_dec", "theta_dis")
MORE = 20       # how many times its gradient a step over lr may be, to be looked at as one


def check_signs(my_step: Callable) -> None:
    """my_step(theta_dec, theta_dis, grad_llike, grad_gan_dec, grad_gan_dis, gamma, lr) → the new theta_dec, theta_dis.

    theta_dec − lr (gamma·grad_llike + grad_gan_dec) and theta_dis + lr·grad_gan_dis. First it looks where L_GAN goes
    after a small step of each, the other standing still, at gamma = 0; then the numbers are compared.
    """
    with verdict(), torch.inference_mode(False), torch.enable_grad():
        small_step = _toy(0.0, 0.01)
        _require_directions(read_pair(ask(my_step, small_step), NAMES)[1], small_step)
        compare_pair(my_step, _toy(0.3, 0.4), _step, MISTAKES, names=NAMES, read="section 8.3", echo=False,
                     small=("θ_Dec = 1, θ_Dis = 2, the gradients 3, 4 and 5, gamma = ½ and lr = 0.1",
                            _one_weight_each()))


def _toy(gamma: float, lr: float) -> dict[str, Tensor]:
    """Weights and gradients of a VAE/GAN of three matrices, at which no network's gradient is near 0."""
    (W_enc, W_dec, W_dis), batch = draw_toy()
    theta_dec, theta_dis = (W.clone().requires_grad_() for W in (W_dec, W_dis))
    _, llike, gan = three_terms(W_enc, theta_dec, theta_dis, batch)
    grad_llike, grad_gan_dec = gradients((llike, gan), theta_dec)
    return {"theta_dec": W_dec, "theta_dis": W_dis, "grad_llike": grad_llike, "grad_gan_dec": grad_gan_dec,
            "grad_gan_dis": gradients((gan,), theta_dis)[0], "gamma": torch.tensor(gamma), "lr": torch.tensor(lr)}


def _one_weight_each() -> dict[str, Tensor]:
    values = dict(zip(("theta_dec", "theta_dis", "grad_llike", "grad_gan_dec", "grad_gan_dis"), range(1, 6),
                      strict=True))
    return {**{name: torch.tensor([float(value)]) for name, value in values.items()}, "gamma": torch.tensor(0.5),
            "lr": torch.tensor(0.1)}


def _l_gan(theta_dec: Tensor, theta_dis: Tensor) -> float:
    """L_GAN of the toy at other weights of Dec and Dis, in nats."""
    (W_enc, *_), batch = draw_toy()
    return three_terms(W_enc.double(), theta_dec.double(), theta_dis.double(), type(batch)(*(a.double() for a in batch))
                       ).gan.item()


# --- where the steps lead ------------------------------------------------------------------------------------------

def _require_directions(got: list[Tensor], given: dict[str, Tensor]) -> None:
    """Raises NotYet where Dis's small step does not raise L_GAN, or Dec's at gamma = 0 does not lower it.

    An answer that is no small step at all is left to what compares numbers.
    """
    lr, before = given["lr"].item(), _l_gan(given["theta_dec"], given["theta_dis"])
    for new, name, grad in zip(got, NAMES, (given["grad_gan_dec"], given["grad_gan_dis"]), strict=True):
        moved = (new - given[name].double()).norm() / lr if new.shape == given[name].shape else torch.inf
        if not moved <= MORE * grad.norm():
            return
    after_dec, after_dis = _l_gan(got[0], given["theta_dis"]), _l_gan(given["theta_dec"], got[1])
    dec = f"a small step of Dec at γ = 0 takes L_GAN from {before:.4f} to {after_dec:.4f}"
    dis = f"a small step of Dis takes L_GAN from {before:.4f} to {after_dis:.4f}"
    if after_dec > before and after_dis < before:
        raise NotYet(f"both signs of L_GAN are turned, as they are printed above. {_capital(dis)}: down, so Dis judges "
                     f"worse than before. And {dec}: up, so Dec makes fakes that are easier to tell. L_GAN is a log "
                     "likelihood, and whose? (section 8.3)")
    if after_dis < before:
        raise NotYet(f"Dis goes the wrong way: {dis}. L_GAN is the log probability that Dis calls x real, and x̃ and "
                     "x_p not. Should it get smaller? (section 8.3)")
    if after_dec > before:
        raise NotYet(f"Dec goes the wrong way: {dec}, so Dis tells its fakes *better* than before. That is the sign of "
                     "L_GAN in Dec's loss (section 8.3).")
    for name, after in (("Dis", after_dis), ("Dec", after_dec)):
        if after == before:
            raise NotYet(f"{name} does not move: at γ = 0 its step leaves L_GAN at {before:.4f}. Both networks take a "
                         "step, and L_GAN's gradient is in both.")


def _capital(words: str) -> str:
    return words[0].upper() + words[1:]


# --- the answer, and the mistakes that are left where the directions are right -------------------------------------

def _step(theta_dec: Tensor, theta_dis: Tensor, grad_llike: Tensor, grad_gan_dec: Tensor, grad_gan_dis: Tensor,
          gamma: Tensor, lr: Tensor) -> tuple[Tensor, Tensor]:
    return theta_dec - lr * (gamma * grad_llike + grad_gan_dec), theta_dis + lr * grad_gan_dis


def _dec(step: Callable, why: str) -> tuple[Callable, str]:
    """A mistake in Dec's step, a function of theta, ∇L_llike, ∇L_GAN, gamma and lr, Dis's being right."""
    return (lambda theta_dec, theta_dis, grad_llike, grad_gan_dec, grad_gan_dis, gamma, lr:
            (step(theta_dec, grad_llike, grad_gan_dec, gamma, lr), theta_dis + lr * grad_gan_dis), f"theta_dec: {why}")


def _dis(step: Callable, why: str) -> tuple[Callable, str]:
    """A mistake in Dis's step, a function of theta, ∇L_GAN, gamma and lr, whatever Dec's is."""
    return (lambda theta_dec, theta_dis, grad_llike, grad_gan_dec, grad_gan_dis, gamma, lr:
            (None, step(theta_dis, grad_gan_dis, gamma, lr)), f"theta_dis: {why}")


MISTAKES = [
    (lambda *a, **k: _step(*a, **k)[::-1], "the two are exchanged: return theta_dec first, then theta_dis."),
    (lambda theta_dec, theta_dis, grad_llike, grad_gan_dec, grad_gan_dis, gamma, lr:
     (theta_dec - (gamma * grad_llike + grad_gan_dec), theta_dis + grad_gan_dis), "lr is missing from both steps."),
    (lambda theta_dec, theta_dis, grad_llike, grad_gan_dec, grad_gan_dis, gamma, lr:
     (-lr * (gamma * grad_llike + grad_gan_dec), lr * grad_gan_dis),
     "you return by how much the weights change. Asked are the new weights: add the old ones."),
    (lambda theta_dec, theta_dis, grad_llike, grad_gan_dec, grad_gan_dis, gamma, lr:
     (gamma * grad_llike + grad_gan_dec, -grad_gan_dis),
     "you return the gradients of the two losses. Asked are the new weights: old minus lr times gradient."),
    _dis(lambda theta, gan, gamma, lr: theta + gan, "lr is missing."),
    _dis(lambda theta, gan, gamma, lr: theta - gan, "lr is missing, and Dis goes down. L_GAN is its log likelihood."),
    _dis(lambda theta, gan, gamma, lr: theta + lr * gamma * gan,
         "γ is in it. γ weighs L_llike, in Dec's step; Dis has no part in it (section 8.3)."),
    _dis(lambda theta, gan, gamma, lr: theta - lr * gan, "Dis goes down. L_GAN is its log likelihood (section 8.3)."),
    _dec(lambda theta, llike, gan, gamma, lr: theta + lr * (gamma * llike - gan),
         "L_GAN's sign is right, but now L_llike goes *up*: x̃ is driven away from x. Only one sign was wrong in Dec's "
         "line: mend that one alone (section 8.3)."),
    _dec(lambda theta, llike, gan, gamma, lr: theta - lr * (llike + gan),
         "γ is missing: it weighs L_llike (section 8.3)."),
    _dec(lambda theta, llike, gan, gamma, lr: theta - lr * (llike + gamma * gan),
         "γ is on L_GAN. It weighs L_llike (section 8.3)."),
    _dec(lambda theta, llike, gan, gamma, lr: theta - lr * gamma * (llike + gan),
         "γ is on both terms. It weighs L_llike alone (section 8.3)."),
    _dec(lambda theta, llike, gan, gamma, lr: theta - lr * gan,
         "L_llike is missing: Dec descends γ L_llike too (section 8.3)."),
    _dec(lambda theta, llike, gan, gamma, lr: theta - (gamma * llike + gan), "lr is missing."),
    _dec(lambda theta, llike, gan, gamma, lr: theta - lr * gamma * llike - gan,
         "lr is missing from L_GAN's part: mind the brackets."),
    _dec(lambda theta, llike, gan, gamma, lr: theta - gamma * llike - lr * gan,
         "lr is missing from L_llike's part: mind the brackets."),
]
