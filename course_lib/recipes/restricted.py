"""Recipes on digits whose codes are restricted by the loss: wide autoencoders, plain, sparse and contractive."""

from __future__ import annotations

from functools import partial

import torch

from course_lib import metrics, networks
from course_lib.autoencoders import (
    ae_loss,
    contractive_penalty,
    encoder_jacobian,
    free_directions,
    moves_of_codes,
    noise_passed,
    restricted_ae_step,
    sparse_penalty,
)
from course_lib.datasets import batches, mnist
from course_lib.metrics import in_blocks
from course_lib.recipes.digits import DATA, digits, first_test_digits, to_the_end
from course_lib.recipes.store import Model, Table
from course_lib.training import adam, train

UNITS, STEPS = 256, 2_000
ACTIVATIONS = {"sparse": torch.relu, "contractive": torch.sigmoid}  # each penalty with the units that it is made for


def penalty_of(model: networks.OneLayer):
    """The penalty that belongs to the network's activation, as a function of the codes."""
    contractive = model.activation is torch.sigmoid
    return partial(contractive_penalty, weight=model.weight) if contractive else sparse_penalty


def fit_restricted(model, device=None, save_to=None, *, strength=0.0, steps=STEPS, batch_size=128, lr=2e-3, seed=0,
                   ema_decay=0.99):
    """L2 and strength times the penalty that belongs to the network's activation."""
    opt = adam(model, lr)
    step = partial(restricted_ae_step, model=model, opt=opt, penalty=penalty_of(model), strength=strength)
    to_the_end(step, batches(mnist("train", device).images, batch_size, seed), model, opt, steps, save_to, ema_decay)


@torch.no_grad()
def code_figures(model: networks.OneLayer) -> dict[str, float]:
    """On the test digits: error, penalty, how many units are on, and the usual length of an atom."""
    x = digits("test", next(model.parameters()).device)[0]
    z = in_blocks(model.encode, x)
    return {"test error": ae_loss(model.decode(z), x).item(), "penalty": penalty_of(model)(z).item(),
            "units on": (z > 0).sum(1).float().mean().item(),
            "length of atoms": model.atoms.norm(dim=1).median().item()}


# --- chapter 01's tables ---------------------------------------------------------------------------------------

def restricted_rows(device=None, *, units=UNITS, sparse=(0.0, 0.1, 0.3), contractive=(0.0, 0.3, 1.0),
                    other_units=(40, 1_024), seeds=(0, 1, 2), steps=STEPS, points=500):
    """Plain, sparse and contractive autoencoders by the strength of the penalty; plain ones of other sizes.

    A model "sparse" or "contractive" of strength 0 is a plain one with the same activation (ReLU, sigmoid).
    """
    cases = [("sparse", units, s) for s in sparse] + [("contractive", units, s) for s in contractive]
    rows, to_images = [], metrics.Nearest(digits("train", device)[0])
    for kind, n, strength in cases + [("sparse", n, 0.0) for n in other_units]:
        for seed in seeds:
            torch.manual_seed(seed)
            model = networks.OneLayer(n, ACTIVATIONS[kind]).to(device)
            fit_restricted(model, device, strength=strength, steps=steps, seed=seed)
            apart = 1_000 + seed  # noise drawn from the training's own seed would be the atoms that it began with
            rows.append({"model": kind, "units": n, "strength": strength, "seed": seed, **code_figures(model.eval()),
                         **robustness(model, apart), **hole_shares(model, points, to_images, apart)})
    return rows


def robustness(model: networks.OneLayer, seed: int, images: int = 1_000, jacobians: int = 50) -> dict[str, float]:
    """What passes of noise, how far codes move for a shift of a pixel against noise, and the directions left free."""
    device = next(model.parameters()).device
    x, generator = digits("test", device)[0][:images], torch.Generator(device).manual_seed(seed)
    free = torch.cat([free_directions(encoder_jacobian(model.encode, part).detach())
                      for part in x[:jacobians].split(10)])
    return {"noise passed": noise_passed(model, x, generator=generator),
            "shift over noise": moves_of_codes(model.encode, x, metrics.shift(x, right=1), generator).median().item(),
            "free directions": free.median().item()}


def hole_shares(model: networks.OneLayer, points: int, to_images: metrics.Nearest, seed: int) -> dict[str, float]:
    """The hole tests "unsure" and "far" for codes drawn by two rules, and for the codes of test digits."""
    from course_lib.recipes import load, table
    device = next(model.parameters()).device
    classifier, limits = load("digit-classifier", device), table("hole-limits-digits")["rows"][0]
    codes = in_blocks(model.encode, digits("train", device)[0])
    generator = torch.Generator(device).manual_seed(seed)
    drawn = {"normal": metrics.sample_latents(codes, "normal", points, generator),
             "fitted": metrics.sample_latents(codes, "fitted", points, generator),
             "test codes": in_blocks(model.encode, digits("test", device)[0][:points])}
    shares = {}
    for rule, z in drawn.items():
        images = in_blocks(model.decode, z)
        unsure = metrics.confidence(classifier, images) < limits["unsure_below"]
        shares |= {f"unsure, {rule}": unsure.float().mean().item(),
                   f"far, {rule}": (to_images(images) > limits["far_beyond"]).float().mean().item()}
    return shares


def slip_rows(device=None, *, units=UNITS, strengths=(0.3, 1.0), at=(50, 100, 200, 500, 1_000, 2_000, 4_000),
              seeds=(0, 1), batch_size=128, lr=2e-3):
    """How penalty and codes go on as training does, with tied weights and with a decoder that may grow."""
    rows, images = [], mnist("train", device).images
    for (kind, activation), strength in zip(ACTIVATIONS.items(), strengths, strict=True):
        for tied in (True, False):
            for seed in seeds:
                torch.manual_seed(seed)
                model = networks.OneLayer(units, activation, tied).to(device)
                step = partial(restricted_ae_step, model=model, opt=adam(model, lr), penalty=penalty_of(model),
                               strength=strength)
                rows += [{"model": kind, "tied": tied, "seed": seed, "step": i, **code_figures(model)}
                         for i, _ in train(step, batches(images, batch_size, seed), at[-1]) if i in at]
    return rows


def wide_recipe(kind: str, strength: float) -> Model:
    about = f"{kind}, strength {strength:g}" if strength else f"plain, {ACTIVATIONS[kind].__name__}"
    return Model(f"a one-layer autoencoder of digits with {UNITS} units and tied weights: {about}",
                 partial(networks.OneLayer, units=UNITS, activation=ACTIVATIONS[kind]),
                 partial(fit_restricted, strength=strength), code_figures, first_test_digits, DATA)


MODELS = {
    "wide-digits": wide_recipe("sparse", 0.0),
    "sparse-digits": wide_recipe("sparse", 0.3),
    "wide-sigmoid-digits": wide_recipe("contractive", 0.0),
    "contractive-digits": wide_recipe("contractive", 1.0),
}
TABLES = {
    "restricted-digits": Table("wide autoencoders, plain, sparse and contractive: error, codes, noise, holes; 3 seeds",
                               restricted_rows, DATA),
    "restricted-slip-digits": Table("a penalty on codes with tied weights and without, as training goes on, 2 seeds",
                                    slip_rows, DATA),
}
