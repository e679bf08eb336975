import math
from functools import partial

import numpy as np
import pytest
import torch
from scipy.ndimage import affine_transform, gaussian_filter
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import jaccard_score
from torch import nn
from torch.testing import assert_close

from course_lib.classifiers import (
    accuracy,
    attributes_step,
    classifier_step,
    few_label_accuracy,
    intersection_over_union,
    labels_per_class,
    random_affine,
    read_attributes,
    segmenter_step,
    train_on_samples,
)
from course_lib.datasets import batches
from course_lib.networks import mlp
from course_lib.training import train


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def smooth_images(n, h=28, w=28, seed=0):
    """Smooth, and 0 near the border, so that what lies outside plays no part."""
    x = np.zeros((n, h, w))
    x[:, 8:-8, 8:-8] = np.random.default_rng(seed).random((n, h - 16, w - 16))
    return torch.from_numpy(gaussian_filter(x, (0, 1.5, 1.5)))[:, None]  # cut off after 4σ: the border is 0


class Fixed:
    """Stands in for torch.rand inside random_affine: all four draws at an end of their ranges, or at 0."""

    def __init__(self, monkeypatch):
        self.patch = monkeypatch

    def at(self, angle=0.0, size=0.0, right=0.0, down=0.0):
        u = torch.tensor([angle, size, right, down], dtype=torch.float64)
        drawn = (u[:, None] + 1) / 2
        self.patch.setattr(torch, "rand", lambda *shape, dtype=None, **_: drawn.to(dtype).expand(shape))


@pytest.fixture
def draws(monkeypatch):
    return Fixed(monkeypatch)


# --- random_affine ---------------------------------------------------------------------------------------------------

def test_no_turn_no_scale_no_shift_changes_nothing():
    x = torch.rand(5, 3, 9, 12, generator=seeded(), dtype=torch.float64)
    assert_close(random_affine(x, 0, 0, 0), x, rtol=0, atol=1e-12)


@pytest.mark.parametrize("right, down", [(2, 0), (-2, 0), (0, 2), (0, -2), (2, -1)])
def test_a_shift_by_whole_pixels_is_a_roll(draws, right, down):
    x = smooth_images(2, 40, 32)
    draws.at(right=-right / (0.5 * 32), down=-down / (0.5 * 40))  # the draw says from where in the input a pixel comes
    assert_close(random_affine(x, 0, 0, shift=0.5), torch.roll(x, (right, down), dims=(3, 2)), rtol=0, atol=1e-12)


@pytest.mark.parametrize("h, w", [(28, 28), (28, 36), (40, 28)])
@pytest.mark.parametrize("angle", [-30, -10, 10, 25])
def test_a_turn_is_scipy_s(draws, angle, h, w):
    x = smooth_images(1, h, w)
    draws.at(angle=1.0)
    turned = random_affine(x, degrees=angle, scale=0, shift=0)
    # Both interpolate linearly between the same four pixels, so they agree to rounding where scipy has all four.
    a = math.radians(angle)
    rows_and_columns = np.array([[math.cos(a), math.sin(a)], [-math.sin(a), math.cos(a)]])
    centre = np.array([(h - 1) / 2, (w - 1) / 2])
    oracle = affine_transform(x[0, 0].numpy(), rows_and_columns, centre - rows_and_columns @ centre, order=1)
    assert_close(turned[0, 0].numpy(), oracle, rtol=0, atol=1e-9)
    assert abs(oracle - x[0, 0].numpy()).max() > 0.05  # and it has turned


@pytest.mark.parametrize("size", [0.8, 1.25])
def test_a_scale_enlarges(draws, size):
    x = smooth_images(1)
    draws.at(size=1.0)
    scaled = random_affine(x, 0, scale=size - 1, shift=0)
    oracle = affine_transform(x[0, 0].numpy(), np.eye(2) / size, 13.5 - 13.5 / size, order=1)
    assert_close(scaled[0, 0].numpy(), oracle, rtol=0, atol=1e-9)
    assert abs(scaled.sum() / x.sum() / size**2 - 1) < 0.01  # an area grows by size²


def test_draws_are_within_their_ranges_and_each_image_has_its_own():
    # A blob's centre of mass shows its shift; spread of U[−s, s]: s/√3. 5σ of a std from 2,000: 6e-7 of seeds, twice.
    x = torch.zeros(2000, 1, 21, 21, dtype=torch.float64)
    x[:, :, 9:12, 9:12] = 1
    moved = random_affine(x, 0, 0, shift=0.2, generator=seeded())
    ticks = torch.arange(21, dtype=torch.float64) - 10
    for sums in (moved.sum((1, 2)), moved.sum((1, 3))):
        at = (sums * ticks).sum(1) / sums.sum(1) / 21
        assert at.abs().max() <= 0.2 and at.abs().max() > 0.195
        assert abs(at.mean()) < 5 * 0.2 / math.sqrt(3 * 2000) and abs(at.std() * math.sqrt(3) / 0.2 - 1) < 5 * 0.01
    assert len(moved.flatten(1).unique(dim=0)) == 2000


