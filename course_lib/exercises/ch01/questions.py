"""Chapter 01: questions to predict first."""

from __future__ import annotations

from course_lib.widgets.questions import Predict, predict


def predict_best_answer() -> Predict:
    return predict("All signals have one sharp edge, at a random place. Which one signal is the best answer under L2?",
                   ["a sharp edge in the middle", "a ramp from black to white", "one of them, picked at random"], 1,
                   "The mean: pixel j is white in the share of signals whose edge lies left of it, and that share "
                   "grows evenly with j.")


def predict_shift() -> Predict:
    return predict("Digits are shifted by 3 of 28 pixels. How many are then farther from themselves than from a blank "
                   "image?", ["almost none", "about a fifth", "about three quarters"], 2,
                   "The chart below counts them. Strokes are so thin that a shift of 3 pixels leaves little overlap.")


def predict_unsure() -> Predict:
    return predict("16 latents, z drawn from N(0, I): what share of the decoded images leaves the classifier unsure?",
                   ["about 1 %, as for real digits", "about 15 %", "more than half"], 2,
                   "The codes do not lie where N(0, I) has its mass: nothing in the loss asked them to.")


def predict_lost_part() -> Predict:
    return predict("All that the hourglass knows of a face went through 64 numbers. Which part does it find worst?",
                   ["hair, for its many shapes", "glasses, for their thin lines", "clothes, for their colours"], 1,
                   "A thin line that is drawn one pixel beside its place is wrong twice: where it is, and where it is "
                   "not. The table below counts it.")
