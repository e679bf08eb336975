import pytest
import torch
from torch import nn
from torch.testing import assert_close

from course_lib.networks import (
    Autoencoder,
    Constant,
    ConvClassifier,
    Segmenter,
    conv_autoencoder,
    conv_decoder,
    conv_encoder,
    conv_vae,
    linear_autoencoder,
    mlp,
    mlp_autoencoder,
    mlp_decoder,
    mlp_encoder,
)

DIGITS, FACES = (1, 28, 28), (3, 32, 32)
each_image = pytest.mark.parametrize("image", [DIGITS, FACES, (2, 8, 12)])
each_image_of_eighths = pytest.mark.parametrize("image", [FACES, (2, 8, 16)])


def images(image, n=5, seed=0):
    return torch.rand(n, *image, generator=torch.Generator().manual_seed(seed))


def test_mlp_is_the_product_of_its_layers():
    torch.manual_seed(0)
    net, x = mlp([3, 5, 4, 2]), torch.randn(7, 3)
    h = x
    for k in (0, 2, 4):
        h = h @ net[k].weight.T + net[k].bias
        h = h.clamp_min(0) if k < 4 else h
    assert_close(net(x), h)
    assert [type(layer).__name__ for layer in mlp([1, 2, 3], nn.Tanh)] == ["Linear", "Tanh", "Linear"]
    assert len(mlp([4, 1])) == 1 and (mlp([3, 2])(10 * x) < 0).any()  # the last layer is linear: no sign is cut off


@pytest.mark.parametrize("sizes", [[], [3]])
def test_mlp_needs_two_sizes(sizes):
    with pytest.raises(ValueError, match=r"sizes is \[.*input and an output"):
        mlp(sizes)


@each_image
@pytest.mark.parametrize("build", [mlp_autoencoder, conv_autoencoder, linear_autoencoder])
def test_autoencoders_go_through_their_latents(build, image):
    torch.manual_seed(0)
    model, x = build(6, image=image), images(image)
    z = model.encode(x)
    assert isinstance(model, Autoencoder) and model.latents == 6 and z.shape == (5, 6)
    assert model(x).shape == x.shape and torch.equal(model(x), model.decode(z))
    assert len({tuple(row.tolist()) for row in z}) == 5  # another code for another image
    assert z.min() < 0 < z.max()  # and codes of both signs: nothing is cut off
    for p in model.parameters():
        assert torch.autograd.grad(model(x).square().sum(), p)[0].abs().sum() > 0  # no weight without effect


@each_image
@pytest.mark.parametrize("build", [mlp_autoencoder, conv_autoencoder])
def test_decoders_answer_with_pixels_between_0_and_1(build, image):
    torch.manual_seed(0)
    x = build(3, image=image).decode(8 * torch.randn(50, 3))
    assert x.min() > 0 and x.max() < 1 and x.std() > 0.01


def test_encoder_and_decoder_are_mirror_images():
    sizes = [tuple(p.shape) for p in mlp_autoencoder(2, [20, 10]).parameters() if p.ndim == 2]
    assert sizes == [(20, 784), (10, 20), (2, 10), (10, 2), (20, 10), (784, 20)]
    assert mlp_encoder(7, [5], FACES)(images(FACES)).shape == (5, 7)
    assert mlp_decoder(4, [5], FACES)(torch.zeros(3, 4)).shape == (3, *FACES)
    assert mlp_autoencoder(2, ()).encode(images(DIGITS)).shape == (5, 2)  # and with no hidden layer


@pytest.mark.parametrize("image", [(1, 30, 28), (1, 28, 30), (3, 33, 33)])
def test_conv_autoencoder_refuses_sides_that_it_cannot_quarter(image):
    with pytest.raises(ValueError, match=r"image is \(.*multiples of 4"):
        conv_autoencoder(8, image=image)


def test_conv_autoencoder_has_the_channels_asked_for():
    model = conv_autoencoder(8, channels=4)
    assert [m.out_channels for m in model.modules() if isinstance(m, (nn.Conv2d, nn.ConvTranspose2d))] == [4, 8, 4, 1]


