"""Chapter 05: questions to predict first."""

from __future__ import annotations

from course_lib.widgets.questions import Predict, predict


def predict_lines() -> Predict:
    return predict("Two parallel lines of length 1 stand θ = 2 apart, and are moved to θ = 0.1. What do KL, JS and W₁ "
                   "do?", ["all three fall", "KL falls, JS and W₁ stay", "KL and JS stay, W₁ falls"], 2,
                   "Down to θ = 0 the lines share no point, so KL is infinite and JS is log 2 all along: neither "
                   "shows where to go. W₁ is θ itself, and falls from 2 to 0.1.")


def predict_samples() -> Predict:
    return predict("Draw 1000 numbers from N(0, 1), and 1000 more. Take each set as it stands: mass 1/1000 at each of "
                   "its points. How far apart are the two?",
                   ["JS and W₁ are both near 0", "JS is log 2, W₁ is near 0", "both are far from 0"], 1,
                   "No number comes twice, so whoever knows the points by heart tells the sets apart without fault: "
                   "JS is log 2, as large as it can be. W₁ asks how far to go, and the neighbours lie close: it is "
                   "about 0.06.")


def predict_dual() -> Predict:
    return predict("A function f may have any slope of at most 1. How large can the mean of f on the data become, "
                   "minus its mean on the generator's samples?",
                   ["at most 1", "at most W₁", "as large as one likes"], 1,
                   "Along each route of a plan f changes by no more than the route is long. So the difference of the "
                   "means is at most what any plan costs, and the best f reaches the cheapest: W₁. f itself may be as "
                   "large as it likes.")


def predict_perfect() -> Predict:
    return predict("Data and samples do not overlap, and D was trained to perfection. Now the generator goes down the "
                   "gradient of log(1 − D(G(z))). How large is that gradient?",
                   ["large: D knows very well which way is better", "nearly 0", "large, but in a random direction"], 1,
                   "The slope of log(1 − D) in D's logit is −D, and D is nearly 0 at every sample: 0.007 at a logit of "
                   "−5, 0.00005 at −10. The surer D is, the less it passes on.")


def predict_noise() -> Predict:
    return predict("Two parallel lines, 1 apart, have JS = log 2. Noise from N(0, σ²I) is added to the points of both. "
                   "What happens to JS?",
                   ["it falls, further with more noise", "it stays log 2: the lines are as far apart as before",
                    "it rises: noise blurs what they share"], 0,
                   "Noise makes them overlap. JS falls from 0.69 to 0.63 at σ = 0.25, 0.34 at σ = 0.5 and 0.11 at "
                   "σ = 1, and it has a slope in θ again. W₁ stays 1: both were blurred alike.")
