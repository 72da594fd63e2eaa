"""Losses that give one value per example, and the tables that let a program choose among them by index."""

from hyperjax.losses.binary import binary_cross_entropy, binary_focal, hinge, zero_one_hinge
from hyperjax.losses.classes import cross_entropy, focal, multiclass_hinge, one_hot_squared_error
from hyperjax.losses.divergences import distillation, gaussian_kl, kl_divergence
from hyperjax.losses.embeddings import batch_hard_triplet, contrastive, ntxent, semi_hard_triplet, triplet
from hyperjax.losses.real import absolute_error, huber, log_cosh, quantile, squared_error
from hyperjax.losses.table import LOSSES, Loss, Number, Row, Target, select

__all__ = [
    "LOSSES",
    "Loss",
    "Number",
    "Row",
    "Target",
    "absolute_error",
    "batch_hard_triplet",
    "binary_cross_entropy",
    "binary_focal",
    "contrastive",
    "cross_entropy",
    "distillation",
    "focal",
    "gaussian_kl",
    "hinge",
    "huber",
    "kl_divergence",
    "log_cosh",
    "multiclass_hinge",
    "ntxent",
    "one_hot_squared_error",
    "quantile",
    "select",
    "semi_hard_triplet",
    "squared_error",
    "triplet",
    "zero_one_hinge",
]
