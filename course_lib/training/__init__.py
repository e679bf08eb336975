"""What every training run shares: one update, one loop, an average of the weights, saving and resuming."""

from course_lib.training.loop import EMA, adam, best_device, full_precision, rmsprop, train, update, update_together
from course_lib.training.saving import resume, save, seconds_of, write_atomically

__all__ = [
    "EMA", "adam", "best_device", "full_precision", "resume", "rmsprop", "save", "seconds_of", "train", "update",
    "update_together", "write_atomically",
]
