"""Chapter 07: questions to predict first, and the checks of its six exercises."""

from course_lib.exercises.ch07.distances import check_frechet, check_frechet_limit
from course_lib.exercises.ch07.kernels import check_kid
from course_lib.exercises.ch07.manifolds import check_copying, check_precision_recall
from course_lib.exercises.ch07.questions import (
    predict_copies,
    predict_kid_sign,
    predict_one_a_class,
    predict_only_ones,
    predict_sample_count,
)
from course_lib.exercises.ch07.scores import check_inception_score

__all__ = ["check_copying", "check_frechet", "check_frechet_limit", "check_inception_score", "check_kid",
           "check_precision_recall", "predict_copies", "predict_kid_sign", "predict_one_a_class",
           "predict_only_ones", "predict_sample_count"]
