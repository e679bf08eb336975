"""Classifiers, the course's measuring instruments: augmentation, training steps, accuracy, few labels."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_lib.checks import require, require_same_shape, require_shape
from course_lib.datasets import batches
from course_lib.metrics import as_floats, in_blocks
from course_lib.networks import ConvClassifier
from course_lib.training import adam, train, update


def random_affine(x: Tensor, degrees: float = 10.0, scale: float = 0.1, shift: float = 0.08,
                  generator: torch.Generator | None = None) -> Tensor:
    """Each image turned, scaled and shifted a little at random, bilinearly, with 0 outside: (B, C, H, W) → the same.

    degrees: turned by U[−degrees, degrees]; scale: enlarged by U[1 − scale, 1 + scale]; shift: moved by
    U[−shift, shift] times the side, along each axis.
    """
    require_shape("x", x, None, None, None, None)
    u = 2 * torch.rand(4, len(x), generator=generator, dtype=x.dtype, device=x.device) - 1
    angle, size = torch.deg2rad(degrees * u[0]), 1 + scale * u[1]
    cos, sin, wide = angle.cos() / size, angle.sin() / size, x.shape[3] / x.shape[2]  # theta's units are half sides
    theta = torch.stack([torch.stack([cos, -sin / wide, 2 * shift * u[2]], 1),
                         torch.stack([sin * wide, cos, 2 * shift * u[3]], 1)], 1)             # (B, 2, 3)
    return F.grid_sample(x, F.affine_grid(theta, x.shape, align_corners=False), align_corners=False)


def classifier_step(batches: Iterator[tuple[Tensor, Tensor]], model: nn.Module, opt: torch.optim.Optimizer,
                    augment: Callable[[Tensor], Tensor] | None = None) -> dict[str, Tensor]:
    """One step of maximum likelihood for p(y|x): the mean of −log softmax(logits)_y, in nats."""
    x, y = next(batches)                                # (B, C, H, W), (B,)
    loss = F.cross_entropy(model(x if augment is None else augment(x)), y)
    update(opt, loss)
    return {"loss": loss.detach()}


def accuracy(model: Callable[[Tensor], Tensor], images: Tensor, labels: Tensor) -> float:
    """The share of images whose largest logit is the label's: (N, C, H, W), (N,) → [0, 1]."""
    require(len(images) == len(labels), f"there are {len(images)} images and {len(labels)} labels; they must pair up.")
    return (in_blocks(model, images).argmax(1) == labels).float().mean().item()


