"""Chapter 07: questions to predict first."""

from __future__ import annotations

from course_lib.widgets.questions import Predict, predict


def predict_one_a_class() -> Predict:
    return predict("A generator knows ten images, one of each digit, and draws from them again and again. The "
                   "classifier is sure of all ten. What is the inception score of 10,000 samples?",
                   ["near 1, the lowest", "about 5", "10, the highest there is"], 2,
                   "Each image is clear and each class comes as often: p(y|x) is certain and p(y) is uniform. Within "
                   "a class the score sees nothing, one image or a million.")


def predict_sample_count() -> Predict:
    return predict("Two sets of n draws come from the *same* Gaussian, in 64 dimensions. What is their Fréchet "
                   "distance, on average, with n = 500 and with n = 5000?",
                   ["0 both times", "above 0, and about three times less with 5000",
                    "above 0, and about ten times less with 5000"], 2,
                   "The fitted means and covariances differ by chance, and a distance counts each difference as above "
                   "0. These are squares of errors of size 1/√n, so they fall like 1/n: about 4.4 and 0.44. Compare "
                   "figures only at the same n.")


def predict_kid_sign() -> Predict:
    return predict("KID is computed for two sets of the same distribution, again and again with new sets. What comes "
                   "out?", ["0 each time", "small numbers, all above 0", "small numbers, many of them below 0"], 2,
                   "It is unbiased: its mean is the true value, 0, so some must lie below. A clamp at 0 would bring "
                   "the bias back.")


def predict_only_ones() -> Predict:
    return predict("A generator makes perfect ones, of all kinds, and no other digit. What are its precision and its "
                   "recall?", ["both high", "precision high, recall low", "precision low, recall high"], 1,
                   "Each sample lies among the real images, so precision is high. Of the real images only the ones lie "
                   "among the samples, so recall is near their share, a tenth.")


def predict_copies() -> Predict:
    return predict("A \"generator\" hands out images of the training set, drawn at random. Which of these gives it "
                   "away: the inception score, the Fréchet distance to the training set, KID, precision, recall?",
                   ["recall", "the Fréchet distance", "none of them"], 2,
                   "By all five it is excellent: it has every class, every mode and every detail. One must ask how "
                   "near its samples are to *training* images, compared with images that it cannot know.")
