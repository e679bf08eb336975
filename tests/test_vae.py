from functools import partial

import pytest
import torch
from scipy.optimize import minimize_scalar
from torch.distributions import Normal, kl_divergence
from torch.testing import assert_close

from course_lib.autoencoders import gaussian_nll, kl_normal, vae_step
from course_lib.datasets import batches, faces
from course_lib.networks import conv_vae
from course_lib.training import adam, train


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def test_kl_normal_equals_torch_distributions():
    mu, log_var = (torch.randn(64, 7, dtype=torch.float64, generator=seeded(k)) for k in (0, 1))
    oracle = kl_divergence(Normal(mu, log_var.exp()), Normal(0.0, 1.0)).sum(1)         # σ here, and σ² = exp(2 log σ)
    assert_close(kl_normal(mu, 2 * log_var), oracle)


def test_kl_normal_refuses_shapes_that_would_broadcast():
    with pytest.raises(ValueError, match=r"log_var.*\(4, 1\).*\(4, 3\)"):
        kl_normal(torch.zeros(4, 3), torch.zeros(4, 1))


def test_gaussian_nll_is_the_least_over_all_variances():
    x, x_hat = (torch.rand(5, 3, 4, 4, dtype=torch.float64, generator=seeded(k)) for k in (0, 1))

    def nll(log_sigma):
        sigma = torch.tensor(log_sigma, dtype=torch.float64).exp()
        return -Normal(x_hat, sigma).log_prob(x).sum((1, 2, 3)).mean().item()

    best = minimize_scalar(nll, bounds=(-5, 3), method="bounded", options={"xatol": 1e-9})
    assert_close(gaussian_nll(x_hat, x).item(), best.fun, rtol=1e-9, atol=0)


def test_gaussian_nll_refuses_shapes_that_would_broadcast():
    with pytest.raises(ValueError, match=r"x has shape \(4, 1, 3, 3\)"):
        gaussian_nll(torch.zeros(4, 2, 3, 3), torch.zeros(4, 1, 3, 3))


def test_vae_step_descends_the_negative_elbo_with_the_noise_that_torch_draws():
    torch.manual_seed(0)
    model, x = conv_vae(3, channels=4).double(), torch.rand(6, 3, 32, 32, dtype=torch.float64)
    torch.manual_seed(1)
    eps = torch.randn(6, 3, dtype=torch.float64)
    mu, log_var = model.encoder(x).split(3, 1)
    x_hat = model.decode(mu + log_var.exp().sqrt() * eps)
    variance = (x_hat - x).pow(2).mean()
    nll = -Normal(x_hat, variance.sqrt()).log_prob(x).sum((1, 2, 3)).mean()
    kl = kl_divergence(Normal(mu, log_var.exp().sqrt()), Normal(0.0, 1.0)).sum(1).mean()
    gradients = torch.autograd.grad(nll + kl, list(model.parameters()))
    before = [p.detach().clone() for p in model.parameters()]
    torch.manual_seed(1)
    log = vae_step(iter([x]), model, torch.optim.SGD(model.parameters(), lr=1e-6))
    assert_close(log["nll"], nll.detach())
    assert_close(log["kl"], kl.detach())
    for p, old, g in zip(model.parameters(), before, gradients, strict=True):
        assert_close(p.detach(), old - 1e-6 * g)


def test_a_vae_learns_faces():
    torch.manual_seed(0)
    x, model = faces("test").images[:256], conv_vae(8, channels=8)
    opt = adam(model, 3e-3)
    logs = [log for _, log in train(partial(vae_step, model=model, opt=opt), batches(x, 64), 60)]
    assert logs[-1]["nll"] < logs[0]["nll"] - 250
