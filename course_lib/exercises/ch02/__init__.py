"""Chapter 02: the checks of its five exercises."""

from course_lib.exercises.ch02.bounds import check_bound
from course_lib.exercises.ch02.gaussians import check_kl, check_sample
from course_lib.exercises.ch02.losses import check_elbo_loss, check_nats

__all__ = ["check_bound", "check_elbo_loss", "check_kl", "check_nats", "check_sample"]
