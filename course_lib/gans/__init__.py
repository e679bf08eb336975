"""Adversarial networks: losses and steps, the game in closed form, and judging a generator on toys."""

from course_lib.gans.adversarial import (
    HINGE,
    LEAST_SQUARES,
    MINIMAX,
    NON_SATURATING,
    Losses,
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
from course_lib.gans.game import (
    dirac_eigenvalues,
    dirac_field,
    dirac_gan,
    game_value,
    game_value_of_logits,
    optimal_discriminator,
    optimal_logits,
)
from course_lib.gans.judging import ModesHit, density_along, density_of_generator, modes_hit

__all__ = [
    "HINGE", "LEAST_SQUARES", "MINIMAX", "NON_SATURATING", "Losses", "ModesHit", "density_along",
    "density_of_generator", "dirac_eigenvalues", "dirac_field", "dirac_gan", "game_value", "game_value_of_logits",
    "gan_step", "gradient_reversal", "hinge_discriminator_loss", "hinge_generator_loss",
    "least_squares_discriminator_loss", "least_squares_generator_loss", "minimax_discriminator_loss",
    "minimax_generator_loss", "minimax_generator_slope", "modes_hit", "non_saturating_generator_loss",
    "non_saturating_generator_slope", "optimal_discriminator", "optimal_logits",
]
