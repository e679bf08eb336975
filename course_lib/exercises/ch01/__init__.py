"""Chapter 01: questions to predict first, and the checks of its five exercises."""

from course_lib.exercises.ch01.latents import check_empty_share, check_sample_fitted
from course_lib.exercises.ch01.losses import check_best_answer, check_denoising_loss, check_loss
from course_lib.exercises.ch01.questions import (
    predict_best_answer,
    predict_lost_part,
    predict_shift,
    predict_unsure,
)

__all__ = ["check_best_answer", "check_denoising_loss", "check_empty_share", "check_loss", "check_sample_fitted",
           "predict_best_answer", "predict_lost_part", "predict_shift", "predict_unsure"]
