"""Chapter 01, exercises 1 to 3: the loss, its best answer, and the denoising loss.

A check holds the mistakes that it knows, each computed, with what it says to it; its arguments tell them all apart.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from course_lib import networks
from course_lib.autoencoders import ae_loss
from course_lib.exercises.checking import compare, verdict


def _random(shape: tuple[int, ...]) -> Tensor:
    """Numbers that are the same each time, and leave the random state alone."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


# --- exercise 1: the loss ------------------------------------------------------------------------------------------

def check_loss(my_loss: Callable) -> None:
    """my_loss(x_hat, x) → (1/n) Σ_i ‖x̂_i − x_i‖², a scalar; x_hat, x: (B, C, H, W)."""
    x_hat, x = _random((2, 4, 3, 2, 5))
    small = (torch.tensor([[3.0, -4.0, 0.0], [2.0, 0.0, 0.0]]).view(2, 1, 1, 3), torch.zeros(2, 1, 1, 3))
    with verdict():
        compare(my_loss, {"x_hat": x_hat.requires_grad_(), "x": x}, ae_loss, LOSS_MISTAKES, read="section 1.1",
                small=("two images of three pixels, with errors (3, −4, 0) and (2, 0, 0),",
                       {"x_hat": small[0].requires_grad_(), "x": small[1]}), trains=True)


PIXEL_MEAN = ("you average over the pixels too. ‖·‖² is a sum over all numbers of an image; only the images are "
              "averaged (section 1.1).")
IMAGE_SUM = "you add the images up. The 1/n in front of the sum makes it a mean over the images (section 1.1)."
ROOT = "you take a root. ‖·‖² is the length squared: the sum of the squares, as it is (section 1.1)."
ABSOLUTE = ("you add absolute values. The loss squares each difference, so that one large error costs more than many "
            "small ones; section 1.2 lives on it.")
UNSQUARED = ("you add the differences as they are, so those above and those below cancel out. Square each one first "
             "(section 1.1).")
LOSS_MISTAKES = [
    (lambda x_hat, x: (x_hat - x).square().mean(), PIXEL_MEAN),
    (lambda x_hat, x: (x_hat - x).square().sum(), IMAGE_SUM),
    (lambda x_hat, x: (x_hat - x).square().mean((1, 2, 3)).sum(),
     "you divide by the number of pixels, and add the images up. It is the other way round: sum over the pixels, mean "
     "over the images (section 1.1)."),
    (lambda x_hat, x: (x_hat - x).flatten(1).norm(dim=1).mean(), ROOT),
    (lambda x_hat, x: (x_hat - x).flatten(1).norm(dim=1).sum(), ROOT),
    (lambda x_hat, x: ae_loss(x_hat, x).sqrt(), ROOT),
    (lambda x_hat, x: (x_hat - x).norm(), ROOT),
    (lambda x_hat, x: (x_hat - x).square().mean().sqrt(), ROOT),
    (lambda x_hat, x: (x_hat - x).abs().flatten(1).sum(1).mean(), ABSOLUTE),
    (lambda x_hat, x: (x_hat - x).abs().mean(), ABSOLUTE),
    (lambda x_hat, x: (x_hat - x).abs().sum(), ABSOLUTE),
    *[(lambda x_hat, x, sign=sign, total=total: sign * total(x_hat - x), UNSQUARED) for sign in (1, -1)
      for total in (torch.sum, torch.mean, lambda error: error.flatten(1).sum(1).mean())],
    (lambda x_hat, x: (x_hat - x).flatten(1).sum(1).square().mean(),
     "you square after the sum over the pixels, so errors above and below cancel out. Square each difference, then add "
     "(section 1.1)."),
    (lambda x_hat, x: (x_hat - x).square().flatten(1).sum(1),
     "you return one number for each image. The loss is their mean, one number in all (section 1.1)."),
    (lambda x_hat, x: (x_hat - x).square(),
     "you return one number for each pixel. Add them up within an image, then average over the images (section 1.1)."),
    (lambda x_hat, x: (x_hat - x).square().sum(1).mean(),
     "you add up the channels only, and average over rows and columns too. All numbers of an image are added up: "
     ".flatten(1) puts them into one row (section 1.1)."),
    (lambda x_hat, x: ae_loss(x_hat, x) / x.shape[1],
     "you average over the channels. An image's numbers are those of all its channels, and all are added up."),
    (lambda x_hat, x: ae_loss(x_hat, x) / 2, "you have half of it: there is no ½ in this loss (section 1.1)."),
    (lambda x_hat, x: -ae_loss(x_hat, x), "the sign is turned: a sum of squares is never below 0."),
]


# --- exercise 2: the best answer -----------------------------------------------------------------------------------

