"""Exercises of chapter 08, gradients, losses and signs: each known mistake is told apart from all others."""

import pytest
import torch
from test_exercises import in_one_line, mistakes, name_only, said
from test_exercises_ch08 import as_printed, my_enc_dec_losses, my_step, my_three_gradients

from course_lib.exercises import ch08

# --- known mistakes: (answer, words that its message has and no other has) -------------------------------------------

def summed(enc, dec, dis, losses):
    losses.sum().backward()
    return enc.weight.grad, dec.weight.grad, dis.weight.grad


def one_after_the_other(enc, dec, dis, losses, copy=True, order=(0, 1, 2), clear=()):
    nets, found = (enc, dec, dis), {}
    for i in order:
        losses[i].backward(retain_graph=True)
        found[i] = nets[i].weight.grad.clone() if copy else nets[i].weight.grad
        for j in clear:
            nets[j].weight.grad = None
    return [found[i] for i in range(3)]


def weighed(enc=(1, 0, 0), dec=(0, 1, 0), dis=(0, 0, 1)):
    """Gradients of other sums of the three losses, in each network's own weights."""
    def answer(a, b, c, losses):
        return [torch.autograd.grad(losses @ torch.tensor(row, dtype=losses.dtype), net.weight, retain_graph=True)[0]
                for net, row in zip((a, b, c), (enc, dec, dis), strict=True)]
    return answer


def part_of(i, f):
    def answer(*args):
        found = list(my_three_gradients(*args))
        found[i] = f(found[i])
        return found
    return answer


def takes_a_step(enc, dec, dis, losses):
    found = my_three_gradients(enc, dec, dis, losses)
    dis.weight.data -= 0.1 * found[2]
    return found


def freezes(enc, dec, dis, losses):
    found = my_three_gradients(enc, dec, dis, losses)
    dis.weight.requires_grad_(False)
    return found


def without_retaining(enc, dec, dis, losses):
    return [torch.autograd.grad(loss, net.weight)[0] for net, loss in zip((enc, dec, dis), losses, strict=True)]


SUM, LEAK = "all three have the gradient of the *sum*", "L_llike's gradient reaches Dis: yours has"
GRADIENTS = [
    (summed, SUM), (lambda *a: one_after_the_other(*a, copy=False), SUM),
    (weighed((1, 1, 1), (1, 1, 1), (1, 1, 1)), SUM),
    (one_after_the_other, f"{LEAK} 1.3 times that and nothing else"),
    (weighed(dis=(1, 1, 1)), f"{LEAK} 1.3 times that and nothing else"),
    (weighed(dis=(1, 0, 1)), f"{LEAK} 1 times that. With"), (weighed(dis=(0, 1, 0)), f"{LEAK} 0.3 times that. With"),
    (lambda *a: one_after_the_other(*a, clear=(1,)), f"{LEAK} 1.3 times that and nothing else"),
    (lambda *a: one_after_the_other(*a, clear=(2,)), "Enc's loss is in it as well as Dec's own"),
    (lambda *a: one_after_the_other(*a, order=(2, 0, 1)), "Enc: L_GAN has a gradient in it"),
    (lambda *a: one_after_the_other(*a, order=(2, 0, 1), clear=(0,)), "Dec: yours is 1.3 ∇L_llike, and"),
    (lambda *a: one_after_the_other(*a, order=(2, 1, 0), clear=(1,)), "Enc: yours is 1 ∇L_prior + 1.3 ∇L_llike, and"),
    (weighed(enc=(1, 1, 0)), "Enc: L_GAN has a gradient in it"),
    (weighed(dec=(1, 1, 0)), "Enc's loss is in it as well as Dec's own"),
    (weighed(dec=(1, 0, 0)), "Dec: yours is 1 ∇L"),
    (weighed(dis=(0, 0, -1)), "Dis: the sign is turned"), (weighed(enc=(-1, 0, 0)), "Enc: the sign is turned"),
    (weighed(dis=(0, 0, 2)), "Dis: yours is -2 ∇L_GAN"),
    (part_of(0, lambda g: 0 * g), "Enc: your gradient is 0 everywhere"),
    (part_of(1, torch.sign), "Dec: this is no sum"),
    (part_of(2, lambda g: g + 1), "Dis: this is no sum"),
    (part_of(2, lambda g: g.T), "Dis: the gradient has shape (3, 4)"),
    (part_of(1, lambda g: g * torch.nan), "Dec: your gradient holds NaN"),
    (part_of(1, lambda g: None), "Dec: the gradient is N"),
    (part_of(1, lambda g: 3.0), "Dec: this is a Python number (float)"),
    (part_of(2, lambda g: g.to(torch.complex64)), "Dis: your function returns complex"),
    (lambda *a: my_three_gradients(*a)[::-1], "Enc: the gradient has shape (4, 3)"),
    (lambda *a: my_three_gradients(*a)[:2], "a list of 2, where three tensors are due"),
    (lambda *a: my_three_gradients(*a)[0], "your answer has shape (4, 4), one tensor"),
    (without_retaining, "the first backward pass has thrown away"),
    (takes_a_step, "changes the weights of Dis"), (freezes, "leaves Dis frozen"),
    (lambda enc, dec, dis, losses: [torch.autograd.grad(losses.detach()[0], enc.weight)], "stops with RuntimeError"),
]


