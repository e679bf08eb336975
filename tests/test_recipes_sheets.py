"""Images as one PNG sheet, as text, and back."""

import base64
import io

import numpy as np
import pytest
import torch
from PIL import Image
from torch.testing import assert_close

from course_lib.recipes.sheets import from_sheet, sheet


def grey_levels(*shape, seed=0):
    return torch.randint(256, shape, generator=torch.Generator().manual_seed(seed)).float() / 255


@pytest.mark.parametrize("shape, columns", [((16, 3, 32, 32), 8), ((6, 1, 5, 7), 3), ((4, 3, 2, 3), 1),
                                            ((3, 1, 2, 2), 3), ((1, 3, 4, 4), 1)])
def test_what_goes_in_comes_out(shape, columns):
    images = grey_levels(*shape)
    back = from_sheet(sheet(images, columns))
    assert back.dtype == torch.float32
    assert_close(back, images, rtol=0, atol=1e-7)


def test_other_values_are_rounded_to_the_nearest_grey_level():
    images = torch.rand(8, 3, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert (from_sheet(sheet(images)) - images).abs().max() <= 0.5 / 255 + 1e-7
    assert torch.equal(from_sheet(sheet(torch.full((1, 1, 2, 2), 1.0), 1)), torch.ones(1, 1, 2, 2))


def test_the_sheet_is_a_picture_row_after_row_that_any_viewer_shows():
    images = grey_levels(6, 3, 4, 5)
    picture = Image.open(io.BytesIO(base64.b64decode(sheet(images, 3))))
    assert picture.format == "PNG" and picture.size == (15, 8) and picture.mode == "RGB"
    array = np.asarray(picture) / 255
    assert array[:4, 5:10] == pytest.approx(images[1].permute(1, 2, 0).numpy(), abs=1e-6)
    assert array[4:, :5] == pytest.approx(images[3].permute(1, 2, 0).numpy(), abs=1e-6)


def test_a_sheet_takes_gradients_off_and_is_the_same_each_time():
    images = grey_levels(8, 1, 3, 3)
    assert sheet(images.clone().requires_grad_()) == sheet(images) and sheet(images).isascii()


@pytest.mark.parametrize("images, columns, message", [
    (torch.zeros(8, 32, 32), 8, r"images has shape \(8, 32, 32\)"), (torch.zeros(8, 2, 4, 4), 8, "2 channels"),
    (torch.zeros(7, 1, 4, 4), 8, "7 images and 8 columns; give whole rows"), (torch.zeros(0, 1, 4, 4), 8, "0 images"),
    (torch.zeros(8, 1, 4, 4), 0, "0 columns"), (torch.full((8, 1, 4, 4), 1.1), 8, r"beyond \[0, 1\]"),
    (torch.full((8, 1, 4, 4), -0.1), 8, r"beyond \[0, 1\]"),
    (torch.full((8, 1, 4, 4), torch.nan), 8, r"beyond \[0, 1\]"),
])
def test_what_is_no_sheet_of_images_is_refused(images, columns, message):
    with pytest.raises(ValueError, match=message):
        sheet(images, columns)


def plain_png():
    out = io.BytesIO()
    Image.new("RGB", (8, 8)).save(out, format="png")
    return base64.b64encode(out.getvalue()).decode()


@pytest.mark.parametrize("text", ["", "no base64!", base64.b64encode(b"no picture").decode(), plain_png(),
                                  sheet(grey_levels(8, 1, 3, 3))[:60]])
def test_text_that_is_no_sheet_is_refused(text):
    with pytest.raises(ValueError, match="no sheet of images"):
        from_sheet(text)
