"""Chapter 08: questions to predict first."""

from __future__ import annotations

from course_lib.widgets.questions import Predict, predict


def predict_no_log() -> Predict:
    return predict("Somebody has forgotten the logarithm: the loss is −p, with p = N(Dis_l(x) | Dis_l(x̃), I) over 2048 "
                   "features. The reconstruction is perfect, x̃ = x. What is p, in a computer?",
                   ["1", "about 0.4", "0"], 2,
                   "Even without any error each feature has the density 1/√(2π) = 0.399, and 2048 such factors make "
                   "e^−1882. The smallest number above 0 is about e^−103 in float32 and e^−744 in float64. So p is 0 "
                   "whatever x̃ is, and so is its gradient: nothing learns. The logarithm makes −1882 of it, an "
                   "ordinary number.")


def predict_leak() -> Predict:
    return predict("By an oversight L_llike's gradient reaches Dis, and nothing else does, so Dis_l is trained to "
                   "make L_llike small. What becomes of its features?",
                   ["they see finer and finer differences", "they grow blind to what x and x̃ differ in",
                    "they stay as they are"], 1,
                   "L_llike is least where Dis_l(x) = Dis_l(x̃), and Dis_l can have that without any help of Enc and "
                   "Dec: by not seeing in what the two differ. A layer that answers the same to every image does it "
                   "perfectly. The loss falls, and no reconstruction is the better for it. That is why only L_GAN "
                   "teaches Dis.")
