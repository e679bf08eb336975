"""VAE/GAN: an autoencoder whose error is measured in its discriminator's features.  Larsen et al. 2016.

Three networks: Enc gives q(z|x), Dec gives an image for each z, Dis tells data from what Dec makes. Dec is both a VAE's
decoder and a GAN's generator, so two kinds of images come from it: reconstructions x̃ = Dec(z), z ~ q(z|x), and samples
x_p = Dec(z_p), z_p ~ N(0, I).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from course_lib.autoencoders.variational import best_gaussian_nll, gaussian_nll, kl_normal
from course_lib.checks import require, require_same_shape, require_shape
from course_lib.gans.adversarial import non_saturating_generator_loss
from course_lib.networks import VAE, Discriminator
from course_lib.training import full_precision, update_together


class VAEGANLosses(NamedTuple):
    """The three terms, each a scalar in nats, the mean over a batch. prior and llike are minimised; gan is a log
    likelihood, which Dis maximises and Dec minimises."""

    prior: Tensor
    llike: Tensor
    gan: Tensor


def vaegan_losses(mu: Tensor, log_var: Tensor, features_x: Tensor, features_x_tilde: Tensor, logits_x: Tensor,
                  logits_x_tilde: Tensor, logits_x_p: Tensor, sigma: float | None = 1.0) -> VAEGANLosses:
    """L_prior, L_llike and L_GAN.  Larsen et al. 2016, section 2.3 and Algorithm 1.

    L_prior = KL(q(z|x) ‖ N(0, I));   L_llike = −log N(Dis_l(x) | Dis_l(x̃), I);
    L_GAN = log Dis(x) + log(1 − Dis(x̃)) + log(1 − Dis(x_p)).
    mu, log_var: (B, d), of q(z|x); features_…: (B, …), what layer l of Dis gives for x and for x̃, equal in shape;
    logits_…: (B,) each, Dis = sigmoid(logit); sigma: σ of the features' Gaussian, the paper's 1, or None for the one
    that makes the batch likeliest (``best_gaussian_nll``), which fits features of any size. At Dis = ½ everywhere L_GAN
    is −3 log 2, about −2.08 nats; it is never above 0. Raises ValueError for other shapes.
    """
    b = len(mu)
    for name, logits in (("logits_x", logits_x), ("logits_x_tilde", logits_x_tilde), ("logits_x_p", logits_x_p)):
        require_shape(name, logits, b)
    require_same_shape(features_x_tilde=features_x_tilde, features_x=features_x)
    require_shape("features_x", features_x.flatten(1), b, None)
    return VAEGANLosses(kl_normal(mu, log_var).mean(),
                        (best_gaussian_nll(features_x_tilde, features_x) if sigma is None else
                         gaussian_nll(features_x_tilde, features_x, sigma)).mean(),
                        logsigmoid(logits_x).mean() + logsigmoid(-logits_x_tilde).mean()
                        + logsigmoid(-logits_x_p).mean())


class Seen(NamedTuple):
    """What one forward through Enc, Dec and Dis gives, in the order of ``vaegan_losses``' arguments."""

    mu: Tensor
    log_var: Tensor
    features_x: Tensor
    features_x_tilde: Tensor
    logits_x: Tensor
    logits_x_tilde: Tensor
    logits_x_p: Tensor


def vaegan_forward(vae: VAE, dis: Discriminator, x: Tensor, eps: Tensor, z_p: Tensor, layer: int | None = None) -> Seen:
    """x encoded; z = μ + σ·ε and z_p decoded in one batch; x, x̃ and x_p judged in one batch.

    x: (B, C, H, W); eps, z_p: (B, d), draws from N(0, I); layer: which of Dis's layers gives the features, by default
    the last. With batch norm in Dis, all three share its statistics. Raises ValueError where eps or z_p does not fit.
    """
    mu, log_var = map(full_precision, vae.encode(x))                        # (B, d) each
    require_shape("eps", eps, *mu.shape)
    require_shape("z_p", z_p, *mu.shape)
    z = mu + (log_var / 2).exp() * eps
    made = vae.decode(torch.cat([z, z_p]))                                  # (2B, C, H, W): x̃ and x_p
    features, logits = map(full_precision, dis.features_and_logits(torch.cat([x, made.to(x.dtype)]), layer))
    return Seen(mu, log_var, *features.chunk(3)[:2], *logits.chunk(3))


