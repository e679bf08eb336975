"""Spoilt images: against scipy, torchvision and loops; what all share: strength 0, chance, range, growth."""

import math

import pytest
import torch
from scipy.ndimage import gaussian_filter
from scipy.ndimage import rotate as scipy_rotate
from torch.testing import assert_close
from torchvision.transforms.functional import resize as torchvision_resize

from course_lib import corruptions
from course_lib.corruptions import CORRUPTIONS
from course_lib.datasets import mnist


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def images(n=5, c=1, h=28, w=28, seed=0, dtype=torch.float32):
    return torch.rand(n, c, h, w, generator=seeded(seed), dtype=dtype)


def digits(n=200):
    return mnist("test").images[:n].float() / 255


# --- what all share --------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("name", CORRUPTIONS)
@pytest.mark.parametrize("shape", [(6, 1, 28, 28), (4, 3, 32, 32), (2, 1, 8, 12), (0, 1, 28, 28)])
def test_strength_0_changes_nothing_and_no_strength_leaves_the_range_or_the_shape(name, shape):
    x = torch.rand(shape, generator=seeded())
    before = x.clone()
    assert torch.equal(CORRUPTIONS[name](x, 0, seeded(1)), x)
    for strength in (0.01, 0.3, 1):
        spoilt = CORRUPTIONS[name](x, strength, seeded(1))
        assert spoilt.shape == x.shape and spoilt.dtype == x.dtype
        assert x.numel() == 0 or (spoilt.min() >= 0 and spoilt.max() <= 1)
        assert torch.equal(spoilt, CORRUPTIONS[name](x, strength, seeded(1)))          # the generator decides
    assert torch.equal(x, before)
    ones = torch.ones_like(x)
    assert x.numel() == 0 or CORRUPTIONS[name](ones, 0.7, seeded(1)).max() <= 1


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_more_strength_spoils_more(name):
    x = digits()
    errors = [(CORRUPTIONS[name](x, s, seeded()) - x).square().mean().item() for s in (0, 0.2, 0.4, 0.6, 0.8, 1)]
    assert errors[0] == 0 and errors == sorted(errors) and len(set(errors)) == 6


@pytest.mark.parametrize("name", ["blur", "noise", "rotation", "black rectangle"])
def test_some_are_continuous_in_their_strength(name):
    x = digits(20)
    for strength in (0.001, 0.1, 1 / 3, 0.5, 2 / 3, 0.9):          # at σ = 1 and 2 pixels, the reach of a blur jumps
        near = [CORRUPTIONS[name](x, strength + e, seeded()) for e in (-1e-6, 1e-6)]
        assert (near[0] - near[1]).abs().max() < 2e-3


@pytest.mark.parametrize("name", ["noise", "salt and pepper", "swapped patches", "mirroring", "black rectangle"])
def test_chance_is_the_generator_s_and_differs_from_image_to_image(name):
    x = images(1).repeat(6, 1, 1, 1)
    spoilt = CORRUPTIONS[name](x, 0.5, seeded())
    assert not torch.equal(spoilt, CORRUPTIONS[name](x, 0.5, seeded(1)))
    assert len(spoilt.flatten(1).unique(dim=0)) == (2 if name == "mirroring" else 6)


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_strengths_outside_0_to_1_and_bytes_are_refused(name):
    for strength in (-0.1, 1.1):
        with pytest.raises(ValueError, match=rf"strength is {strength}; it must be from 0 to 1"):
            CORRUPTIONS[name](images(), strength, seeded())
    with pytest.raises(ValueError, match=r"images are torch\.uint8.*divide by 255"):
        CORRUPTIONS[name]((255 * images()).byte(), 0.5, seeded())
    with pytest.raises(ValueError, match=r"images has shape \(28, 28\)"):
        CORRUPTIONS[name](images()[0, 0], 0.5, seeded())


def test_what_a_strength_means():
    x, c = digits(5), corruptions
    for name, by_hand in {"blur": c.blur(x, 0.9), "noise": c.add_noise(x, 0.18, seeded()), "resizing": c.resize(x, 21),
                          "salt and pepper": c.salt_and_pepper(x, 0.15, seeded()), "rotation": c.rotate(x, 13.5),
                          "swapped patches": c.swap_patches(x, 2, seeded()), "mirroring": c.mirror(x, 0.3, seeded()),
                          "black rectangle": c.cover(x, 0.18, seeded())}.items():
        assert_close(CORRUPTIONS[name](x, 0.3, seeded()), by_hand)
    assert len(CORRUPTIONS) == 8


