"""The slope of a critic: where it is how large, what holds it in a step, and what can be said of it from the weights.

For a critic of layers in a row, ∇f is a product of matrices, one a layer. So its size is near a product of numbers, and
so is that of ∂f/∂h, h the activations of some layer, over the layers behind it.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch
from scipy.sparse.linalg import LinearOperator, eigsh
from torch import Tensor, nn

from course_lib.checks import require, require_same_shape, require_shape
from course_lib.gans.critics import _slopes, critic_loss, gradient_penalty
from course_lib.gans.wasserstein import clip_weights
from course_lib.networks import Discriminator
from course_lib.training import update


class LayerSlope(NamedTuple):
    """The most by which one layer can stretch the difference of two inputs.

    layer: its name in the network; kind: its class; slope: that factor, for a linear layer or a convolution its
    operator norm; kernel: the norm of the weight as a matrix (out, all else), which spectral normalisation divides by:
    for a linear layer the same, for a convolution another number. NaN for a layer without weight.
    """

    layer: str
    kind: str
    slope: float
    kernel: float


# --- measured --------------------------------------------------------------------------------------------------------

def slopes_at(critic: Callable[[Tensor], Tensor], points: Tensor, create_graph: bool = False) -> Tensor:
    """‖∇f‖ at each of these points, (n,), in units of f over units of x; ``steepest`` is the largest.

    critic: (n, …) → (n,), each row by itself (no batch norm); points: (n, …); create_graph: so that it can be trained
    by, as a penalty; else detached. Raises ValueError for other shapes.
    """
    require(points.ndim >= 2, f"points has shape {tuple(points.shape)}; it must be (n, …): points (n, d), or images.")
    return _slopes(critic, points, create_graph)


def layer_gradient_norms(f: Discriminator, points: Tensor) -> Tensor:
    """The mean over points of ‖∂f/∂h_l‖, for h_0 = x, h_1, …, h_L what the hidden layers give: (L + 1,), float64.

    f: a critic with L hidden layers, each row by itself; it is left as it is, and measured in double precision, as a
    clipped critic's gradients pass below what single precision holds. points: (n, …). The critic's loss has the same
    gradients, over the size of the batch and with a sign. Raises ValueError for other networks and shapes.
    Gulrajani et al. 2017, figure 1b.
    """
    require(isinstance(f, Discriminator), f"f is a {type(f).__name__}; it must be a networks.Discriminator, whose "
                                          "``layers`` and ``head`` are known.")
    require(points.ndim >= 2 and len(points) >= 1, f"points has shape {tuple(points.shape)}; it must be (n, …).")
    f = _measured(f)
    with torch.enable_grad():
        h = [points.detach().double().requires_grad_()]
        for layer in f.layers:
            h.append(layer(h[-1]))
        values = f.head(h[-1].flatten(1)).squeeze(1)                    # (n,)
        gradients = torch.autograd.grad(values.sum(), h)
    return torch.stack([g.flatten(1).norm(dim=1).mean() for g in gradients])


def weights_of(net: nn.Module) -> Tensor:
    """The weights, without the biases, of all linear layers and convolutions, one after the other: (P,), detached.

    Spectrally normalised ones as they are used, after the division; looking at them moves no power iteration on.
    Raises ValueError where there are none.
    """
    found = [m.weight.detach().flatten() for m in _measured(net, double=False).modules() if isinstance(m, WEIGHTED)]
    require(len(found) > 0, f"a {type(net).__name__} has no linear layer or convolution, so no weights to look at.")
    return torch.cat(found)


class ClippedNorms(NamedTuple):
    """‖∂f/∂h_l‖ for l = 0, …, L, (L + 1,) each, of a critic whose weights all are ±c: by two laws of their signs.

    random: signs drawn by coin; aligned: all paths through a layer agree, W = c·s·tᵀ with signs s and t.
    """

    random: Tensor
    aligned: Tensor


def clipped_gradient_norms(widths: Sequence[int], c: float, negative_slope: float = 0.2) -> ClippedNorms:
    """What to expect of ``layer_gradient_norms`` where clipping has sent every weight to c or −c.

    widths: n_0 (the inputs), …, n_L, of the layers up to the last hidden one; the last weight layer gives one number.
    Half of the units are taken to be on the side where a LeakyReLU has the slope 1, half on the other. Then a random W
    (n × m) turns a gradient g into one of the length c√m·√½(1 + s²)·‖g‖, an aligned one into c√(nm)·½(1 + s)·‖g‖, with
    s the negative slope. float64. Raises ValueError where there is no hidden layer.
    """
    require(len(widths) >= 2, f"widths is {list(widths)}; it must have the inputs and one hidden layer at least.")
    n = torch.tensor([*widths, 1], dtype=torch.float64)
    last = len(widths) - 1                                              # no activation after the last weight layer
    rms, mean = torch.ones(2, last + 1, dtype=torch.float64)
    rms[:last], mean[:last] = math.sqrt((1 + negative_slope**2) / 2), (1 + negative_slope) / 2
    random, aligned = c * n[:-1].sqrt() * rms, c * (n[:-1] * n[1:]).sqrt() * mean           # of layers 1, …, L + 1
    return ClippedNorms(*(factors.flip(0).cumprod(0).flip(0) for factors in (random, aligned)))


# --- held in a step --------------------------------------------------------------------------------------------------

def one_sided_penalty(critic: Callable[[Tensor], Tensor], x: Tensor, y: Tensor, eps: Tensor) -> Tensor:
    """mean max(0, ‖∇f(x̂)‖ − 1)² at x̂ = eps·x + (1 − eps)·y: ``gradient_penalty``, with slopes below 1 free.

    Arguments, result and errors are those of ``gradient_penalty``.  Petzka et al. 2018.
    """
    require_same_shape(x=x, y=y)
    require_shape("eps", eps, len(x))
    eps = eps.view(-1, *[1] * (x.ndim - 1))
    return (slopes_at(critic, eps * x + (1 - eps) * y, create_graph=True) - 1).clamp_min(0).square().mean()


def held_critic_step(batches: Iterator[tuple[Tensor, Tensor]], critic: nn.Module, opt: torch.optim.Optimizer,
                     clip: float = math.inf, penalty: float = 0.0, penalty_of: Callable = gradient_penalty
                     ) -> dict[str, Tensor]:
    """One step of a critic between two fixed sets of samples, its slope held by clipping, by a penalty, or by itself.

    batches: pairs of real x and fake y, (B, …) each; clip: c, every weight is moved into [−c, c] after the update;
    penalty: λ; penalty_of: ``gradient_penalty`` or ``one_sided_penalty``. With neither, as for a spectrally normalised
    critic, the loss is the gap alone. Returns "gap", mean f(x) − mean f(y), before the update, detached. Raises
    ValueError for a clip not above 0 or a penalty below 0.  Arjovsky et al. 2017 and Gulrajani et al. 2017,
    Algorithm 1 of each, the inner loop.
    """
    require(clip > 0, f"clip is {clip}; it must be above 0, such as 0.01; infinity clips nothing.")
    require(penalty >= 0, f"penalty is {penalty}; it must be 0 or more.")
    x, y = next(batches)
    loss = critic_loss(critic(x), critic(y))
    held = penalty * penalty_of(critic, x, y, torch.rand(len(x), dtype=x.dtype, device=x.device)) if penalty else 0.0
    update(opt, loss + held)
    if clip < math.inf:
        clip_weights(critic, clip)
    return {"gap": -loss.detach()}


# --- bounded by the weights ------------------------------------------------------------------------------------------

def power_iteration(weight: Tensor, u: Tensor) -> Iterator[Tensor]:
    """Estimates of σ(W), the largest singular value, for ever: v ← Wᵀu/‖Wᵀu‖, u ← Wv/‖Wv‖, σ ≈ uᵀWv.

    weight: (m, n); u: (m,), where to start, not 0. Each is a lower bound, and no lower than the one before. Raises
    ValueError for other shapes.  Miyato et al. 2018, Algorithm 1.
    """
    require_shape("weight", weight, None, None)
    require_shape("u", u, len(weight))
    require(bool(u.norm() > 0), "u is 0; it must have a direction: draw it at random.")
    return _power_iteration(weight, u)


def _power_iteration(weight, u):
    while True:
        v = nn.functional.normalize(weight.T @ u, dim=0)                # (n,)
        u = nn.functional.normalize(weight @ v, dim=0)                  # (m,)
        yield u @ weight @ v


def convolution_norm(conv: nn.Module, shape: tuple[int, int, int]) -> float:
    """The operator norm of a convolution, strides, padding and all: the most by which it stretches an image.

    conv: an ``nn.Conv2d`` or ``nn.ConvTranspose2d``, whose bias does not count; shape: (C, H, W) of its input. By
    Lanczos' iteration on AᵀA, in double precision. Raises ValueError for another layer.
    """
    require(isinstance(conv, CONVOLUTIONS), f"conv is a {type(conv).__name__}; it must be a Conv2d or ConvTranspose2d.")
    conv = _measured(conv)
    zero = torch.zeros(1, *shape, dtype=torch.float64, requires_grad=True)
    with torch.enable_grad():
        nothing = conv(zero)                                            # its bias alone; linear in ``zero``

    def to_and_fro(image):                                              # AᵀA, both by automatic differentiation
        image = torch.from_numpy(image.reshape(zero.shape)).contiguous()
        with torch.no_grad():
            there = conv(image) - nothing
        back, = torch.autograd.grad(nothing, zero, there, retain_graph=True)
        return back.numpy().ravel()

    n = math.prod(shape)
    start = torch.randn(n, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).numpy()
    there_and_back = to_and_fro(start)
    if n == 1 or not there_and_back.any():                              # neither is a case for Lanczos
        return math.sqrt(start @ there_and_back / (start @ start))
    most, = eigsh(LinearOperator((n, n), matvec=to_and_fro, dtype=float), k=1, v0=start, tol=1e-9,
                  return_eigenvectors=False)
    return math.sqrt(max(most, 0.0))


def layer_slopes(net: nn.Module, x: Tensor) -> list[LayerSlope]:
    """The most by which each layer of a network can stretch, in the order in which x passes them.

    net: linear layers, convolutions, activations, flattening, in a row, each used once; x: (B, …), one row at least,
    for the sizes alone. Measured in double precision and in eval mode; net is left as it is. Raises ValueError for a
    layer whose slope is not known (batch norm among them: in training it has none), and for a network that is not
    a row, such as one with skip connections.
    """
    require(len(x) >= 1, f"x has shape {tuple(x.shape)}; it must have one row at least.")
    net = _measured(net)
    names = {module: name or "the network" for name, module in net.named_modules()}
    parts = list(_parts(net))
    for part in parts:
        require(isinstance(part, (*WEIGHTED, *SLOPES)),
                f"{names[part]} is a {type(part).__name__}, whose slope is not known here; known are "
                f"{', '.join(kind.__name__ for kind in (*WEIGHTED, *SLOPES))}.")
    passed: list[tuple[nn.Module, Tensor, Tensor]] = []
    hooks = [part.register_forward_hook(lambda part, given, out: passed.append((part, given[0], out)))
             for part in parts]
    first = x[:1].detach().double().contiguous()
    with torch.no_grad():
        last = net(first)
    for hook in hooks:
        hook.remove()
    ends = [first, *(out for *_, out in passed)], [*(given for _, given, _ in passed), last]
    in_a_row = all(out.data_ptr() == given.data_ptr() and out.numel() == given.numel()
                   for out, given in zip(*ends, strict=True))
    require(in_a_row and len(passed) == len(parts) == len({part for part, *_ in passed}),
            f"the layers of this {type(net).__name__} do not follow each other in a row, each used once; only then is "
            "the product of their slopes a bound.")
    return [_layer_slope(part, names[part], tuple(given.shape[1:])) for part, given, _ in passed]


def lipschitz_bound(net: nn.Module, x: Tensor) -> float:
    """The product of the most by which each layer can stretch: no slope of net is above it, anywhere.

    Arguments and errors are those of ``layer_slopes``. ``steepest`` finds the slope from below; between the two lies
    what nobody has looked at.  Miyato et al. 2018, equation 7.
    """
    return math.prod(layer.slope for layer in layer_slopes(net, x))


CONVOLUTIONS = (nn.Conv2d, nn.ConvTranspose2d)
WEIGHTED = (nn.Linear, *CONVOLUTIONS)
SLOPES: dict[type, Callable[[nn.Module], float]] = {
    nn.ReLU: lambda _: 1.0, nn.LeakyReLU: lambda layer: max(1.0, abs(layer.negative_slope)), nn.Tanh: lambda _: 1.0,
    nn.Sigmoid: lambda _: 0.25, nn.Identity: lambda _: 1.0, nn.Flatten: lambda _: 1.0, nn.Unflatten: lambda _: 1.0}


def _layer_slope(layer, name, shape):
    if not isinstance(layer, WEIGHTED):
        return LayerSlope(name, type(layer).__name__, SLOPES[type(layer)](layer), math.nan)
    kind = next(k.__name__ for k in WEIGHTED if isinstance(layer, k))   # a parametrized one has a class of its own
    dim = 1 if isinstance(layer, nn.ConvTranspose2d) else 0             # the outputs' place in the weight
    kernel = torch.linalg.matrix_norm(layer.weight.detach().transpose(0, dim).flatten(1), 2).item()
    return LayerSlope(name, kind, kernel if kind == "Linear" else convolution_norm(layer, shape), kernel)


def _parts(module):
    """The layers that do something: those known, and whatever has nothing inside it."""
    children = list(module.children())
    if isinstance(module, (*WEIGHTED, *SLOPES)) or not children:
        if not isinstance(module, nn.ModuleList | nn.Sequential):       # an empty one is no layer
            yield module
        return
    for child in children:
        yield from _parts(child)


def _measured(net: nn.Module, double: bool = True) -> nn.Module:
    """A copy to be looked at: in eval mode, so that no power iteration moves on, and in double precision."""
    net = copy.deepcopy(net).eval()
    return net.double().cpu() if double else net
