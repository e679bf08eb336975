"""The course's measuring instrument."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from course_lib.networks.layers import DIGIT


class ConvClassifier(nn.Module):
    """A small convolutional classifier: the course's measuring instrument.

    ``features``: (B, C, H, W) in [0, 1] → (B, 4 width); calling it gives the logits (B, classes).
    """

    def __init__(self, classes: int = 10, image: tuple = DIGIT, width: int = 32):
        super().__init__()
        def block(n_in, n_out):
            return [nn.Conv2d(n_in, n_out, 3, padding=1, bias=False), nn.BatchNorm2d(n_out), nn.ReLU()]
        self.body = nn.Sequential(
            *block(image[0], width), nn.MaxPool2d(2),                    # (B, width, H/2, W/2)
            *block(width, 2 * width), *block(2 * width, 2 * width), nn.MaxPool2d(2),   # (B, 2 width, H/4, W/4)
            *block(2 * width, 4 * width))                                # (B, 4 width, H/4, W/4)
        self.head = nn.Linear(4 * width, classes)

    def features(self, x: Tensor) -> Tensor:
        return F.adaptive_max_pool2d(self.body(x), 1).flatten(1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x))