def vaegan_step(batches: Iterator[Tensor], vae: VAE, dis: Discriminator, opt_enc: torch.optim.Optimizer,
                opt_dec: torch.optim.Optimizer, opt_dis: torch.optim.Optimizer, gamma: float = 1e-2,
                layer: int | None = None, sigma: float | None = 1.0, saturating: bool = False) -> dict[str, Tensor]:
    """One forward, three gradients.  Larsen et al. 2016, Algorithm 1, with the signs of L_GAN right:

    Enc descends L_prior + L_llike; Dec descends γ L_llike + L_GAN; Dis ascends L_GAN.
    vae: its ``encoder`` belongs to opt_enc, its ``decode`` to opt_dec; gamma: γ, 0 or more; layer: see
    ``vaegan_forward``; sigma: see ``vaegan_losses``; saturating: Dec descends L_GAN as printed, and otherwise
    −log Dis(x̃) − log Dis(x_p), which has the same fixed point and a slope where Dis is sure.
    Returns "prior", "llike" and "gan", and Dis's means over the batch, "Dis(x)", "Dis(x̃)", "Dis(x_p)", detached, from
    before the update. Raises ValueError for a gamma below 0.
    """
    require(gamma >= 0, f"gamma is {gamma}; it must be at least 0: it weighs an error that Dec is to lower.")
    x = next(batches); like = {"dtype": x.dtype, "device": x.device}        # (B, C, H, W)
    eps, z_p = torch.randn(len(x), vae.latents, **like), torch.randn(len(x), vae.latents, **like)
    seen = vaegan_forward(vae, dis, x, eps, z_p, layer)
    prior, llike, gan = vaegan_losses(*seen, sigma=sigma)
    fool = gan if saturating else (non_saturating_generator_loss(seen.logits_x_tilde)
                                   + non_saturating_generator_loss(seen.logits_x_p))
    update_together((opt_enc, prior + llike),
                    (opt_dec, gamma * llike + fool),
                    (opt_dis, -gan))
    log = {"prior": prior, "llike": llike, "gan": gan, "Dis(x)": seen.logits_x.sigmoid().mean(),
           "Dis(x̃)": seen.logits_x_tilde.sigmoid().mean(), "Dis(x_p)": seen.logits_x_p.sigmoid().mean()}
    return {name: value.detach() for name, value in log.items()}


def loss_slopes(vae: VAE, dis: Discriminator, losses: VAEGANLosses) -> list[dict[str, float | str]]:
    """Whom a plain ``backward`` of each term would move: the length of its gradient in the weights of each network.

    losses: from a forward through these networks. Returns a row a term, {"term": "L_prior", "Enc": …, "Dec": …,
    "Dis": …}; 0 where the term does not depend on a network. Larsen et al. 2016, section 2.3: Enc is to have those of
    L_prior and L_llike, Dec of L_llike and L_GAN, Dis of L_GAN alone.
    """
    networks = {"Enc": vae.encoder, "Dec": vae.decode, "Dis": dis}
    rows = []
    for term, loss in zip(("L_prior", "L_llike", "L_GAN"), losses, strict=True):
        row: dict[str, float | str] = {"term": term}
        for name, net in networks.items():
            gradients = torch.autograd.grad(loss, list(net.parameters()), retain_graph=True, allow_unused=True)
            row[name] = float(sum(g.square().sum() for g in gradients if g is not None)) ** 0.5
        rows.append(row)
    return rows
