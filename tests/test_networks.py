import pytest
import torch
from torch import nn
from torch.testing import assert_close

from course_lib.networks import (
    Autoencoder,
    Constant,
    ConvClassifier,
    Discriminator,
    Generator,
    Segmenter,
    conv_autoencoder,
    conv_decoder,
    conv_encoder,
    conv_vae,
    dcgan_autoencoder,
    dcgan_discriminator,
    dcgan_encoder,
    dcgan_generator,
    dcgan_vae,
    leaky_relu,
    linear_autoencoder,
    mlp,
    mlp_autoencoder,
    mlp_decoder,
    mlp_discriminator,
    mlp_encoder,
    mlp_generator,
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


# --- generators and discriminators -----------------------------------------------------------------------------------

each_dcgan_image = pytest.mark.parametrize("image", [DIGITS, FACES, (2, 8, 12)])


def uses_all_weights(module, output):
    return all(torch.autograd.grad(output.square().sum(), p, retain_graph=True)[0].abs().sum() > 0
               for p in module.parameters())


@pytest.mark.parametrize("prior, variance, fourth", [("normal", 1, 3), ("uniform", 1 / 3, 1 / 5)])
def test_noise_has_the_moments_of_its_prior(prior, variance, fourth):
    # 4 means of 400,000 draws, 5 standard errors each: a false alarm in 2e-6 of seeds, for each prior.
    z = mlp_generator(4, 2, (3,), prior).noise(100_000, torch.Generator().manual_seed(0)).double()
    assert z.shape == (100_000, 4) and (prior == "normal" or (z.min() >= -1 and z.max() < 1))
    for power, wanted in [(1, 0), (2, variance), (3, 0), (4, fourth)]:
        assert (z.pow(power).mean() - wanted).abs() < 5 * z.pow(power).std() / 400_000**0.5
    assert torch.corrcoef(z.T).fill_diagonal_(0).abs().max() < 0.02                     # numbers of their own


def test_noise_is_drawn_where_and_as_the_weights_are():
    G = mlp_generator(3, 2).double()
    assert G.noise(5).dtype == torch.float64 and G.to("meta").noise(5).device.type == "meta"
    G = mlp_generator(3, 2, prior="uniform")
    assert not torch.equal(G.noise(5), G.noise(5))      # fresh each time
    a, b = (G.sample(5, torch.Generator().manual_seed(s)) for s in (1, 1))
    assert torch.equal(a, b) and not a.requires_grad
    assert_close(a, G(G.noise(5, torch.Generator().manual_seed(1))).detach())


def test_an_unknown_prior_is_refused():
    with pytest.raises(ValueError, match="prior is 'gauss'; it must be one of 'normal', 'uniform'"):
        mlp_generator(3, 2, prior="gauss")


def test_an_mlp_generator_is_an_mlp_of_its_noise():
    torch.manual_seed(0)
    G = mlp_generator(3, 2, (7, 5), activation=nn.Tanh)
    assert [tuple(p.shape) for p in G.parameters() if p.ndim == 2] == [(7, 3), (5, 7), (2, 5)] and G.latents == 3
    z = G.noise(6)
    h = (z @ G.body[0].weight.T + G.body[0].bias).tanh() @ G.body[2].weight.T + G.body[2].bias
    assert_close(G(z), h.tanh() @ G.body[4].weight.T + G.body[4].bias)
    assert uses_all_weights(G, G(z)) and isinstance(G, Generator)
    assert Generator(mlp_decoder(3, (5,)), 3).sample(4).shape == (4, *DIGITS)           # a decoder is one too


def test_an_mlp_discriminator_gives_a_logit_each():
    torch.manual_seed(0)
    D, x = mlp_discriminator(2, (7, 5)), torch.randn(6, 2)
    h = x
    for layer in D.layers:
        h = h @ layer[1].weight.T + layer[1].bias
        h = torch.where(h > 0, h, 0.2 * h)
    assert_close(D.features(x), h)
    assert_close(D(x), h @ D.head.weight[0] + D.head.bias)
    assert D(x).shape == (6,) and D.features(x, 1).shape == (6, 7) and D.features(x, 2).shape == (6, 5)
    assert D(x[:1]).shape == (1,) and uses_all_weights(D, D(x)) and isinstance(D, Discriminator)
    assert mlp_discriminator(784, (9,))(images(DIGITS)).shape == (5,)                   # images are flattened
    assert leaky_relu()(torch.tensor([-1.0, 2.0])).tolist() == pytest.approx([-0.2, 2.0])
    with pytest.raises(ValueError, match="hidden is empty"):
        mlp_discriminator(2, ())


@pytest.mark.parametrize("layer", [0, 3, -1])
def test_features_of_a_layer_that_is_not_there_are_refused(layer):
    with pytest.raises(ValueError, match=f"layer is {layer}; it must be from 1 to 2"):
        mlp_discriminator(2, (7, 5)).features(torch.zeros(3, 2), layer)


@each_dcgan_image
@pytest.mark.parametrize("norm", [nn.Identity, nn.BatchNorm2d])
def test_a_dcgan_fits_its_images(image, norm):
    torch.manual_seed(0)
    G, D = dcgan_generator(6, 4, image, norm=norm), dcgan_discriminator(4, image, norm)
    x = G(G.noise(50))
    assert x.shape == (50, *image) and 0 < x.min() < x.max() < 1 and x.std(0).min() > 0
    assert D(x).shape == (50,) and D(x).std() > 0
    norms = [m for m in [*G.modules(), *D.modules()] if isinstance(m, nn.BatchNorm2d)]
    assert len(norms) == (0 if norm is nn.Identity else 2 * len(D.layers) - 1)          # none on D's first layer
    if norm is nn.Identity:                             # batch norm makes the biases before it idle
        assert uses_all_weights(G, x) and uses_all_weights(D, D(x))
        assert_close(D(x)[3:4], D(x[3:4]))              # each image by itself
        assert G.sample(2).shape == (2, *image)


@pytest.mark.parametrize("image, sizes", [(DIGITS, [(4, 14, 14), (8, 7, 7)]),
                                          (FACES, [(4, 16, 16), (8, 8, 8), (16, 4, 4)])])
def test_a_dcgan_halves_and_doubles(image, sizes):
    D, G = dcgan_discriminator(4, image), dcgan_generator(6, 4, image)
    x = images(image)
    assert [tuple(D.features(x, l + 1).shape[1:]) for l in range(len(D.layers))] == sizes
    assert torch.equal(D.features(x), D.features(x, len(sizes)))
    assert_close(D(x), D.features(x).flatten(1) @ D.head.weight[0] + D.head.bias)
    h = D.layers[0][0](x)
    assert_close(D.features(x, 1), torch.where(h > 0, h, 0.2 * h))
    ups, h = [], G.body[1](G.body[0](G.noise(5)))
    for layer in G.body[2:]:
        if isinstance(layer, nn.ConvTranspose2d):
            ups.append(tuple(h.shape[1:]))
        h = layer(h)
    assert ups == sizes[::-1]                           # the same road back


@pytest.mark.parametrize("image", [(1, 27, 28), (3, 36, 36), (3, 4, 4), (1, 8, 32)])
@pytest.mark.parametrize("build", [dcgan_generator, dcgan_discriminator])
def test_a_dcgan_refuses_sides_that_it_cannot_halve(build, image):
    with pytest.raises(ValueError, match=r"image is \(.*end at 8 pixels or fewer"):
        build(image=image)


# --- VAE/GAN ---------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("layer", [None, 1, 2])
def test_features_and_logits_are_both_of_one_pass(layer):
    torch.manual_seed(0)
    D, x, passes = mlp_discriminator(2, (7, 5)), torch.randn(6, 2), []
    for hidden in D.layers:
        hidden.register_forward_hook(lambda *_: passes.append(1))
    features, logits = D.features_and_logits(x, layer)
    assert len(passes) == 2
    assert_close(features, D.features(x, layer), rtol=0, atol=0)
    assert_close(logits, D(x), rtol=0, atol=0)


@pytest.mark.parametrize("layer", [0, 3, -1])
def test_features_and_logits_of_a_layer_that_is_not_there_are_refused(layer):
    with pytest.raises(ValueError, match=f"layer is {layer}; it must be from 1 to 2"):
        mlp_discriminator(2, (7, 5)).features_and_logits(torch.zeros(3, 2), layer)


@each_dcgan_image
@pytest.mark.parametrize("norm", [nn.Identity, nn.BatchNorm2d])
def test_a_dcgan_s_encoder_mirrors_its_generator(image, norm):
    torch.manual_seed(0)
    encoder, G = dcgan_encoder(6, 3, image, norm), dcgan_generator(6, 3, image, norm=norm)
    x = images(image)
    assert encoder(x).shape == (5, 6) and uses_all_weights(encoder, encoder(x))
    down, up = ([m for m in net.modules() if isinstance(m, kind)]
                for net, kind in ((encoder, nn.Conv2d), (G, nn.ConvTranspose2d)))
    assert [m.weight.shape for m in down] == [m.weight.shape for m in reversed(up)]
    linear = [next(m for m in net.modules() if isinstance(m, nn.Linear)) for net in (encoder, G)]
    assert linear[0].weight.shape == linear[1].weight.T.shape
    norms = [m for m in encoder.modules() if isinstance(m, nn.BatchNorm2d)]
    assert [m.num_features for m in norms] == [m.out_channels for m in down if norm is nn.BatchNorm2d]


@each_dcgan_image
def test_a_dcgan_s_autoencoders_decode_by_a_generator(image):
    torch.manual_seed(0)
    x = images(image)
    ae, vae = dcgan_autoencoder(6, 3, image), dcgan_vae(6, 3, image)
    assert ae.encode(x).shape == (5, 6) and ae(x).shape == x.shape and ae.latents == vae.latents == 6
    mu, log_var = vae.encode(x)
    assert mu.shape == log_var.shape == (5, 6) and not torch.equal(mu, log_var)
    assert_close(vae(x), vae.decode(mu), rtol=0, atol=0)
    for model in (ae, vae):
        assert isinstance(model.decode, Generator) and model.decode.sample(4).shape == (4, *image)
        assert ((model(x) > 0) & (model(x) < 1)).all()
    assert uses_all_weights(ae, ae(x)) and uses_all_weights(vae, vae.decode(mu + log_var))


def test_a_dcgan_s_autoencoders_refuse_sides_that_they_cannot_halve():
    for build in (dcgan_autoencoder, dcgan_vae):
        with pytest.raises(ValueError, match="must end at 8 pixels or fewer"):
            build(6, 3, (1, 30, 30))
