"""Adversarial networks: losses and steps, the game in closed form, and judging a generator on toys."""

from course_lib.gans.adversarial import (
    HINGE,
    LEAST_SQUARES,
    MINIMAX,
    NON_SATURATING,
    Losses,
    discriminator_step,
    gan_step,
    gradient_reversal,
    hinge_discriminator_loss,
    hinge_generator_loss,
    least_squares_discriminator_loss,
    least_squares_generator_loss,
    minimax_discriminator_loss,
    minimax_generator_loss,
    minimax_generator_slope,
    non_saturating_generator_loss,
    non_saturating_generator_slope,
)
from course_lib.gans.critics import (
    InstanceNoise,
    critic_loss,
    critic_step,
    gradient_penalty,
    pushes,
    segment_generator,
    steepest,
)
from course_lib.gans.game import (
    dirac_eigenvalues,
    dirac_field,
    dirac_gan,
    game_value,
    game_value_of_logits,
    optimal_discriminator,
    optimal_logits,
)
from course_lib.gans.judging import ModesHit, density_along, density_of_generator, generator_gradient, modes_hit
from course_lib.gans.line import GameFrame, game_frame
from course_lib.gans.slopes import (
    ClippedNorms,
    LayerSlope,
    clipped_gradient_norms,
    convolution_norm,
    held_critic_step,
    layer_gradient_norms,
    layer_slopes,
    lipschitz_bound,
    one_sided_penalty,
    power_iteration,
    slopes_at,
    weights_of,
)
from course_lib.gans.vaegan import VAEGANLosses, loss_slopes, vaegan_forward, vaegan_losses, vaegan_step
from course_lib.gans.wasserstein import clip_weights, wgan_gp_step, wgan_step

__all__ = [
    "HINGE", "LEAST_SQUARES", "MINIMAX", "NON_SATURATING", "ClippedNorms", "GameFrame", "InstanceNoise", "LayerSlope",
    "Losses", "ModesHit", "VAEGANLosses", "clip_weights", "clipped_gradient_norms", "convolution_norm", "critic_loss",
    "critic_step", "density_along", "density_of_generator", "dirac_eigenvalues", "dirac_field", "dirac_gan",
    "discriminator_step", "game_frame", "game_value", "game_value_of_logits", "gan_step", "generator_gradient",
    "gradient_penalty", "gradient_reversal", "held_critic_step", "hinge_discriminator_loss", "hinge_generator_loss",
    "layer_gradient_norms", "layer_slopes", "least_squares_discriminator_loss", "least_squares_generator_loss",
    "lipschitz_bound", "loss_slopes", "minimax_discriminator_loss", "minimax_generator_loss", "minimax_generator_slope",
    "modes_hit", "non_saturating_generator_loss", "non_saturating_generator_slope", "one_sided_penalty",
    "optimal_discriminator", "optimal_logits", "power_iteration", "pushes", "segment_generator", "slopes_at",
    "steepest", "vaegan_forward", "vaegan_losses", "vaegan_step", "weights_of", "wgan_gp_step", "wgan_step",
]