# --- one by one ------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("sigma", [0.3, 0.5, 1, 1.7, 3, 8])
@pytest.mark.parametrize("h, w", [(28, 28), (12, 20)])
def test_blur_is_scipy_s(sigma, h, w):
    x = images(3, 2, h, w, dtype=torch.float64)
    reach = math.ceil(4 * sigma)
    oracle = gaussian_filter(x.numpy(), (0, 0, sigma, sigma), mode="nearest", radius=(0, 0, reach, reach))
    assert_close(corruptions.blur(x, sigma).numpy(), oracle, rtol=0, atol=1e-12)


def test_blur_keeps_what_is_constant():
    assert_close(corruptions.blur(torch.full((2, 1, 9, 7), 0.4), 2.0), torch.full((2, 1, 9, 7), 0.4))
    assert max(corruptions.blur(torch.ones(1, 1, 28, 28), 0.1 * s).max() for s in range(1, 40)) == 1    # not 1 + 1e-7


def test_noise_has_its_standard_deviation_and_grows_along_one_draw():
    x = torch.full((50, 1, 28, 28), 0.5, dtype=torch.float64)
    weak, strong = (corruptions.add_noise(x, sigma, seeded()) - x for sigma in (0.05, 0.1))
    assert abs(weak.std() / 0.05 - 1) < 5 / math.sqrt(2 * x.numel()) and abs(weak.mean()) < 5 * 0.05 / x.numel()**0.5
    assert_close(strong, 2 * weak, rtol=0, atol=1e-9)              # 0.5 is 5σ off: of 39,200, none is clipped here
    assert corruptions.add_noise(x, 10.0, seeded()).unique().numel() > 2


def test_salt_and_pepper_turns_its_share_half_black_half_white():
    x = torch.full((100, 3, 28, 28), 0.5)
    y = corruptions.salt_and_pepper(x, 0.3, seeded())
    assert torch.equal(y[:, 0], y[:, 1]) and torch.equal(y[:, 0], y[:, 2])
    black, white = (y[:, 0] == 0).float().mean(), (y[:, 0] == 1).float().mean()
    for share in (black, white):                                   # binomial over 78,400 pixels: σ = 0.0013; 5σ
        assert abs(share - 0.15) < 5 * math.sqrt(0.15 * 0.85 / 78_400)
    assert torch.equal(y[y != 0][y[y != 0] != 1].unique(), torch.tensor([0.5]))
    more = corruptions.salt_and_pepper(x, 0.6, seeded())
    assert (more[y != 0.5] == y[y != 0.5]).all()
    assert corruptions.salt_and_pepper(x, 1.0, seeded()).unique().tolist() == [0, 1]