def test_linear_autoencoder_is_linear_of_the_rank_of_its_latents():
    torch.manual_seed(0)
    model, (a, b) = linear_autoencoder(4).double(), (images(DIGITS, seed=s).double() for s in (1, 2))
    at_0 = model(torch.zeros_like(a))
    assert_close(model(2 * a - 3 * b) - at_0, 2 * (model(a) - at_0) - 3 * (model(b) - at_0), rtol=1e-10, atol=1e-12)
    moved = (model(images(DIGITS, 50, 3).double()) - at_0[:1]).flatten(1)
    assert torch.linalg.matrix_rank(moved) == 4
    assert not torch.allclose(mlp_autoencoder(4)(2 * a.float()), 2 * mlp_autoencoder(4)(a.float()))  # the MLP is not


def test_a_constant_answers_the_same_to_everything_and_learns_from_all():
    model = Constant((2, 3))
    assert torch.equal(model(torch.randn(4, 9)), torch.full((4, 2, 3), 0.5))
    assert model(torch.zeros(0, 1)).shape == (0, 2, 3)
    model(torch.zeros(4, 9)).sum().backward()
    assert torch.equal(model.output.grad, torch.full((2, 3), 4.0)) and len(list(model.parameters())) == 1


@each_image
def test_a_classifier_s_logits_are_a_linear_map_of_its_features(image):
    torch.manual_seed(0)
    model, x = ConvClassifier(7, image, width=4).eval(), images(image)
    features = model.features(x)
    assert features.shape == (5, 16) and model(x).shape == (5, 7)
    assert_close(model(x), features @ model.head.weight.T + model.head.bias)
    assert torch.equal(features, model.body(x).amax((2, 3))) and features.std(0).max() > 0


def test_a_classifier_in_eval_mode_judges_each_image_alone():
    torch.manual_seed(0)
    model, x = ConvClassifier(width=4), images(DIGITS, 8)
    model(x)  # moves the statistics
    model.eval()
    assert_close(model(x)[3:4], model(x[3:4]))


@each_image_of_eighths
def test_a_convolutional_vae_answers_with_mean_and_log_variance(image):
    torch.manual_seed(0)
    model, x = conv_vae(6, channels=4, image=image), images(image)
    mu, log_var = model.encode(x)
    assert model.latents == 6 and mu.shape == log_var.shape == (5, 6)
    assert torch.equal(torch.cat([mu, log_var], 1), model.encoder(x))
    assert torch.equal(model(x), model.decode(mu)) and model(x).shape == x.shape
    assert model(x).min() > 0 and model(x).max() < 1
    for p in model.parameters():
        assert torch.autograd.grad((model(x).square().sum() + model.encode(x)[1].sum()), p)[0].abs().sum() > 0


@each_image_of_eighths
@pytest.mark.parametrize("skips", [True, False])
def test_a_segmenter_gives_each_pixel_its_logits(skips, image):
    torch.manual_seed(0)
    model, x = Segmenter(7, skips, latents=5, channels=4, image=image), images(image)
    assert model(x).shape == (5, 7, *image[1:])
    assert_close(model(x)[:2], model(x[:2]))                        # each image by itself
    for p in model.parameters():
        assert torch.autograd.grad(model(x).square().sum(), p)[0].abs().sum() > 0


def test_only_skips_let_a_segmenter_see_past_its_code():
    """Without skips the output is a function of the code: its Jacobian at one image has no more ranks than latents."""
    for skips, low_rank in ((False, True), (True, False)):
        torch.manual_seed(0)
        model = Segmenter(2, skips, latents=3, channels=4, image=(1, 8, 8)).double()
        x = torch.rand(1, 1, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
        jacobian = torch.autograd.functional.jacobian(lambda v, model=model: model(v).flatten(), x).flatten(1)
        assert (torch.linalg.matrix_rank(jacobian, rtol=1e-9) <= 3) == low_rank


@pytest.mark.parametrize("build", [lambda i: conv_encoder(3, image=i), lambda i: conv_decoder(3, image=i),
                                   lambda i: Segmenter(3, image=i)])
def test_sides_must_be_multiples_of_eight(build):
    with pytest.raises(ValueError, match=r"\(3, 28, 32\).*multiples of 8"):
        build((3, 28, 32))
