"""Autoencoders: plain ones and what they are good for, codes restricted by the loss, variational ones."""

from course_lib.autoencoders.estimators import LinearGaussian, pathwise_gradient, score_function_gradient
from course_lib.autoencoders.plain import (
    add_noise,
    ae_loss,
    ae_step,
    box_hidden,
    box_mask,
    denoising_errors,
    edge_weight,
    hide,
    linear_denoiser,
    noise_of_any_level,
)
from course_lib.autoencoders.restricted import (
    contractive_penalty,
    encoder_jacobian,
    free_directions,
    moves_of_codes,
    noise_passed,
    restricted_ae_step,
    sparse_penalty,
    strongest_parts,
)
from course_lib.autoencoders.variational import (
    annealed,
    bernoulli_nll,
    best_gaussian_nll,
    dequantise,
    feature_nll,
    free_bits_kl,
    gaussian_nll,
    gaussian_nll_per_pixel,
    iwae_bound,
    iwae_step,
    kl_gaussians,
    kl_normal,
    kl_per_dimension,
    log_weights,
    vae_step,
)

__all__ = [
    "LinearGaussian", "add_noise", "ae_loss", "ae_step", "annealed", "bernoulli_nll", "best_gaussian_nll", "box_hidden",
    "box_mask", "contractive_penalty", "denoising_errors", "dequantise", "edge_weight", "encoder_jacobian",
    "feature_nll", "free_bits_kl", "free_directions", "gaussian_nll", "gaussian_nll_per_pixel", "hide", "iwae_bound",
    "iwae_step", "kl_gaussians", "kl_normal", "kl_per_dimension", "linear_denoiser", "log_weights", "moves_of_codes",
    "noise_of_any_level", "noise_passed", "pathwise_gradient", "restricted_ae_step", "score_function_gradient",
    "sparse_penalty", "strongest_parts", "vae_step",
]