def train_on_samples(samples: Tensor, labels: Tensor, test_images: Tensor, test_labels: Tensor, steps: int = 500,
                     batch_size: int = 128, lr: float = 2e-3, width: int = 16, seed: int = 0) -> float:
    """Train on samples, test on real data: the accuracy on real images of a classifier that saw only samples.

    samples: (N, C, H, W), what a model made, uint8 or float in [0, 1]; labels: (N,), the class that each was made as;
    test_images, test_labels: real ones.  A ConvClassifier of this width, Adam with a learning rate that falls along a
    cosine to 0, `steps` batches, no augmentation; seed fixes weights and batches, and torch's own random state stays
    as it was.  Esteban, Hyland and Rätsch 2017, section 4.1.2; on ImageNet: Ravuri and Vinyals 2019.
    Bad samples lower it, and so do missing ones: it needs both. It cannot tell a copied training set from a good model.
    """
    require_shape("labels", labels, len(samples))
    require_shape("samples", samples, None, None, None, None)
    require_shape("test_images", test_images, None, *samples.shape[1:])
    require(len(samples) > 0 and steps >= 1, f"there are {len(samples)} samples and {steps} steps; 1 or more of each.")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = ConvClassifier(int(labels.max()) + 1, tuple(samples.shape[1:]), width).to(samples.device)
    opt = adam(model, lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(opt, steps)
    step = partial(classifier_step, model=model, opt=opt)
    for _ in train(step, batches((samples, labels), min(batch_size, len(samples)), seed), steps,
                   state={"model": model}, memory_format=torch.channels_last, progress=False):
        schedule.step()
    return accuracy(model.eval(), as_floats(test_images), test_labels)


def attributes_step(batches: Iterator[tuple[Tensor, Tensor]], model: nn.Module, opt: torch.optim.Optimizer,
                    sizes: Sequence[int]) -> dict[str, Tensor]:
    """One step of maximum likelihood for several labels at once: −Σ_a log softmax(logits of a)_{y_a}, in nats.

    sizes: how many values each attribute has; the model's logits are one block of so many after the other.
    """
    x, y = next(batches)                                # (B, C, H, W), (B, attributes)
    loss = sum(F.cross_entropy(logits, y[:, a]) for a, logits in enumerate(model(x).split(list(sizes), 1)))
    update(opt, loss)
    return {"loss": loss.detach()}


def read_attributes(model: Callable[[Tensor], Tensor], images: Tensor, sizes: Sequence[int]) -> Tensor:
    """Each attribute's likeliest value: (N, C, H, W) → int64 (N, attributes)."""
    return torch.stack([logits.argmax(1) for logits in in_blocks(model, images).split(list(sizes), 1)], 1)


def segmenter_step(batches: Iterator[tuple[Tensor, Tensor]], model: nn.Module, opt: torch.optim.Optimizer,
                   ) -> dict[str, Tensor]:
    """One step of maximum likelihood for the class of each pixel: the mean of −log softmax(logits)_y, in nats."""
    x, y = next(batches)                                # (B, C, H, W), (B, H, W)
    loss = F.cross_entropy(model(x), y.long())          # logits (B, classes, H, W)
    update(opt, loss)
    return {"loss": loss.detach()}


def intersection_over_union(predicted: Tensor, true: Tensor, classes: int) -> Tensor:
    """For each class, pixels that both call so over pixels that either does: (N, H, W) twice → (classes,) in [0, 1].

    Counted over all images together (Everingham et al. 2010, section 4.3); NaN for a class that neither has anywhere.
    """
    require_same_shape(predicted=predicted, true=true)
    pairs = (classes * true.long() + predicted.long()).flatten().bincount(minlength=classes**2)
    counts = pairs.view(classes, classes).double()      # [true, predicted]
    both = counts.diagonal()
    return both / (counts.sum(0) + counts.sum(1) - both)


def labels_per_class(labels: Tensor, n: int, generator: torch.Generator | None = None) -> Tensor:
    """The indices of n images of each class, drawn at random without replacement: (N,) → (classes · n,)."""
    require(n >= 1, f"n is {n}; it must be 1 label a class or more.")
    order = torch.randperm(len(labels), generator=generator).to(labels.device)
    chosen = []
    for c in labels.unique():
        of_class = order[labels[order] == c]
        require(len(of_class) >= n, f"class {int(c)} has {len(of_class)} images, but n is {n}: ask for fewer.")
        chosen.append(of_class[:n])
    return torch.cat(chosen)


def few_label_accuracy(features: Tensor, labels: Tensor, test_features: Tensor, test_labels: Tensor, n: int,
                       seed: int = 0) -> float:
    """Test accuracy of logistic regression trained on n labelled images of each class.

    features, test_features: (N, d), (M, d); labels: (N,), (M,); n: labels a class; seed: which images. All features are
    centred and divided by one number, so that their mean variance is 1 (no labels needed for that; scaling each feature
    by itself would blow up pixels that are nearly always 0). Penalty ½‖w‖², scikit-learn's default.
    """
    from sklearn.linear_model import LogisticRegression
    chosen = labels_per_class(labels, n, torch.Generator().manual_seed(seed))
    mean, scale = features.mean(0), features.var(0).mean().sqrt()
    require(bool(scale > 0), "all features are the same for every image: there is nothing to learn from.")

    def prepared(part):
        return ((part - mean) / scale).double().cpu().numpy()

    fitted = LogisticRegression(max_iter=2_000).fit(prepared(features[chosen]), labels[chosen].cpu().numpy())
    return float(fitted.score(prepared(test_features), test_labels.cpu().numpy()))