def test_the_generator_fixes_the_draws():
    x = smooth_images(3)
    assert torch.equal(random_affine(x, generator=seeded(1)), random_affine(x, generator=seeded(1)))
    assert not torch.equal(random_affine(x, generator=seeded(1)), random_affine(x, generator=seeded(2)))
    with pytest.raises(ValueError, match=r"x has shape \(28, 28\)"):
        random_affine(x[0, 0])


# --- training and accuracy -------------------------------------------------------------------------------------------

def test_classifier_step_is_maximum_likelihood_by_hand():
    g = seeded()
    x, y = torch.randn(12, 4, generator=g, dtype=torch.float64), torch.randint(3, (12,), generator=g)
    torch.manual_seed(0)
    model, by_hand = (nn.Linear(4, 3).double() for _ in range(2))
    by_hand.load_state_dict(model.state_dict())
    log = classifier_step(iter([(x, y)]), model, torch.optim.SGD(model.parameters(), lr=0.5), augment=lambda x: 2 * x)
    logits = (2 * x) @ by_hand.weight.T + by_hand.bias
    p = logits.exp() / logits.exp().sum(1, keepdim=True)
    assert_close(log["loss"], -p[torch.arange(12), y].log().mean().detach())
    slope = (p - torch.eye(3, dtype=torch.float64)[y]) / 12                # of the loss by the logits
    assert_close(model.weight.detach(), (by_hand.weight - 0.5 * slope.T @ (2 * x)).detach())
    assert_close(model.bias.detach(), (by_hand.bias - 0.5 * slope.sum(0)).detach())


def test_a_classifier_learns_what_can_be_told_apart():
    x, y = gaussians(300, distance=4)
    torch.manual_seed(0)
    model = mlp([5, 16, 3])
    step = partial(classifier_step, model=model, opt=torch.optim.Adam(model.parameters(), 1e-2))
    list(train(step, batches((x, y), 64), 150))
    assert accuracy(model, *gaussians(300, distance=4, seed=1)) > 0.9


def test_accuracy_counts():
    logits = torch.tensor([[3.0, 1, 2], [0, 5, 1], [1, 0, 2], [9, 8, 7]])
    assert accuracy(lambda x: x, logits, torch.tensor([0, 1, 2, 0])) == 1
    assert accuracy(lambda x: x, logits, torch.tensor([0, 1, 1, 1])) == 0.5
    many = logits.repeat(1501, 1)  # over the seam of the blocks
    assert accuracy(lambda x: x, many, torch.tensor([0, 1, 2, 1]).repeat(1501)) == 0.75
    with pytest.raises(ValueError, match="4 images and 3 labels"):
        accuracy(lambda x: x, logits, torch.tensor([0, 1, 2]))


# --- train on samples, test on real data ---------------------------------------------------------------------------

def bars(n, classes=3, seed=0):
    """Images with noise and a bright row: the class says which. Three of them, and the real world's."""
    g = seeded(seed)
    y = torch.randint(classes, (n,), generator=g)
    x = 0.3 * torch.rand(n, 1, 8, 8, generator=g)
    x[torch.arange(n), 0, 2 * y + 1] += 0.7
    return x, y


def test_good_samples_train_a_classifier_and_bad_ones_do_not():
    test = bars(300, seed=1)
    x, y = bars(300)
    short = {"steps": 60, "batch_size": 32, "width": 8}
    assert train_on_samples(x, y, *test, **short) > 0.95
    assert train_on_samples(torch.rand_like(x), y, *test, **short) < 0.7                    # chance is 1/3
    dropped = y != 2
    reached = train_on_samples(x[dropped], y[dropped], *test, **short)
    assert reached == pytest.approx((test[1] != 2).float().mean().item(), abs=0.05)         # a class never seen
    wrong = train_on_samples(x, (y + 1) % 3, *test, **short)
    assert wrong < 0.05                                                                     # samples' labels teach


