"""Chapter 13: questions to predict first."""

from __future__ import annotations

from course_lib.widgets.questions import Predict, predict


def predict_half_noise() -> Predict:
    return predict("A pixel of size 1 is noised by the linear schedule with T = 1000: β rises evenly from 0.0001 to "
                   "0.02. At which t is there as much noise as signal, SNR(t) = 1?",
                   ["about 100", "about 260", "about 500", "about 900"], 1,
                   "SNR is ᾱ/(1 − ᾱ), so it is 1 where ᾱ = ½. The β's add up: at t = 260 they come to 0.7, and "
                   "e^−0.7 = ½. At t = 100 the SNR is still 8.7, at t = 500 it is 0.085, and from t = 675 on it is "
                   "below 0.01. So for the last third of the steps next to nothing is left of the image. The cosine "
                   "schedule has its middle in the middle: SNR 1 at t = 497.")


def predict_same_start() -> Predict:
    return predict("From one x_T an image is made by DDIM with η = 0, in 100 steps. Run again from the same x_T, it "
                   "gives the same image, to the last digit: nothing is random but the start. And from the same x_T "
                   "in 10 steps?",
                   ["nearly the same image, a little coarser", "another image, as if from another x_T",
                    "noise: each step is 10 times too long"], 0,
                   "With η = 0 every x_T lies on one curve that leads to one image, and DDIM follows it. 10 steps are "
                   "10 chords where 100 steps are 100: both keep near the same curve, the long ones less exactly, "
                   "and fine detail suffers first. So x_T is a code of the image. DDPM draws new noise at each step, "
                   "and another run from the same x_T makes another image.")
