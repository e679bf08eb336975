"""Chapter 02: questions to predict first, and the checks of its five exercises."""

from course_lib.exercises.ch02.bounds import check_bound
from course_lib.exercises.ch02.gaussians import check_kl, check_sample
from course_lib.exercises.ch02.losses import check_elbo_loss, check_nats
from course_lib.exercises.ch02.questions import (
    predict_beta,
    predict_estimators,
    predict_halving,
    predict_holes,
    predict_sample,
)

__all__ = ["check_bound", "check_elbo_loss", "check_kl", "check_nats", "check_sample", "predict_beta",
           "predict_estimators", "predict_halving", "predict_holes", "predict_sample"]
