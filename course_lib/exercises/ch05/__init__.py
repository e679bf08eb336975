"""Chapter 05: questions to predict first, and the checks of its five exercises."""

from course_lib.exercises.ch05.bounds import check_lower_bound
from course_lib.exercises.ch05.densities import check_js
from course_lib.exercises.ch05.plans import check_plan
from course_lib.exercises.ch05.questions import (
    predict_dual,
    predict_lines,
    predict_noise,
    predict_perfect,
    predict_samples,
)
from course_lib.exercises.ch05.samples import check_w1, check_w1_gradient

__all__ = ["check_js", "check_lower_bound", "check_plan", "check_w1", "check_w1_gradient", "predict_dual",
           "predict_lines", "predict_noise", "predict_perfect", "predict_samples"]
