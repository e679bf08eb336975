"""Chapter 13, exercise 2: from an image to its noisy version, with both roots, and a share for each image."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from course_lib.exercises.calling import NotYet, ask
from course_lib.exercises.ch05.looking import closer
from course_lib.exercises.ch13.combining import say_weights
from course_lib.exercises.checking import as_numbers, compare, same, shapes, verdict

ALPHA_BAR = (0.64, 0.9, 0.2)


def check_noised(my_noised: Callable) -> None:
    """my_noised(x_0, eps, alpha_bar_t) → x_t = √ᾱ_t x_0 + √(1−ᾱ_t) ε.  Ho, Jain and Abbeel 2020, equation 4.

    x_0, eps: (B, C, H, W); alpha_bar_t: (B,), one for each image. Three images of three channels and 3 × 3 pixels come
    first: along whichever dimension ᾱ is laid, torch says nothing there, and the numbers tell. Then two of 1 × 4 × 5.
    """
    arguments, small = _images(3, 3, 3, 3, alpha_bar=ALPHA_BAR), _one_pixel()
    weights = ALPHA_BAR[0] ** 0.5, (1 - ALPHA_BAR[0]) ** 0.5
    with verdict(), closer(lambda: say_weights(my_noised, arguments, ("x_0", "eps"), weights,
                                               f"ᾱ = {ALPHA_BAR[0]}", "section 13.1", look=lambda x: x[0])):
        compare(my_noised, arguments, _noised(), MISTAKES, read="section 13.1",
                small=("x_0 = 1, ε = 2 and ᾱ_t = 0.64", small))
        wide = _images(2, 1, 4, 5, alpha_bar=(0.4, 0.7))
        got = as_numbers(ask(my_noised, wide, echo=False))
        if not same(got, _noised()(**wide)):
            raise NotYet(f"three images of 3 × 3 × 3 come out right, but {shapes(wide)} do not: is a number of images "
                         "or pixels written into your function? Take it from the arguments (section 13.1).")


def _images(*shape: int, alpha_bar: tuple[float, ...]) -> dict[str, Tensor]:
    draw = torch.Generator().manual_seed(4)
    x_0, eps = torch.rand(shape, generator=draw) * 2 - 1, torch.randn(shape, generator=draw)
    return {"x_0": x_0, "eps": eps, "alpha_bar_t": torch.tensor(alpha_bar)}


def _one_pixel() -> dict[str, Tensor]:
    return {"x_0": torch.ones(1, 1, 1, 1), "eps": torch.full((1, 1, 1, 1), 2.0), "alpha_bar_t": torch.tensor([0.64])}


def _noised(signal: Callable = torch.sqrt, noise: Callable = lambda a: (1 - a).sqrt(),
            lay: Callable = lambda a: a.view(-1, 1, 1, 1)) -> Callable:
    """signal(ᾱ) x_0 + noise(ᾱ) ε, with ᾱ (B,) shaped by ``lay``."""
    def x_t(x_0: Tensor, eps: Tensor, alpha_bar_t: Tensor) -> Tensor:
        a = lay(alpha_bar_t)
        return signal(a) * x_0 + noise(a) * eps
    return x_t


DIMENSION = ("One for each image is alpha_bar_t.view(-1, 1, 1, 1). Here B, C, H and W are all 3, so torch says "
             "nothing; with 128 images of 28 × 28 it would stop, and with 28 images it would not (section 13.1).")
MISTAKES = [
    (_noised(lambda a: a, lambda a: 1 - a),
     "both roots are forgotten: ᾱ_t x_0 + (1 − ᾱ_t) ε. ᾱ and 1 − ᾱ are *variances*, and they add up to 1; numbers are "
     "multiplied by roots of them. Without, data of variance 1 have variance ½ at ᾱ = ½: x_t shrinks halfway, and no "
     "network and no sampler expects that (section 13.1)."),
    (_noised(lambda a: a),
     "the root on ᾱ_t is forgotten: it is √ᾱ_t x_0. At ᾱ = ½ data of variance 1 would have variance ¾ (section 13.1)."),
    (_noised(noise=lambda a: 1 - a),
     "the root on 1 − ᾱ_t is forgotten: it is √(1 − ᾱ_t) ε. The noise has *variance* 1 − ᾱ_t (section 13.1)."),
    (_noised(lambda a: (1 - a).sqrt(), torch.sqrt),
     "signal and noise are exchanged: √ᾱ_t goes with x_0. At t = 0 ᾱ is 1, and x_t the image itself (section 13.1)."),
    (_noised(lambda a: 1 - a, lambda a: a),
     "signal and noise are exchanged, and both roots are forgotten: √ᾱ_t x_0 + √(1 − ᾱ_t) ε (section 13.1)."),
    (_noised(noise=lambda a: 1 - a.sqrt()),
     "the root is on ᾱ_t alone: 1 − √ᾱ_t. It goes over all of it, √(1 − ᾱ_t): the two *squares* add up to 1 (section "
     "13.1)."),
    (_noised(lambda a: a, lambda a: (1 - a * a).sqrt()),
     "you take ᾱ_t for its own root: ᾱ_t x_0 + √(1 − ᾱ_t²) ε. The variance stays 1, but ᾱ is a variance already: "
     "√ᾱ_t x_0 + √(1 − ᾱ_t) ε (section 13.1)."),
    (_noised(noise=lambda a: (1 - a.sqrt()).sqrt()),
     "there is one root too many on the noise: √(1 − √ᾱ_t). It is √(1 − ᾱ_t) (section 13.1)."),
    (_noised(lambda a: 1), "the image does not shrink: √ᾱ_t is missing before x_0. Here it does, so that the variance "
                           "of x_t stays 1; other papers let it grow (section 13.1)."),
    (_noised(noise=lambda a: 1), "√(1 − ᾱ_t) is missing before ε: the noise is as large at each t (section 13.1)."),
    (_noised(noise=torch.sqrt), "√ᾱ_t is on ε as well. The noise has √(1 − ᾱ_t) (section 13.1)."),
    (_noised(lambda a: a, lambda a: a), "ᾱ_t is on both. It is √ᾱ_t x_0 + √(1 − ᾱ_t) ε (section 13.1)."),
    (_noised(noise=lambda a: 0), "eps does not come in: that is the mean of q(x_t|x_0), and no noisy image."),
    (_noised(lambda a: 0), "x_0 does not come in: that is noise, and no noisy image."),
    (_noised(noise=lambda a: -(1 - a).sqrt()),
     "the sign of ε is turned. x_t is as probable with −ε, but the network is to find the ε that was given: plus."),
    (_noised(lambda a: -(1 - a).sqrt(), torch.sqrt),
     "this is v = √ᾱ_t ε − √(1 − ᾱ_t) x_0, something that a network may predict. Asked is x_t (section 13.1)."),
    (_noised(lambda a: 1 / a.sqrt(), lambda a: -(1 - a).sqrt() / a.sqrt()),
     "this is the way back, from x_t to x_0. Asked is the way there (section 13.1)."),
    (_noised(lay=lambda a: a.cumprod(0).view(-1, 1, 1, 1)),
     "you take a product along the batch. alpha_bar_t is ᾱ already, at the time of each image (section 13.1)."),
    (_noised(lay=lambda a: a.mean()),
     "you take one mean ᾱ for the whole batch. Each image has a time of its own (section 13.1)."),
    (_noised(lay=lambda a: a[0]), "all images have the first one's ᾱ. Each has a time of its own (section 13.1)."),
    (_noised(lay=lambda a: a),
     "ᾱ is laid along the *last* dimension, W: a noise level for each column of pixels. torch fits shapes together "
     f"from the right. {DIMENSION}"),
    (_noised(lay=lambda a: a[:, None]), f"ᾱ is laid along the *rows* of pixels, H. {DIMENSION}"),
    (_noised(lay=lambda a: a[:, None, None]), f"ᾱ is laid along the *channels*, C. {DIMENSION}"),
    *[(_noised(*roots, lay=lambda a: a),
       f"{which} forgotten, and ᾱ is laid along the *last* dimension, W. {DIMENSION}")
      for roots, which in (((lambda a: a, lambda a: 1 - a), "both roots are"),
                           ((lambda a: a,), "the root on ᾱ_t is"),
                           ((torch.sqrt, lambda a: 1 - a), "the root on 1 − ᾱ_t is"))],
]
