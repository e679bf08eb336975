"""What stands behind the VAEs' recipes: the paper's network, pixels drawn once, codes drawn from q(z|x)."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from course_lib import networks
from course_lib.autoencoders import iwae_bound
from course_lib.datasets import mnist
from course_lib.recipes import vae


def test_the_network_is_that_of_the_paper():
    """Burda et al. 2016, section 5: 784 – 200 – 200 – 50 – 200 – 200 – 784, tanh between, logits out."""
    torch.manual_seed(0)
    model = vae.burda_vae()
    sizes = [tuple(p.shape) for p in model.parameters() if p.ndim == 2]
    assert sizes == [(200, 784), (200, 200), (100, 200), (200, 50), (200, 200), (784, 200)]
    assert sum(isinstance(m, nn.Tanh) for m in model.modules()) == 4
    assert not any(isinstance(m, nn.ReLU | nn.Sigmoid) for m in model.modules())
    mean = mnist("train").images.double().div(255).mean(0).flatten()
    seen = mean > 1e-3
    assert_close(model.decode[0][-1].bias.detach().sigmoid().double()[seen], mean[seen], rtol=1e-3, atol=1e-6)


def test_test_pixels_are_drawn_once_with_their_grey_levels_as_chances():
    x, grey = vae.binary_test_digits(), mnist("test").floats()[0]
    assert x.shape == (10_000, 1, 28, 28) and set(x.unique().tolist()) == {0.0, 1.0}
    assert torch.equal(x, torch.bernoulli(grey, generator=torch.Generator().manual_seed(0)))
    assert torch.equal(x[grey == 1], torch.ones_like(x[grey == 1])) and not x[grey == 0].any()
    n, p = grey.numel(), grey.double()
    sd = (p * (1 - p)).sum().sqrt() / n
    assert abs(x.double().mean() - p.mean()) < 4.5 * sd                     # fixed draw; a fair one passes in 99.999 %


def test_the_card_s_bounds_are_means_over_the_digits_in_nats(monkeypatch):
    torch.manual_seed(0)
    model = vae.burda_vae().eval()
    few = vae.binary_test_digits()[:40]

    def with_fewer_samples(model, x, k, generator):
        return iwae_bound(model, x, min(k, 50), generator=generator)

    monkeypatch.setattr(vae, "binary_test_digits", lambda device=None: few)
    monkeypatch.setattr(vae, "iwae_bound", with_fewer_samples)
    bounds = vae.bounds(model)
    assert list(bounds) == ["test nats, bound with 1 sample", "test nats, bound with 5000 samples"]
    one, many = bounds.values()
    assert 100 < many < one < 700
    x, generator = vae.binary_test_digits(), torch.Generator().manual_seed(0)
    by_hand = [-iwae_bound(model, part, 1, generator=generator) for part in x.split(20)]
    assert one == pytest.approx(torch.cat(by_hand).mean().item(), rel=1e-6)


def test_drawn_codes_are_draws_from_q():
    torch.manual_seed(0)
    model, x = networks.mlp_vae(3, hidden=(8,)), torch.rand(1, 1, 28, 28)
    encode = vae.drawn_codes(model, torch.Generator().manual_seed(1))
    z = torch.cat([encode(x) for _ in range(4_000)])
    mu, log_var = (t.detach()[0] for t in model.encode(x))
    sd = (log_var / 2).exp()
    assert ((z.mean(0) - mu).abs() < 4.5 * sd / 4_000**0.5).all()           # false alarm: 2 in 100,000
    assert ((z.std(0) / sd - 1).abs() < 4.5 / 8_000**0.5).all()
    again = vae.drawn_codes(model, torch.Generator().manual_seed(1))
    assert torch.equal(again(x), z[:1]) and not torch.equal(z[0], z[1])


def test_the_squared_error_is_the_likelihood_up_to_a_constant():
    from course_lib.autoencoders import ae_loss, gaussian_nll
    torch.manual_seed(0)
    x, x_hat, other = torch.rand(3, 4, 1, 5, 5, dtype=torch.float64)
    nll = [gaussian_nll(mean, x, vae.SIGMA).mean() for mean in (x_hat, other)]
    assert_close(nll[0] - nll[1], ae_loss(x_hat, x) - ae_loss(other, x))


@pytest.mark.parametrize("k, step", [(1, "vae_step"), (50, "iwae_step")])
def test_training_goes_on_from_the_stored_model_up_the_bound_that_was_asked_for(k, step, monkeypatch):
    from course_lib import recipes
    torch.manual_seed(0)
    model, seen = vae.burda_vae(), {}

    def to_the_end(step, data, model, opt, steps, save_to, ema_decay):
        seen.update(step=step, batch=next(iter(data)), weights=[p.detach().clone() for p in model.parameters()],
                    optimised=[id(p) for group in opt.param_groups for p in group["params"]])

    monkeypatch.setattr(vae, "to_the_end", to_the_end)
    vae.fit_on(model, k=k, steps=1, batch_size=3)
    trained = list(recipes.load("vae-binary").parameters())
    assert all(torch.equal(a, b) for a, b in zip(seen["weights"], trained, strict=True))
    assert seen["optimised"] == [id(p) for p in model.parameters()]
    function = seen["step"]
    while hasattr(function.func, "func"):
        function = function.func
    assert function.func is getattr(vae, step) and seen["step"].keywords.get("k", 1) == k
    assert seen["batch"].shape == (3, 1, 28, 28) and set(seen["batch"].unique().tolist()) == {0.0, 1.0}


def test_those_that_went_on_are_held_to_the_model_that_they_began_with():
    """A new vae-binary makes them stale: their cards say so by its SHA-256."""
    from course_lib import recipes
    began = recipes.card("vae-binary")["sha256"]
    for name in ("vae-binary-1", "vae-binary-50"):
        card = recipes.card(name)
        assert card["settings"]["start"] == "vae-binary" and card["data"]["vae-binary.safetensors"] == began
