"""Small Flax models."""

from hyperjax.models.adapters import Trained, linen, pure
from hyperjax.models.autoencoder import Autoencoder
from hyperjax.models.cnn import CNN, NORMS
from hyperjax.models.describe import Description, describe
from hyperjax.models.gan import GAN, game
from hyperjax.models.mlp import MLP
from hyperjax.models.recurrent import GRU, LSTM
from hyperjax.models.resnet import ResNet
from hyperjax.models.transformer import Transformer
from hyperjax.models.vae import VAE, negative_elbo

__all__ = [
    "CNN",
    "GAN",
    "GRU",
    "LSTM",
    "MLP",
    "NORMS",
    "VAE",
    "Autoencoder",
    "Description",
    "ResNet",
    "Trained",
    "Transformer",
    "describe",
    "game",
    "linen",
    "negative_elbo",
    "pure",
]