def enc_of(f):
    return lambda p, l, g, gamma: (f(p, l, g, gamma), gamma * l + g)


def dec_of(f):
    return lambda p, l, g, gamma: (p + l, f(p, l, g, gamma))


LOSSES = [
    (lambda *a: my_enc_dec_losses(*a)[::-1], "the two are exchanged: return Enc's"),
    (lambda p, l, g, gamma: (p + l + g,) * 2, "both are the sum of the three terms"),
    (lambda p, l, g, gamma: (p + gamma * l + g, p + gamma * l + g), "both are L_prior + γ L_llike + L_GAN"),
    (enc_of(lambda p, l, g, gamma: p + gamma * l), "loss_enc: γ is in it"),
    (lambda p, l, g, gamma: (p + gamma * l, l + g), "loss_enc: γ is in it"),
    (enc_of(lambda p, l, g, gamma: gamma * p + l), "loss_enc: γ is on L_prior"),
    (enc_of(lambda p, l, g, gamma: gamma * (p + l)), "loss_enc: γ is on both"),
    (enc_of(lambda p, l, g, gamma: l), "loss_enc: L_prior is missing. Then"),
    (enc_of(lambda p, l, g, gamma: gamma * l), "loss_enc: L_prior is missing, and"),
    (enc_of(lambda p, l, g, gamma: p), "loss_enc: L_llike is missing"),
    (enc_of(lambda p, l, g, gamma: p + l + g), "loss_enc: L_GAN is in it"),
    (enc_of(lambda p, l, g, gamma: p + l - g), "loss_enc: L_GAN is in it"),
    (enc_of(lambda p, l, g, gamma: p + gamma * l + g), "loss_enc: L_GAN and γ are in it"),
    (enc_of(lambda p, l, g, gamma: l - p), "loss_enc: L_prior has the wrong sign"),
    (enc_of(lambda p, l, g, gamma: p - l), "loss_enc: L_llike has the wrong sign"),
    (enc_of(lambda p, l, g, gamma: -(p + l)), "loss_enc: the sign is turned"),
    (enc_of(lambda p, l, g, gamma: torch.stack([p, l]).mean()), "loss_enc: you take the mean of the two"),
    (dec_of(lambda p, l, g, gamma: l + gamma * g), "loss_dec: γ is on L_GAN. It"),
    (dec_of(lambda p, l, g, gamma: gamma * (l + g)), "loss_dec: γ is on both"),
    (dec_of(lambda p, l, g, gamma: l + g), "loss_dec: γ is missing. L_llike"),
    (dec_of(lambda p, l, g, gamma: gamma * l - g), "loss_dec: L_GAN has the wrong sign"),
    (dec_of(lambda p, l, g, gamma: l - gamma * g), "loss_dec: γ is on L_GAN, and"),
    (dec_of(lambda p, l, g, gamma: l - g), "loss_dec: γ is missing, and L_GAN has"),
    (dec_of(lambda p, l, g, gamma: g - gamma * l), "loss_dec: L_llike has the wrong sign"),
    (dec_of(lambda p, l, g, gamma: gamma * l), "loss_dec: L_GAN is missing: Dec"),
    (dec_of(lambda p, l, g, gamma: l), "loss_dec: L_GAN is missing, and γ"),
    (dec_of(lambda p, l, g, gamma: g), "loss_dec: L_llike is missing: Dec"),
    (dec_of(lambda p, l, g, gamma: gamma * g), "loss_dec: L_llike is missing, and γ is on"),
    (dec_of(lambda p, l, g, gamma: p + gamma * l + g), "no part of Dec's loss."),
    (dec_of(lambda p, l, g, gamma: p + l + g), "no part of Dec's loss. And γ is missing"),
    (dec_of(lambda p, l, g, gamma: p + l + gamma * g), "no part of Dec's loss. And γ is on L_GAN"),
    (dec_of(lambda p, l, g, gamma: gamma * p + l + g), "loss_dec: γ is on L_prior"),
    (dec_of(lambda p, l, g, gamma: l + g / gamma), "you have divided by γ. The"),
    (dec_of(lambda p, l, g, gamma: l / gamma + g), "you divide L_llike by γ"),
    (dec_of(lambda p, l, g, gamma: gamma * l + (1 - gamma) * g), "L_GAN has the weight 1 − γ"),
    (dec_of(lambda p, l, g, gamma: torch.lerp(l, g, gamma)), "γ is a share here, and that of L_GAN"),
    (dec_of(lambda p, l, g, gamma: gamma**2 * l + g), "the weights prior 0, llike 0.122, gan 1. Which"),
    (enc_of(lambda p, l, g, gamma: 2 * p + l), "your loss_enc has the weights prior 2, llike 1, gan 0; loss_dec"),
    (enc_of(lambda p, l, g, gamma: (2 * p + l).detach()), "the answer is loss_enc = 10 and loss_dec = 3, and"),
    (dec_of(lambda p, l, g, gamma: gamma * l.detach() + g),
     "the gradient of loss_dec through llike is 0, and it must be 0.35"),
    (enc_of(lambda p, l, g, gamma: p + l.detach()), "the gradient of loss_enc through llike is 0, and it must be 1"),
    (lambda *a: [part.detach() for part in my_enc_dec_losses(*a)], "the gradient of loss_enc through prior is 0"),
    (lambda *a: sum(my_enc_dec_losses(*a)), "your answer has shape (), one tensor"),
    (dec_of(lambda p, l, g, gamma: (gamma * l + g)[None]), "loss_dec: the numbers are right, but"),
]


