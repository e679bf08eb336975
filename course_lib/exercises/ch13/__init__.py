"""Chapter 13: questions to predict first, and the checks of its five exercises."""

from course_lib.exercises.ch13.guidance import check_guided
from course_lib.exercises.ch13.means import check_step_mean
from course_lib.exercises.ch13.noising import check_noised
from course_lib.exercises.ch13.questions import predict_half_noise, predict_same_start
from course_lib.exercises.ch13.sampling import check_sample
from course_lib.exercises.ch13.schedules import check_schedule

__all__ = ["check_guided", "check_noised", "check_sample", "check_schedule", "check_step_mean",
           "predict_half_noise", "predict_same_start"]
