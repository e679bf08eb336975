"""Chapter 08: questions to predict first, and the checks of its five exercises."""

from course_lib.exercises.ch08.gan_term import check_gan_term
from course_lib.exercises.ch08.gradients import check_three_gradients
from course_lib.exercises.ch08.llike import check_llike
from course_lib.exercises.ch08.questions import predict_leak, predict_no_log
from course_lib.exercises.ch08.signs import check_signs
from course_lib.exercises.ch08.weights import check_enc_dec_losses

__all__ = ["check_enc_dec_losses", "check_gan_term", "check_llike", "check_signs", "check_three_gradients",
           "predict_leak", "predict_no_log"]
