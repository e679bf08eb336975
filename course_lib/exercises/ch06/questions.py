"""Chapter 06: questions to predict first."""

from __future__ import annotations

from course_lib.widgets.questions import Predict, predict


def predict_clip() -> Predict:
    return predict("A critic has three layers, 2 → 128 → 128 → 1, and its weights are clipped to [−c, c]. c is raised "
                   "from 0.01 to 0.1. How does the largest slope that it can have change?",
                   ["it grows 10 times", "it grows about 30 times", "it grows 1000 times"], 2,
                   "The layers act one after the other, so their slopes multiply: c comes in three times, c³. The "
                   "largest slope goes from 0.023 to 23. Somewhere between the two a slope of 1 is possible.")


def predict_vanishing() -> Predict:
    return predict("A critic of many layers with 128 units each, LeakyReLU(0.2) between them, and all weights at c = "
                   "0.01 or −0.01, as chance will have it. From one layer back to the one before, the gradient's "
                   "length changes by a factor of about",
                   ["1: a critic's gradient does not vanish", "0.3", "0.08"], 2,
                   "Each number is a sum of 128 terms of size 0.01 with random signs: √128 times 0.01, and a little "
                   "less, as half of the units pass on only a fifth. That is 0.08. After five layers 4 millionths are "
                   "left.")


def predict_flat() -> Predict:
    return predict("A critic is the same everywhere: f(x) = 0. What does the penalty cost it, λ (‖∇f‖ − 1)² with λ = "
                   "10?", ["0: it is 1-Lipschitz", "10", "as much as one likes: it depends on the data"], 1,
                   "Its slope is 0 at each place, and (0 − 1)² = 1. The penalty is two-sided: it wants a slope of 1, "
                   "not a slope of at most 1. A one-sided one, max(0, ‖∇f‖ − 1)², would cost nothing here.")


def predict_product() -> Predict:
    return predict("Each layer's matrix was divided by its spectral norm, so that each has norm 1, and LeakyReLU "
                   "stands between the layers. How large is the critic's Lipschitz constant?",
                   ["exactly 1", "at most 1, perhaps much less", "at least 1"], 1,
                   "What one layer stretches most, the next need not. Take (1, −1)/√2 and (1, 1)/√2: f is 0.4 |x|, "
                   "and its slope 0.4. The product of the norms is a bound, and with each layer it can get looser.")


def predict_gap() -> Predict:
    return predict("In a training run the critic's gap, mean f(x) − mean f(G(z)), falls from 3 to 0.3. What happened?",
                   ["the samples got better", "the critic got worse, or flatter",
                    "either: the gap alone does not tell"], 2,
                   "The gap is at most K·W₁. It falls with W₁, with the critic's slope K, and where the critic is far "
                   "from the best one. Only with the slope held near 1 and a critic that is trained enough does it "
                   "follow W₁.")