def test_the_seed_fixes_it_and_torch_s_own_random_state_stays():
    (x, y), test = bars(100), bars(200, seed=1)
    def run(**kw):
        return train_on_samples(x, y, *test, **{"steps": 8, "batch_size": 16, "width": 4, **kw})
    before = torch.get_rng_state()
    first = run()
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(5)
    assert run() == first
    assert len({run(seed=s) for s in range(4)}) > 1 and len({run(steps=s) for s in (1, 8, 20)}) > 1
    as_bytes = train_on_samples((255 * x).byte(), y, (255 * test[0]).byte(), test[1], steps=60, batch_size=16, width=4)
    assert as_bytes > 0.9
    assert 0 <= run(batch_size=1000) <= 1                          # more than there are samples
    right = [train_on_samples(x, y, test[0][of_c], test[1][of_c], 8, 16, width=4) * of_c.sum()
             for of_c in (test[1] == c for c in range(3))]
    assert sum(right) / 200 == pytest.approx(first)           # what else is tested makes no difference


@pytest.mark.parametrize("change, message", [
    ({"labels": torch.zeros(9).long()}, r"labels has shape \(9,\); it must be \(10,\)"),
    ({"test_images": torch.rand(5, 1, 9, 8)}, r"test_images has shape \(5, 1, 9, 8\); it must be \(any, 1, 8, 8\)"),
    ({"samples": torch.rand(10, 8, 8)}, r"samples has shape \(10, 8, 8\)"), ({"steps": 0}, "0 steps"),
    ({"samples": torch.rand(0, 1, 8, 8), "labels": torch.zeros(0).long()}, "there are 0 samples"),
    ({"test_labels": torch.zeros(4).long()}, "5 images and 4 labels"),
])
def test_train_on_samples_refuses(change, message):
    arguments = {"samples": torch.rand(10, 1, 8, 8), "labels": torch.zeros(10).long(),
                 "test_images": torch.rand(5, 1, 8, 8), "test_labels": torch.zeros(5).long(), "steps": 1} | change
    with pytest.raises(ValueError, match=message):
        train_on_samples(**arguments)


# --- few labels ------------------------------------------------------------------------------------------------------

def gaussians(n, distance, seed=0):
    """3 classes in 5 dimensions, σ = 1, their means ``distance`` from 0 along three axes."""
    g = seeded(seed)
    y = torch.randint(3, (n,), generator=g)
    return torch.randn(n, 5, generator=g) + distance * torch.eye(5)[y], y


def test_labels_per_class_draws_n_of_each_without_repeating():
    y = torch.tensor([7] * 30 + [2] * 50 + [4] * 20)[torch.randperm(100, generator=seeded())]
    index = labels_per_class(y, 20, seeded(1))
    assert len(index) == len(set(index.tolist())) == 60
    assert y[index].bincount().tolist() == [0, 0, 20, 0, 20, 0, 0, 20]
    assert not torch.equal(index, labels_per_class(y, 20, seeded(2)))
    assert torch.equal(index, labels_per_class(y, 20, seeded(1)))


def test_labels_per_class_draws_each_image_alike():
    y = torch.arange(40) % 2
    counts = sum(torch.bincount(labels_per_class(y, 5, seeded(s)), minlength=40) for s in range(400))
    # Each of 40 is drawn with p = 1/4: binomial, σ = √(400·3/16) = 8.7; 5σ in 40 places: 1 choice of seeds in 40,000.
    assert (counts - 100).abs().max() < 5 * math.sqrt(400 * 3 / 16)


@pytest.mark.parametrize("n, message", [(11, "class 1 has 10 images, but n is 11"), (0, "n is 0"), (-1, "n is -1")])
def test_labels_per_class_refuses(n, message):
    with pytest.raises(ValueError, match=message):
        labels_per_class(torch.tensor([0] * 20 + [1] * 10), n)


def test_few_labels_are_enough_where_classes_lie_apart_and_useless_on_noise():
    x, y = gaussians(600, 10)
    test_x, test_y = gaussians(600, 10, seed=1)
    assert few_label_accuracy(x, y, test_x, test_y, 5) > 0.99
    shuffled = test_y[torch.randperm(600, generator=seeded(2))]
    reached = few_label_accuracy(x, y, test_x, shuffled, 5)
    assert abs(reached - 1 / 3) < 5 * math.sqrt(2 / 9 / 600)  # chance: a binomial at 5σ, 6e-7 of seeds


