"""Chapter 04: questions to predict first, and the checks of its five exercises."""

from course_lib.exercises.ch04.games import check_best_discriminator, check_dirac_step
from course_lib.exercises.ch04.losses import check_discriminator_loss, check_generator_slopes
from course_lib.exercises.ch04.questions import (
    predict_balance,
    predict_best,
    predict_dirac,
    predict_slopes,
    predict_vector,
)
from course_lib.exercises.ch04.steps import check_gan_losses

__all__ = ["check_best_discriminator", "check_dirac_step", "check_discriminator_loss", "check_gan_losses",
           "check_generator_slopes", "predict_balance", "predict_best", "predict_dirac", "predict_slopes",
           "predict_vector"]
