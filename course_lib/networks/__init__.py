"""Networks: plain nn.Modules, nothing more. Images go in and come out as (B, C, H, W)."""

from course_lib.networks.adversarial import (
    GAN,
    Discriminator,
    FourierFeatures,
    Generator,
    dcgan_discriminator,
    dcgan_generator,
    mlp_discriminator,
    mlp_generator,
)
from course_lib.networks.autoencoders import (
    VAE,
    Autoencoder,
    Constant,
    OneLayer,
    Segmenter,
    conv_autoencoder,
    conv_decoder,
    conv_encoder,
    conv_vae,
    linear_autoencoder,
    mlp_autoencoder,
    mlp_decoder,
    mlp_encoder,
    mlp_vae,
)
from course_lib.networks.classifiers import ConvClassifier
from course_lib.networks.layers import DIGIT, FACE, GREY_FACE, leaky_relu, mlp, spectrally_normalised
from course_lib.networks.unet import TimedMLP, UNet, time_embedding
from course_lib.networks.vaegan import dcgan_autoencoder, dcgan_encoder, dcgan_vae

__all__ = [
    "DIGIT", "FACE", "GAN", "GREY_FACE", "VAE", "Autoencoder", "Constant", "ConvClassifier", "Discriminator",
    "FourierFeatures", "Generator", "OneLayer", "Segmenter", "TimedMLP", "UNet", "conv_autoencoder", "conv_decoder",
    "conv_encoder", "conv_vae", "dcgan_autoencoder", "dcgan_discriminator", "dcgan_encoder", "dcgan_generator",
    "dcgan_vae", "leaky_relu", "linear_autoencoder", "mlp", "mlp_autoencoder", "mlp_decoder", "mlp_discriminator",
    "mlp_encoder", "mlp_generator", "mlp_vae", "spectrally_normalised", "time_embedding",
]
