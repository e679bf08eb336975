"""What the VAE/GAN's tests share: small smooth networks, a step on fixed images and noise, three passes by hand."""

import copy
import itertools
import math

import torch
from torch import nn
from torch.distributions import Bernoulli, Normal, kl_divergence
from torch.testing import assert_close

from course_lib.gans import vaegan_step
from course_lib.networks import VAE, Discriminator

IMAGE, LATENTS, BATCH = (1, 3, 4), 2, 6
PARTS = ("enc", "dec", "dis")
exactly = {"rtol": 0, "atol": 0}
to_10_digits = {"rtol": 0, "atol": 1e-10}


def normal(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def networks(norm=nn.Identity, seed=0):
    """A VAE and a discriminator of two hidden layers, smooth, in double precision."""
    torch.manual_seed(seed)
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(12, 8), nn.Tanh(), nn.Linear(8, 2 * LATENTS))
    decoder = nn.Sequential(nn.Linear(LATENTS, 9), nn.Tanh(), nn.Linear(9, 12), nn.Sigmoid(), nn.Unflatten(1, IMAGE))
    layers = [nn.Sequential(nn.Flatten(), nn.Linear(12, 7), norm(7), nn.Tanh()),
              nn.Sequential(nn.Linear(7, 5), nn.Tanh())]
    dis = Discriminator(layers, 5)
    with torch.no_grad():
        dis.head.weight.mul_(4)                         # so that Dis is not ½ everywhere
    return VAE(encoder, decoder, LATENTS).double(), dis.double()


def weights(vae, dis):
    return {name: [p.detach().clone() for p in net.parameters()]
            for name, net in zip(PARTS, (vae.encoder, vae.decode, dis), strict=True)}


def step(vae, dis, lr=1.0, seed=5, **settings):
    """One step by gradient descent at this rate, on fixed images and noise; returns its log."""
    opts = [torch.optim.SGD(net.parameters(), lr=lr) for net in (vae.encoder, vae.decode, dis)]
    torch.manual_seed(seed)
    return vaegan_step(itertools.repeat(X), vae, dis, *opts, **settings)


def descents(vae, dis, **settings):
    """By how much each network's weights fall at a learning rate of 1: the gradients that were used."""
    vae, dis = copy.deepcopy(vae), copy.deepcopy(dis)
    before = weights(vae, dis)
    step(vae, dis, **settings)
    after = weights(vae, dis)
    return {name: [b - a for b, a in zip(before[name], after[name], strict=True)] for name in PARTS}


X = normal(BATCH, *IMAGE, seed=1).sigmoid()
VAE_, DIS = networks()


def noise(seed=5):
    torch.manual_seed(seed)
    return [torch.randn(BATCH, LATENTS, dtype=torch.float64) for _ in range(2)]         # ε of q(z|x), and z_p


def terms(vae, dis, layer=2, one_batch=False):
    """The three terms by one forward through torch.distributions; each image judged by itself, or all in one batch."""
    eps, z_p = noise()
    mu, log_var = vae.encoder(X).split(LATENTS, 1)
    q = Normal(mu, log_var.mul(0.5).exp())
    x_tilde, x_p = vae.decode(q.loc + q.scale * eps), vae.decode(z_p)
    if one_batch:
        f_x, f_tilde, _ = dis.layers[0](torch.cat([X, x_tilde, x_p])).chunk(3)
        l_x, l_tilde, l_p = dis(torch.cat([X, x_tilde, x_p])).chunk(3)
    else:
        hidden = [dis.layers[0], nn.Sequential(*dis.layers)][layer - 1]
        f_x, f_tilde = hidden(X), hidden(x_tilde)
        l_x, l_tilde, l_p = dis(X), dis(x_tilde), dis(x_p)
    prior = kl_divergence(q, Normal(0.0, 1.0)).sum(1).mean()
    llike = -Normal(f_tilde, 1.0).log_prob(f_x).sum(1).mean()
    real, fake = torch.ones_like(l_x), torch.zeros_like(l_x)
    judge = lambda logits, truth: Bernoulli(logits=logits).log_prob(truth).mean()
    gan = judge(l_x, real) + judge(l_tilde, fake) + judge(l_p, fake)
    fooled = judge(l_tilde, real) + judge(l_p, real)
    return {"prior": prior, "llike": llike, "gan": gan, "fooled": fooled}


def gradient(loss, net):
    """Of a sum of terms, for one network: from a forward of its own."""
    return torch.autograd.grad(loss, list(net.parameters()))


def three_passes(vae, dis, gamma, saturating, **how):
    """Larsen et al.'s three gradients, a forward for each."""
    terms_of = lambda: terms(vae, dis, **how)
    enc, dec, ascent = terms_of(), terms_of(), terms_of()
    fool = dec["gan"] if saturating else -dec["fooled"]
    return {"enc": gradient(enc["prior"] + enc["llike"], vae.encoder),
            "dec": gradient(gamma * dec["llike"] + fool, vae.decode),
            "dis": [-g for g in gradient(ascent["gan"], dis)]}


def size(tensors):
    return math.sqrt(sum(t.square().sum().item() for t in tensors))


def close(found, wanted, **tolerance):
    assert_close(list(found), list(wanted), **(tolerance or to_10_digits))
