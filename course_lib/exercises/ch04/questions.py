"""Chapter 04: questions to predict first."""

from __future__ import annotations

from course_lib.widgets.questions import Predict, predict


def predict_best() -> Predict:
    return predict("At some x far out in the tails both densities are small, and equal: p_r(x) = p_g(x) = 0.001. What "
                   "does the best discriminator say there?",
                   ["0.001: real data are rare there", "½", "it cannot be said from the densities at x alone"], 1,
                   "D*(x) = p_r/(p_r + p_g) knows the ratio of the two densities at x, and nothing else: neither how "
                   "high they are, nor what they are elsewhere. Whoever stands at x has only to say which of the two "
                   "it came from.")


def predict_slopes() -> Predict:
    return predict("Early in training the discriminator is sure of a fake: D(G(z)) = 0.001. How steep, in the logit, "
                   "are the two losses of the generator there: log(1 − D), and −log D?",
                   ["both about 0.001", "0.001 and 0.999", "0.999 and 0.001"], 1,
                   "d/dl log(1 − D) = −D, and d/dl (−log D) = −(1 − D). Both send the fake the same way, but the "
                   "second with 999 times the force, where the generator is worst.")


def predict_dirac() -> Predict:
    return predict("Dirac-GAN, started near its equilibrium. Both players take small gradient steps of the minimax "
                   "game at the same time. What becomes of the distance to the equilibrium?",
                   ["it shrinks: they converge", "it stays: they circle", "it grows: they spiral outwards"], 2,
                   "The push stands at right angles to the way to the centre, so every step, however small, ends a "
                   "little farther out than it began. Only with infinitely small steps would they circle. "
                   "A smaller learning rate delays the spiral; it does not cure it.")


def predict_vector() -> Predict:
    return predict("Three means of codes, each over some faces: A of faces that smile and wear glasses, B of faces "
                   "with glasses and no smile, C of faces with neither. Which sum should decode to a smiling face "
                   "without glasses?", ["A − B + C", "B − A + C", "A + B − C"], 0,
                   "A and B differ in the smile only, so A − B is what a smile adds; C is the face that it is added "
                   "to. That codes add up like this is a hope, not a law: how often it comes true is counted below.")


def predict_balance() -> Predict:
    return predict("A GAN learns the ring of 8. Its discriminator is made larger, or takes more steps for each of the "
                   "generator's. Does the generator come out better?",
                   ["yes: a better judge is a better teacher", "no: it changes nothing",
                    "it may come out better or worse: one has to try, and with several seeds"], 2,
                   "Two things pull against each other. A discriminator near its best gives the generator the right "
                   "direction, and one that is too sure may give it hardly any gradient, or chase it from mode to "
                   "mode. Which of the two wins depends on the loss, the learning rates and the data: the table below "
                   "says what happened here.")
