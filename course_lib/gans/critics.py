"""Critics: a network in place of the 1-Lipschitz function whose gap in means is W₁.

A critic f gives values, not logits, (B,): any real number, high on data. Its gap, mean f(x) − mean f(y), is at most
K·W₁ for samples x and y, with K the Lipschitz constant of f: its largest slope ‖∇f‖ on a convex set that holds both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn

from course_lib.checks import require, require_same_shape, require_shape
from course_lib.networks import Generator
from course_lib.training import update


def critic_loss(real_values: Tensor, fake_values: Tensor) -> Tensor:
    """mean f(fake) − mean f(real), to be minimised: minus the gap that the critic is to make large.

    real_values: (B,); fake_values: (B',), the critic's values. Returns a scalar, in units of f; unbounded below unless
    something holds the slope of f. Raises ValueError for other shapes.  Arjovsky et al. 2017, Algorithm 1.
    """
    for name, values in (("real_values", real_values), ("fake_values", fake_values)):
        require_shape(name, values, None)
        require(len(values) >= 1, f"{name} is empty; the loss is a mean over one sample at least.")
    return fake_values.mean() - real_values.mean()


def gradient_penalty(critic: Callable[[Tensor], Tensor], x: Tensor, y: Tensor, eps: Tensor) -> Tensor:
    """mean (‖∇f(x̂)‖ − 1)² at x̂ = eps·x + (1 − eps)·y, places between data and fakes; λ times this is added.

    critic: (B, …) → (B,), each row by itself (no batch norm); x, y: (B, …), real and fake; eps: (B,), in [0, 1].
    Returns a scalar with gradients in the critic's weights, and none in x and y: it says nothing of where samples
    should be. Two-sided: a slope below 1 costs too. Raises ValueError for other shapes.  Gulrajani et al. 2017,
    equation 3.
    """
    require(x.ndim >= 2, f"x has shape {tuple(x.shape)}; it must be (B, …): points (B, d) or images (B, C, H, W).")
    require_same_shape(x=x, y=y)
    require_shape("eps", eps, len(x))
    eps = eps.view(-1, *[1] * (x.ndim - 1))
    slopes = _slopes(critic, eps * x + (1 - eps) * y, create_graph=True)               # (B,)
    return (slopes - 1).square().mean()


def critic_step(batches: Iterator[tuple[Tensor, Tensor]], critic: nn.Module, opt: torch.optim.Optimizer,
                penalty: float = 10.0) -> dict[str, Tensor]:
    """One step of a critic between two fixed sets of samples, up the gap and down the penalty.

    batches: pairs of real x and fake y, (B, …) each; penalty: λ, 10 in the paper; with 0 nothing holds the slope.
    Draws eps ~ U[0, 1]. Returns "gap", mean f(x) − mean f(y), and "penalty", before λ; both before the update,
    detached. Raises ValueError for a penalty below 0.  Gulrajani et al. 2017, Algorithm 1, its inner loop.
    """
    require(penalty >= 0, f"penalty is {penalty}; it must be 0 or more.")
    x, y = next(batches)
    eps = torch.rand(len(x), dtype=x.dtype, device=x.device)
    loss = critic_loss(critic(x), critic(y))
    steep = gradient_penalty(critic, x, y, eps)
    update(opt, loss + penalty * steep)
    return {"gap": -loss.detach(), "penalty": steep.detach()}


def steepest(critic: Callable[[Tensor], Tensor], points: Tensor) -> Tensor:
    """max ‖∇f‖ over these points: the Lipschitz constant of f there, from below.

    critic: (n, …) → (n,), each row by itself; points: (n, …), a fine grid over the region in question; n at least 1.
    Returns a scalar, in units of f over units of x, detached. Raises ValueError for other shapes.
    """
    require(points.ndim >= 2 and len(points) >= 1, f"points has shape {tuple(points.shape)}; it must be (n, …), with "
                                                   "one point at least: a grid on a line is (n, 1).")
    return _slopes(critic, points, create_graph=False).max()


def pushes(loss: Callable[[Tensor], Tensor], network: Callable[[Tensor], Tensor], samples: Tensor) -> Tensor:
    """Where gradient descent would move each sample, if it could move freely: minus the gradient of its own loss.

    loss: a generator's loss, the mean over (n,) outputs, such as ``minimax_generator_loss``, or
    ``hinge_generator_loss``, −f, for a critic; network: a discriminator or critic, (n, …) → (n,), each row by itself;
    samples: (n, …). Returns (n, …), detached. A generator gets these times its own Jacobian. Raises ValueError for
    other shapes.
    """
    with torch.enable_grad():
        at = samples.detach().requires_grad_()
        values = network(at)
        require_shape("network(samples)", values, len(at))
        gradient, = torch.autograd.grad(len(at) * loss(values), at)
    return -gradient


def _slopes(critic, at, create_graph):
    """‖∇f‖ at each of these points, (B,)."""
    with torch.enable_grad():
        at = at.detach().requires_grad_()
        values = critic(at)
        require_shape("critic(x)", values, len(at))
        slope, = torch.autograd.grad(values.sum(), at, create_graph=create_graph)
    return slope.flatten(1).norm(dim=1)


def segment_generator(start: Sequence[float], end: Sequence[float]) -> Generator:
    """z ~ U[−1, 1] to the points of a straight line from start, at z = −1, to end: one linear layer, trainable.

    start, end: d coordinates each. Raises ValueError where they differ in number or have none.
    """
    start, end = torch.tensor(start, dtype=torch.float32), torch.tensor(end, dtype=torch.float32)
    require_same_shape(start=start, end=end)
    require(start.ndim == 1 and len(start) > 0, "start and end must have a coordinate each at least.")
    body = nn.Linear(1, len(start))
    body.load_state_dict({"weight": (end - start)[:, None] / 2, "bias": (start + end) / 2})
    return Generator(body, latents=1, prior="uniform")


class InstanceNoise(nn.Module):
    """A discriminator or critic that sees its input through noise: D(x + σ·ε), ε ~ N(0, I), drawn anew for each call.

    So data and fakes are blurred alike, and both have densities. D: any network, which can still be called by itself;
    std: σ, 0 or more, in units of x; it may be set again as training goes on, and should end at 0. Raises ValueError
    for a std below 0.  Sønderby et al. 2017; Arjovsky & Bottou 2017, section 3.
    """

    def __init__(self, D: nn.Module, std: float):
        super().__init__()
        require(std >= 0, f"std is {std}; it must be 0 or more.")
        self.D, self.std = D, std

    def forward(self, x: Tensor) -> Tensor:
        return self.D(x + self.std * torch.randn_like(x))
