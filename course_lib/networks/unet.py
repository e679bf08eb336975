"""The networks of diffusion models: a U-Net that is told the time and, if asked, the class; an MLP for points."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_lib.checks import require, require_shape
from course_lib.networks.layers import DIGIT, mlp

GROUPS = 8          # of channels, each normalised by itself


def time_embedding(t: Tensor, size: int, longest: float = 10_000.0) -> Tensor:
    """cos and sin of t at size/2 frequencies from 1 down to 1/longest: (B,) → (B, size), size even.

    Near times have near embeddings, and each component changes at a speed of its own.
    Vaswani et al. 2017, section 3.5; Ho, Jain and Abbeel 2020, section 4.
    """
    require_shape("t", t, None)
    require(size >= 2 and size % 2 == 0, f"size is {size}; it must be even, 2 or more: half cosines, half sines.")
    at = torch.exp(-math.log(longest) * torch.arange(size // 2, device=t.device) / (size // 2))
    angle = t[:, None].float() * at                                             # (B, size/2)
    return torch.cat([angle.cos(), angle.sin()], 1)


def zero_init(layer: nn.Module) -> nn.Module:
    """layer itself, with weights and bias 0: a residual block that ends in it is the identity before training."""
    for p in layer.parameters():
        nn.init.zeros_(p)
    return layer


class ResBlock(nn.Module):
    """x + conv(SiLU(norm(conv(SiLU(norm(x))))·(1 + scale) + shift)), scale and shift from the embedding of time.

    (B, n_in, H, W) and (B, embedding) → (B, n_out, H, W). Where n_out differs, x goes through a 1×1 convolution. The
    last convolution begins as 0. He et al. 2016; Dhariwal and Nichol 2021, section 3 (adaptive group normalisation).
    """

    def __init__(self, n_in: int, n_out: int, embedding: int):
        super().__init__()
        self.norm1, self.conv1 = nn.GroupNorm(GROUPS, n_in), nn.Conv2d(n_in, n_out, 3, padding=1)
        self.told = nn.Linear(embedding, 2 * n_out)
        self.norm2, self.conv2 = nn.GroupNorm(GROUPS, n_out), zero_init(nn.Conv2d(n_out, n_out, 3, padding=1))
        self.skip = nn.Conv2d(n_in, n_out, 1) if n_in != n_out else nn.Identity()

    def forward(self, x: Tensor, emb: Tensor) -> Tensor:
        h = self.conv1(F.silu(self.norm1(x)))
        scale, shift = self.told(F.silu(emb))[:, :, None, None].chunk(2, dim=1)  # (B, n_out, 1, 1) each
        h = self.conv2(F.silu(torch.addcmul(shift, self.norm2(h), 1 + scale)))
        return self.skip(x) + h


class SelfAttention(nn.Module):
    """Each pixel takes from all others what it asks for: x + W·softmax(q·k/√d)·v. (B, C, H, W) → the same.

    heads: so many such questions side by side, each over C/heads channels. W begins as 0. Vaswani et al. 2017, 3.2.
    """

    def __init__(self, channels: int, heads: int = 2):
        super().__init__()
        require(channels % heads == 0, f"there are {channels} channels for {heads} heads; they must divide evenly.")
        self.heads, self.norm = heads, nn.GroupNorm(GROUPS, channels)
        self.qkv, self.out = nn.Conv2d(channels, 3 * channels, 1), zero_init(nn.Conv2d(channels, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        b, c, h, w = x.shape
        q, k, v = self.qkv(self.norm(x)).view(b, 3, self.heads, c // self.heads, h * w).transpose(3, 4).unbind(1)
        seen = F.scaled_dot_product_attention(q, k, v)                           # (B, heads, HW, C/heads)
        return x + self.out(seen.transpose(2, 3).reshape(b, c, h, w))


class UNet(nn.Module):
    """Predicts, for each pixel of a noisy image, what a diffusion model asks for. (B, C, H, W), t (B,) → (B, C, H, W).

    widths: channels at each size; every next one has half the side, so sides must be divisible by 2^(len(widths) − 1).
    At each size one residual block on the way down and one on the way up, which also sees what the way down saw there;
    attention at the smallest size, between two more blocks.
    classes: 0, or K: then it takes labels y (B,) from 0 to K − 1, and K, ``null``, says "no class given"; y None is K
    for all.  T: what t counts up to; the embedding is of 1000·t/T, so any T uses the same range.
    All residual branches and the last convolution begin as 0: before training, the output is 0.
    Raises ValueError for sizes that do not divide, other shapes of x, t and y, and for y without classes.
    Ronneberger et al. 2015; Ho, Jain and Abbeel 2020, appendix B; Dhariwal and Nichol 2021.
    """

    def __init__(self, image: tuple = DIGIT, widths: Sequence[int] = (32, 64, 64), classes: int = 0, T: int = 1000,
                 embedding: int = 128):
        super().__init__()
        (c, h, w), fold = image, 2 ** (len(widths) - 1)
        require(h % fold == 0 and w % fold == 0, f"image is {image}; with {len(widths)} sizes, height and width must "
                                                 f"be multiples of {fold}: pad it, or give fewer widths.")
        require(all(n % GROUPS == 0 for n in widths), f"widths are {tuple(widths)}; each must be a multiple of "
                                                      f"{GROUPS}, the number of groups that are normalised.")
        self.image, self.T, self.null = tuple(image), T, classes
        self.time = nn.Sequential(nn.Linear(embedding, embedding), nn.SiLU(), nn.Linear(embedding, embedding))
        self.label = nn.Embedding(classes + 1, embedding) if classes else None
        self.stem, self.down, self.up = nn.Conv2d(c, widths[0], 3, padding=1), nn.ModuleList(), nn.ModuleList()
        for n, deeper in itertools.pairwise((*widths, None)):
            halve = nn.Conv2d(n, deeper, 3, stride=2, padding=1) if deeper else nn.Identity()
            double = nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(deeper, n, 3, padding=1)) if deeper else (
                nn.Identity())
            self.down.append(nn.ModuleList([ResBlock(n, n, embedding), halve]))
            self.up.insert(0, nn.ModuleList([double, ResBlock(2 * n, n, embedding)]))
        self.middle = nn.ModuleList([ResBlock(n, n, embedding), SelfAttention(n), ResBlock(n, n, embedding)])
        self.head = nn.Sequential(nn.GroupNorm(GROUPS, widths[0]), nn.SiLU(),
                                  zero_init(nn.Conv2d(widths[0], c, 3, padding=1)))

    def forward(self, x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        require_shape("x", x, None, *self.image)
        require_shape("t", t, len(x))
        require(y is None or self.label is not None, "labels were given, but this network knows none: build it with "
                                                     "classes=….")
        if y is not None:
            require_shape("y", y, len(x))
        emb = self.time(time_embedding(1000 * t / self.T, self.time[0].in_features))
        if self.label is not None:
            emb = emb + self.label(torch.full_like(t, self.null) if y is None else y)
        h, seen = self.stem(x), []
        for block, halve in self.down:
            h = block(h, emb)
            seen.append(h)                                  # (B, widths[0], H, W) … (B, widths[-1], H/fold, W/fold)
            h = halve(h)
        before, attention, after = self.middle
        h = after(attention(before(h, emb)), emb)
        for double, block in self.up:
            h = block(torch.cat([double(h), seen.pop()], 1), emb)
        with torch.autocast(x.device.type, enabled=False):  # under bfloat16, all but the output's last digits are
            return self.head(h.float())                     # (B, C, H, W)


class TimedMLP(nn.Module):
    """Linear layers that are told the time, for points: (B, d), t (B,) → (B, d).

    hidden: the sizes between; T: what t counts up to, as for ``UNet``: an integer, or 1 for times in [0, 1].
    """

    def __init__(self, d: int = 2, hidden: Sequence[int] = (128, 128, 128), T: int = 1000, embedding: int = 64):
        super().__init__()
        self.d, self.T, self.embedding = d, T, embedding
        self.net = mlp([d + embedding, *hidden, d], nn.SiLU)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        require_shape("x", x, None, self.d)
        require_shape("t", t, len(x))
        return self.net(torch.cat([x, time_embedding(1000 * t / self.T, self.embedding).to(x)], 1))
