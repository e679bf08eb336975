"""Chapter 02: questions to predict first."""

from __future__ import annotations

from course_lib.widgets.questions import Predict, predict


def predict_halving() -> Predict:
    return predict("μ = 0, and σ is halved again and again: from 1 to ½, to ¼, to ⅛ … How does the price of a halving "
                   "go on?", ["it is the same each time", "it grows, but levels off", "it grows without limit"], 1,
                   "A halving that starts from σ costs log 2 − ⅜σ² nats: 0.32, 0.60, 0.67, and soon nearly "
                   "log 2 = 0.69 each time. Drag σ in the figure below.")


def predict_estimators() -> Predict:
    return predict("One gradient of the ELBO, from one sample, in two ways: through the decoder's slope, and from "
                   "values only. How much larger is the variance of the second?",
                   ["about the same", "some 2 to 5 times", "a hundred times and more"], 2,
                   "A slope says which way to go. A value alone does not: only the mean over many samples does. Both "
                   "ways are right on average; the chart below shows how far they scatter, on a log axis.")


def predict_sample() -> Predict:
    return predict("A decoder with σ = 1 for each of 784 pixels in [0, 1] was trained well. An image is drawn from its "
                   "p(x|z). What does it look like?",
                   ["a sharp digit", "a blurred digit", "noise in which a digit can hardly be seen"], 2,
                   "A draw is the decoder's mean plus noise, and a σ of 1 is as much as the whole way from black to "
                   "white. What one mostly gets to see is the mean. The pictures below show both.")


def predict_holes() -> Predict:
    return predict("Chapter 1's autoencoder with 16 latents left the classifier unsure for 98 % of the z drawn from "
                   "N(0, I). The same network, trained as a VAE: how many now?",
                   ["still most of them", "about a quarter", "about 1 %, as for real digits"], 1,
                   "The KL brings the codes to where N(0, I) has its mass, and the noise makes the decoder answer for "
                   "the room around each. That mends most of it, not all: the table below says what is left.")


def predict_beta() -> Predict:
    return predict("A VAE trained with β = 1 has 7 of its 16 latents in use. Its training goes on with β = 6. How many "
                   "of the 7 stay in use?", ["all seven, each a little cheaper", "about half of them", "none"], 1,
                   "β is the price of a nat: a latent that saves less error than its nats cost is switched off. "
                   "The figure below shows them go, one after the other.")
