"""Chapter 06: questions to predict first, and the checks of its six exercises."""

from course_lib.exercises.ch06.penalties import check_best_critic, check_gradient_penalty
from course_lib.exercises.ch06.powers import check_power_step
from course_lib.exercises.ch06.questions import (
    predict_clip,
    predict_flat,
    predict_gap,
    predict_product,
    predict_vanishing,
)
from course_lib.exercises.ch06.rounds import check_wgan_round
from course_lib.exercises.ch06.slopes import check_clipped_slope, check_lipschitz_bound

__all__ = ["check_best_critic", "check_clipped_slope", "check_gradient_penalty", "check_lipschitz_bound",
           "check_power_step", "check_wgan_round", "predict_clip", "predict_flat", "predict_gap",
           "predict_product", "predict_vanishing"]