@pytest.mark.parametrize("h, w, cells", [(28, 28, 4), (8, 12, 4), (9, 6, 3), (4, 4, 1)])
def test_swapped_patches_change_places_in_pairs(h, w, cells):
    x = torch.arange(2 * 3 * h * w).view(2, 3, h, w) / (6 * h * w)
    high, wide = h // cells, w // cells
    for n in range(cells**2 // 2 + 1):
        y = corruptions.swap_patches(x, n, seeded(), cells)
        for i in range(2):
            came_from = {}
            for a in range(cells**2):
                def patch(image, b):
                    r, c = divmod(b, cells)
                    return image[:, r * high:(r + 1) * high, c * wide:(c + 1) * wide]
                came_from[a] = next(b for b in range(cells**2) if torch.equal(patch(y[i], a), patch(x[i], b)))
            assert all(came_from[came_from[a]] == a for a in came_from)
            assert sum(a != b for a, b in came_from.items()) == 2 * n


def test_more_swaps_keep_those_before():
    x = images(3)
    two, three = (corruptions.swap_patches(x, n, seeded()) for n in (2, 3))
    moved = two != x
    assert torch.equal(two[moved], three[moved]) and not torch.equal(two, three)


def test_each_pair_of_patches_is_swapped_as_often():
    x = torch.arange(4.0).view(1, 1, 2, 2).repeat(6000, 1, 1, 1) / 4
    swapped = (corruptions.swap_patches(x, 1, seeded(), cells=2) != x).flatten(1)
    pairs, counts = (swapped * torch.tensor([1, 2, 4, 8])).sum(1).unique(return_counts=True)
    assert pairs.tolist() == [3, 5, 6, 9, 10, 12]                  # all pairs of four
    assert (counts - 1000).abs().max() < 5 * math.sqrt(6000 * 5 / 36)              # binomial, p = 1/6; 5σ


@pytest.mark.parametrize("n, cells, message", [
    (9, 4, "n is 9; with 4×4 patches it must be from 0 to 8"), (-1, 4, "n is -1"),
    (1, 5, "28×28 cannot be cut into 5×5"), (1, 0, "cut into 0×0"),
])
def test_swaps_that_cannot_be_are_refused(n, cells, message):
    with pytest.raises(ValueError, match=message):
        corruptions.swap_patches(images(), n, seeded(), cells)


def test_dropped_classes_are_gone_and_the_rest_is_as_it_was():
    x, y = images(9), torch.tensor([0, 1, 2, 0, 1, 2, 5, 5, 0])
    assert torch.equal(corruptions.drop_modes(x, y, [0, 5]), x[[1, 2, 4, 5]])
    assert torch.equal(corruptions.drop_modes(x, y, []), x)
    assert torch.equal(corruptions.drop_modes(x, y, range(1, 3)), x[[0, 3, 6, 7, 8]])
    for classes, message in (([3, 7, 1], "no image has the class 3, 7"), ([0, 1, 2, 5], "no image left")):
        with pytest.raises(ValueError, match=message):
            corruptions.drop_modes(x, y, classes)
    with pytest.raises(ValueError, match=r"labels has shape \(8,\); it must be \(9,\)"):
        corruptions.drop_modes(x, y[:8], [0])


@pytest.mark.parametrize("h, w, side, small", [(28, 28, 14, [14, 14]), (28, 28, 5, [5, 5]), (20, 30, 10, [10, 15]),
                                               (28, 28, 1, [1, 1])])
def test_resize_is_torchvision_s_down_and_up(h, w, side, small):
    x = images(3, 3, h, w)
    down = torchvision_resize(x, small, antialias=True)
    assert_close(corruptions.resize(x, side), torchvision_resize(down, [h, w]).clamp(0, 1), rtol=0, atol=1e-6)
    assert torch.equal(corruptions.resize(x, h), x)


def test_mirror_turns_left_and_right():
    x = images(2000, 1, 3, 4)
    assert torch.equal(corruptions.mirror(x), x[..., [3, 2, 1, 0]])
    half = corruptions.mirror(x, 0.5, seeded())
    turned = (half == x[..., [3, 2, 1, 0]]).all((1, 2, 3))
    assert torch.equal(half[~turned], x[~turned]) and abs(turned.float().mean() - 0.5) < 5 * math.sqrt(0.25 / 2000)


@pytest.mark.parametrize("degrees", [-30.0, 20.0, 90.0])
@pytest.mark.parametrize("h, w", [(40, 40), (40, 56)])
def test_rotate_is_scipy_s_anticlockwise(degrees, h, w):
    x = torch.zeros(1, 1, h, w, dtype=torch.float64)               # 0 near the border: what lies outside plays no part
    x[..., 14:-14, 14:-14] = images(1, 1, h - 28, w - 28, dtype=torch.float64)
    x = torch.from_numpy(gaussian_filter(x.numpy(), (0, 0, 1, 1)))
    oracle = scipy_rotate(x.numpy(), degrees, axes=(3, 2), reshape=False, order=1)
    assert_close(corruptions.rotate(x, degrees).numpy(), oracle, rtol=0, atol=1e-9)
    if h == w and degrees == 90:
        assert_close(corruptions.rotate(x, degrees), x.rot90(1, (2, 3)), rtol=0, atol=1e-9)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.25, 0.6, 1.0])
def test_a_rectangle_covers_its_share_of_the_area(share):
    left = corruptions.cover(torch.ones(300, 2, 20, 30, dtype=torch.float64), share, seeded())
    assert_close(left.mean((1, 2, 3)), torch.full((300,), 1 - share, dtype=torch.float64), rtol=0, atol=1e-12)
    assert torch.equal(left[:, 0], left[:, 1])
    if 0 < share < 1:                                              # anywhere, but never over the edge
        rows, columns = ((1 - left[:, 0]).sum(d) for d in (2, 1))  # (N, H), (N, W)
        for side, along in ((20, rows), (30, columns)):
            at = (along * (torch.arange(side) + 0.5)).sum(1) / along.sum(1) / side
            room = (1 - share**0.5) / 2
            assert abs(at.mean() - 0.5) < 5 * room / math.sqrt(3 * 300) + 0.01 and at.max() - at.min() > 1.9 * room
    if share == 0.25:
        assert left.flatten(1).min(1).values.max() == 0            # black inside


@pytest.mark.parametrize("spoil, value, message", [
    (corruptions.blur, -1, "sigma is -1"), (corruptions.add_noise, -0.5, r"sigma is -0\.5"),
    (corruptions.salt_and_pepper, 1.5, r"share is 1\.5"), (corruptions.mirror, -1, "share is -1"),
    (corruptions.cover, 2, "share is 2"), (corruptions.resize, 0, "side is 0; it must be from 1 to the images' height"),
    (corruptions.resize, 29, "side is 29"),
])
def test_what_is_out_of_range_is_refused(spoil, value, message):
    with pytest.raises(ValueError, match=message):
        spoil(images(), value)