def check_best_answer(my_best_answer: Callable) -> None:
    """my_best_answer(images, weights) → (H, W), the a that makes Σ_i Σ_j w_ij (x_ij − a_j)² least; both (N, H, W)."""
    images, noise = _random((2, 4, 3, 5))
    small = (torch.tensor([[[0.0, 1.0]], [[1.0, 0.0]]]), torch.tensor([[[1.0, 3.0]], [[1.0, 1.0]]]))
    with verdict():
        compare(my_best_answer, {"images": images, "weights": (1.5 * noise).exp()}, _weighted_mean, BEST_MISTAKES,
                small=("two images of two pixels, (0, 1) with the weights (1, 3) and (1, 0) with the weights (1, 1),",
                       {"images": small[0], "weights": small[1]}), read="section 1.2")


def _weighted_mean(images: Tensor, weights: Tensor) -> Tensor:
    return (weights * images).sum(0) / weights.sum(0)


ONE_OF_THEM = ("your answer is one of the images, or pieced together from them. The best answer need not be any of "
               "them: set the derivative of the cost with respect to a_j to zero (section 1.2).")
TOO_SMALL = ("you weight the images but divide by their number. Then weights of 2 everywhere would double the answer, "
             "and yet they only double the cost. Divide by what the weights add up to (section 1.2).")
NO_WEIGHTS = ("your answer does not look at the weights. They depend on the image, so they do not cancel out: set the "
              "derivative of the cost to zero with the weights in it (the Watch out of section 1.2).")
PER_IMAGE = ("you divide the weights by their sum over an image's pixels. It is over the images that they must sum to "
             "1, at each pixel: sum over dimension 0.")
BEST_MISTAKES = [
    (lambda images, weights: images.mean(0), NO_WEIGHTS),
    (lambda images, weights: images.sum(0), NO_WEIGHTS),
    (lambda images, weights: images.median(0).values,
     "you take the median. It makes the sum of absolute errors least; of squared errors it is a mean, and here the "
     "weights enter too (section 1.2)."),
    (lambda images, weights: (weights * images).mean(0), TOO_SMALL),
    (lambda images, weights: (weights * images).sum(0),
     "you weight and add, but do not divide. Divide by what the weights of that pixel add up to (section 1.2)."),
    (lambda images, weights: (weights * images).sum(0) / weights.sum(),
     "you divide by the sum of all weights, over the pixels too. Every pixel has a cost of its own: divide by the sum "
     "of that pixel's weights over the images."),
    (lambda images, weights: (weights * images).sum() / weights.sum(),
     "you average over the pixels too, and return one number. Every pixel has its own best answer: sum over the images "
     "only, dimension 0."),
    (lambda images, weights: (weights / weights.sum((1, 2), keepdim=True) * images).sum(0), PER_IMAGE),
    (lambda images, weights: (weights / weights.sum((1, 2), keepdim=True) * images).mean(0), PER_IMAGE),
    (lambda images, weights: _weighted_mean(images, weights / weights.sum((1, 2), keepdim=True)), PER_IMAGE),
    (lambda images, weights: _weighted_mean(images, weights.mean((1, 2), keepdim=True).expand_as(images)),
     "you give each image one weight for all its pixels. Every pixel of every image has its own weight; keep them "
     "apart."),
    (lambda images, weights: _weighted_mean(images, weights.square()),
     "your weights are squared. In the cost w (x − a)² the square is on the difference only; its derivative is "
     "−2 w (x − a)."),
    (lambda images, weights: _weighted_mean(images, weights.sqrt()),
     "you take the root of the weights. In the cost w (x − a)² the weight stands as it is, and so it does in the "
     "answer."),
    (lambda images, weights: _weighted_mean(images, 1 / weights),
     "your weights are turned over: where w is large an error costs much, so there the answer must be near that "
     "image."),
    (lambda images, weights: _weighted_mean(images, weights.softmax(0)),
     "you pass the weights through a softmax. They are weights already: divide them by their sum over the images."),
    *[(lambda images, weights, i=i: images[i], ONE_OF_THEM) for i in range(4)],
    (lambda images, weights: images.gather(0, weights.argmax(0, keepdim=True))[0], ONE_OF_THEM),
]


# --- exercise 3: the denoising loss --------------------------------------------------------------------------------