def dec_by(f):
    return lambda dec, dis, llike, gan_dec, gan_dis, gamma, lr: (f(dec, llike, gan_dec, gamma, lr), dis + lr * gan_dis)


def dis_by(f):
    return lambda dec, dis, llike, gan_dec, gan_dis, gamma, lr: (dec - lr * (gamma * llike + gan_dec),
                                                                 f(dis, gan_dis, gamma, lr))


BOTH, DIS, DEC = "both signs of L_GAN are turned", "Dis goes the wrong way", "Dec goes the wrong way"
SIGNS = [
    (as_printed, BOTH), (lambda *a: [2 * old - new for old, new in zip(a, my_step(*a), strict=False)], BOTH),
    (dis_by(lambda w, g, gamma, lr: w - lr * g), DIS), (dis_by(lambda w, g, gamma, lr: w - lr * g.sign() / 9), DIS),
    (dec_by(lambda w, l, g, gamma, lr: w - lr * (gamma * l - g)), DEC),
    (dec_by(lambda w, l, g, gamma, lr: w + lr * (gamma * l + g)), DEC),
    (dis_by(lambda w, g, gamma, lr: w), "Dis does not move"),
    (dec_by(lambda w, l, g, gamma, lr: w), "Dec does not move"),
    (dec_by(lambda w, l, g, gamma, lr: w - lr * gamma * l), "Dec does not move"),
    (dec_by(lambda w, l, g, gamma, lr: w - lr * gamma * (l + g)), "Dec does not move"),
    (dis_by(lambda w, g, gamma, lr: w + lr * gamma * g), "Dis does not move"),
    (lambda *a: my_step(*a)[::-1], "the two are exchanged: return theta_dec"),
    (lambda dec, dis, llike, gan_dec, gan_dis, gamma, lr: my_step(dec, dis, llike, gan_dec, gan_dis, gamma, 1.0),
     "lr is missing from both"),
    (lambda *a: [new - old for old, new in zip(a, my_step(*a), strict=False)], "by how much the weights change"),
    (lambda dec, dis, l, g, h, gamma, lr: (gamma * l + g, -h), "the gradients of the two losses"),
    (dis_by(lambda w, g, gamma, lr: w + g), "theta_dis: lr is missing."),
    (dis_by(lambda w, g, gamma, lr: w - g), "theta_dis: lr is missing, and Dis goes down"),
    (dis_by(lambda w, g, gamma, lr: w + lr * (gamma if gamma else 1) * g), "theta_dis: γ is in it"),
    (dis_by(lambda w, g, gamma, lr: w - lr * g if gamma else w + lr * g), "theta_dis: Dis goes down"),
    (dec_by(lambda w, l, g, gamma, lr: w + lr * (gamma * l - g)), "now L_llike goes *up*"),
    (dec_by(lambda w, l, g, gamma, lr: w - lr * (l + g) if gamma else w - lr * g), "theta_dec: γ is missing"),
    (dec_by(lambda w, l, g, gamma, lr: w - lr * (l + gamma * g) if gamma else w - lr * g), "theta_dec: γ is on L_GAN"),
    (dec_by(lambda w, l, g, gamma, lr: w - lr * gamma * (l + g) if gamma else w - lr * g), "theta_dec: γ is on both"),
    (dec_by(lambda w, l, g, gamma, lr: w - lr * g), "theta_dec: L_llike is missing"),
    (dec_by(lambda w, l, g, gamma, lr: w - (gamma * l + g)), "theta_dec: lr is missing."),
    (dec_by(lambda w, l, g, gamma, lr: w - lr * gamma * l - g), "lr is missing from L_GAN's part"),
    (dec_by(lambda w, l, g, gamma, lr: w - gamma * l - lr * g), "lr is missing from L_llike's part"),
    (dis_by(lambda w, g, gamma, lr: w + lr * g.sign() / 9), "gamma = ½ and lr = 0.1 the answer is theta_dec = [0.4"),
    (lambda *a: my_step(*a)[0], "one tensor, where two tensors are due"),
    (lambda dec, dis, *a: my_step(dec.mul_(2), dis, *a), "changes its argument theta_dec in place"),
    (dis_by(lambda w, g, gamma, lr: w * torch.nan), "theta_dis: your answer holds NaN"),
]


@pytest.mark.parametrize("check, answer, words, others", mistakes([
    (ch08.check_three_gradients, GRADIENTS), (ch08.check_enc_dec_losses, LOSSES), (ch08.check_signs, SIGNS)]))
def test_a_known_mistake_is_named(check, answer, words, others, capsys):
    name_only(words, in_one_line(said(check, answer, capsys)), others)