def test_few_label_accuracy_is_sklearn_s_on_features_of_mean_variance_1():
    (x, y), (test_x, test_y) = gaussians(300, 1.5), gaussians(200, 1.5, seed=1)
    x, test_x = (torch.cat([5 * part, torch.full((len(part), 1), 300.0)], 1) for part in (x, test_x))
    chosen = labels_per_class(y, 8, seeded(4))
    mean = x.numpy().mean(0, dtype=np.float64)
    scale = x.numpy().astype(np.float64).var(0, ddof=1).mean() ** 0.5
    fitted = LogisticRegression(max_iter=2000).fit((x[chosen].numpy() - mean) / scale, y[chosen].numpy())
    assert few_label_accuracy(x, y, test_x, test_y, 8, seed=4) == fitted.score((test_x.numpy() - mean) / scale, test_y)


def test_few_label_accuracy_hangs_on_the_draw_but_not_on_the_unit():
    (x, y), (test_x, test_y) = gaussians(300, 1.0), gaussians(500, 1.0, seed=1)
    score = few_label_accuracy(x, y, test_x, test_y, 3, seed=1)
    assert score == few_label_accuracy(x, y, test_x, test_y, 3, seed=1)
    assert score == few_label_accuracy(1024 * x, y, 1024 * test_x, test_y, 3, seed=1)  # a power of 2: not a bit is lost
    assert len({few_label_accuracy(x, y, test_x, test_y, 3, seed=s) for s in range(4)}) > 1


def test_features_that_say_nothing_are_refused():
    with pytest.raises(ValueError, match="features are the same for every image"):
        few_label_accuracy(torch.ones(20, 3), torch.arange(20) % 2, torch.ones(4, 3), torch.zeros(4), 2)


# --- several attributes, and pixels --------------------------------------------------------------------------------

def test_attributes_step_is_maximum_likelihood_for_each_attribute_by_hand():
    """The gradient of −Σ_a log p_a is softmax − one-hot in every block, divided by the batch's size."""
    model = nn.Linear(4, 2 + 3, bias=False, dtype=torch.float64)
    torch.manual_seed(0)
    x, y = torch.randn(6, 4, dtype=torch.float64), torch.tensor([[0, 2], [1, 1], [1, 0], [0, 0], [1, 2], [0, 1]])
    logits = (x @ model.weight.T).detach()
    p = torch.cat([logits[:, :2].softmax(1), logits[:, 2:].softmax(1)], 1)
    one_hot = torch.cat([nn.functional.one_hot(y[:, 0], 2), nn.functional.one_hot(y[:, 1], 3)], 1)
    expected = model.weight.detach() - 0.1 * (p - one_hot).T @ x / 6
    log = attributes_step(iter([(x, y)]), model, torch.optim.SGD(model.parameters(), lr=0.1), sizes=(2, 3))
    assert_close(model.weight.detach(), expected)
    by_hand = -p.gather(1, y + torch.tensor([0, 2])).log().sum(1).mean()
    assert_close(log["loss"], by_hand)


def test_attributes_are_read_block_by_block():
    def model(x):
        return x.flatten(1)                             # its images are the logits
    logits = torch.tensor([[3.0, 1, 0, 0, 9], [0, 1, 5, 4, 4.5]]).view(2, 1, 1, 5)
    assert read_attributes(model, logits, (2, 3)).tolist() == [[0, 2], [1, 0]]
    with pytest.raises(RuntimeError, match="split"):
        read_attributes(model, logits, (2, 2))


def test_segmenter_step_is_maximum_likelihood_for_each_pixel():
    torch.manual_seed(0)
    model = nn.Conv2d(2, 3, 1, dtype=torch.float64)
    x, y = torch.rand(4, 2, 5, 6, dtype=torch.float64), torch.randint(3, (4, 5, 6)).to(torch.uint8)
    by_hand = -model(x).log_softmax(1).gather(1, y.long()[:, None]).mean()
    before = [p.detach().clone() for p in model.parameters()]
    gradients = torch.autograd.grad(by_hand, list(model.parameters()))
    log = segmenter_step(iter([(x, y)]), model, torch.optim.SGD(model.parameters(), lr=0.5))
    assert_close(log["loss"], by_hand.detach())
    for p, old, g in zip(model.parameters(), before, gradients, strict=True):
        assert_close(p.detach(), old - 0.5 * g)


def test_intersection_over_union_is_sklearn_s():
    predicted, true = (torch.randint(4, (6, 9, 7), generator=seeded(k)).to(torch.uint8) for k in (0, 1))
    oracle = jaccard_score(true.flatten(), predicted.flatten(), average=None)
    assert_close(intersection_over_union(predicted, true, 4), torch.from_numpy(oracle))
    assert intersection_over_union(true, true, 5).tolist()[:4] == [1.0] * 4
    assert math.isnan(intersection_over_union(true, true, 5)[4])                # a class that is nowhere
    with pytest.raises(ValueError, match="same"):
        intersection_over_union(predicted, true[:3], 4)
