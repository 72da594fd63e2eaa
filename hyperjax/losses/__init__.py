"""Losses that give one value per example, and the tables that let a program choose among them by index."""

from hyperjax.losses.adversarial import Gan, gan, gradient_penalty
from hyperjax.losses.binary import binary_cross_entropy, binary_focal, hinge, zero_one_hinge
from hyperjax.losses.branch import branched
from hyperjax.losses.classes import cross_entropy, focal, multiclass_hinge, one_hot_squared_error
from hyperjax.losses.divergences import distillation, gaussian_kl, kl_divergence
from hyperjax.losses.embeddings import batch_hard_triplet, contrastive, ntxent, semi_hard_triplet, triplet
from hyperjax.losses.masks import dice, tversky
from hyperjax.losses.ranking import lambda_ranking, list_ranking, pairwise_ranking
from hyperjax.losses.real import absolute_error, huber, log_cosh, quantile, squared_error
from hyperjax.losses.table import LOSSES, Loss, Number, Row, Target, select
from hyperjax.losses.weights import class_weights

__all__ = [
    "LOSSES",
    "Gan",
    "Loss",
    "Number",
    "Row",
    "Target",
    "absolute_error",
    "batch_hard_triplet",
    "binary_cross_entropy",
    "binary_focal",
    "branched",
    "class_weights",
    "contrastive",
    "cross_entropy",
    "dice",
    "distillation",
    "focal",
    "gan",
    "gaussian_kl",
    "gradient_penalty",
    "hinge",
    "huber",
    "kl_divergence",
    "lambda_ranking",
    "list_ranking",
    "log_cosh",
    "multiclass_hinge",
    "ntxent",
    "one_hot_squared_error",
    "pairwise_ranking",
    "quantile",
    "select",
    "semi_hard_triplet",
    "squared_error",
    "triplet",
    "tversky",
    "zero_one_hinge",
]