def check_denoising_loss(my_loss: Callable) -> None:
    """my_loss(model, x, eps, sigma) → (1/n) Σ_i ‖x_i − model(x_i + σ_i ε_i)‖²; x, eps: (B, C, H, W), sigma: (B,)."""
    x, eps = _random((2, 4, 2, 3, 4))       # as wide as there are images: σ broadcasts along a wrong dimension, too
    sigma = torch.tensor([0.2, 0.5, 0.8, 1.5])
    model = networks.Autoencoder(nn.Identity(), Quarter(), latents=2)
    small = {"model": model, "x": torch.tensor([1.0, 0.0]).view(1, 1, 1, 2),
             "eps": torch.tensor([6.0, 8.0]).view(1, 1, 1, 2), "sigma": torch.tensor([0.5])}
    with verdict():
        compare(my_loss, {"model": model, "x": x.sigmoid(), "eps": eps + 0.5, "sigma": sigma},
                lambda model, x, eps, sigma: ae_loss(model(_noisy(x, eps, sigma)), x), DENOISING_MISTAKES,
                small=("one image of two pixels, x = (1, 0), eps = (6, 8), sigma = 0.5 and model(x) = x/4", small),
                read="section 1.8", trains=True)


class Quarter(nn.Module):
    """x → x/4, with a weight that could learn: a model that one can reckon with by hand."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(0.25))

    def forward(self, x: Tensor) -> Tensor:
        return self.weight * x


def _noisy(x: Tensor, eps: Tensor, sigma: Tensor) -> Tensor:
    return x + sigma.view(-1, 1, 1, 1) * eps


NOISE_AS_TARGET = ("you ask the model for the noise. Here the target is the whole image x; a model that predicts the "
                   "noise comes in chapter 13.")
DENOISING_MISTAKES = [
    (lambda model, x, eps, sigma: ae_loss(model(_noisy(x, eps, sigma)), _noisy(x, eps, sigma)),
     "your target is the noisy image. A model that hands its input through would then be perfect. The noise goes in, "
     "the clean x is what must come out (section 1.8)."),
    (lambda model, x, eps, sigma: ae_loss(_noisy(model(x), eps, sigma), x),
     "you add the noise to what comes out of the model. It belongs to what goes in: the model is there to take it off "
     "(section 1.8)."),
    (lambda model, x, eps, sigma: ae_loss(model(x), x),
     "your model is given the clean image, so it never meets the noise it is to take off. Spoil the input: "
     "x + sigma · eps (section 1.8)."),
    (lambda model, x, eps, sigma: ae_loss(model(x), _noisy(x, eps, sigma)),
     "input and target are exchanged: the noisy image goes in, and the clean one is the target (section 1.8)."),
    (lambda model, x, eps, sigma: ae_loss(_noisy(x, eps, sigma), x),
     "you compare the noisy image with the clean one; the model does not come in. What is compared is model(noisy)."),
    (lambda model, x, eps, sigma: ae_loss(model(_noisy(x, eps, sigma)), eps), NOISE_AS_TARGET),
    (lambda model, x, eps, sigma: ae_loss(model(_noisy(x, eps, sigma)), _noisy(0 * x, eps, sigma)), NOISE_AS_TARGET),
    (lambda model, x, eps, sigma: ae_loss(model(x + sigma * eps), x),
     "sigma has the shape (B,), and `sigma * eps` broadcasts it along the last dimension: every column of pixels gets "
     "a level, not every image. Here B happens to be W, so no error is raised. Give it the shape (B, 1, 1, 1) first."),
    (lambda model, x, eps, sigma: ae_loss(model(_noisy(x, eps, sigma.square())), x),
     "you use σ². σ is the standard deviation of the noise: it multiplies eps as it is (section 1.8)."),
    (lambda model, x, eps, sigma: ae_loss(model(_noisy(x, eps, sigma.sqrt())), x),
     "you use the root of σ. σ is the standard deviation already: it multiplies eps as it is (section 1.8)."),
    (lambda model, x, eps, sigma: ae_loss(model(x + eps), x),
     "sigma does not come in: x + eps is noise of level 1 for every image. Multiply eps by each image's own σ."),
    (lambda model, x, eps, sigma: ae_loss(model(x + sigma.mean() * eps), x),
     "all images get one level of noise, the mean of sigma. Each image has its own σ."),
    (lambda model, x, eps, sigma: ae_loss(model(_noisy(x, eps, -sigma)), x),
     "you take the noise away from x. By chance that has the same law, but the exercise adds it: x + sigma · eps."),
    (lambda model, x, eps, sigma: ae_loss(model(_noisy(x, eps, sigma).clamp(0, 1)), x),
     "you clip the noisy image to [0, 1]. Then it is no longer x + σ ε; the model must be given the noise as it is "
     "(section 1.8)."),
    (lambda model, x, eps, sigma: (model(_noisy(x, eps, sigma)) - x).square().mean(), PIXEL_MEAN),
    (lambda model, x, eps, sigma: (model(_noisy(x, eps, sigma)) - x).square().sum(), IMAGE_SUM),
]
