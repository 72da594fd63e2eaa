"""Metrics: what a run is judged by, one value per example, each with the direction that is better."""

from hyperjax.metrics.classes import accuracy, balanced_accuracy, binary_accuracy, f1, top_k_accuracy
from hyperjax.metrics.embeddings import recall_at_1
from hyperjax.metrics.masks import dice, iou
from hyperjax.metrics.metric import Direction, Metric, as_metric
from hyperjax.metrics.ranking import ndcg, ndcg_at
from hyperjax.metrics.real import mean_absolute_error, mean_squared_error
from hyperjax.metrics.samples import energy_distance, modes_counted
from hyperjax.metrics.text import bits_per_character

__all__ = [
    "Direction",
    "Metric",
    "accuracy",
    "as_metric",
    "balanced_accuracy",
    "binary_accuracy",
    "bits_per_character",
    "dice",
    "energy_distance",
    "f1",
    "iou",
    "mean_absolute_error",
    "mean_squared_error",
    "modes_counted",
    "ndcg",
    "ndcg_at",
    "recall_at_1",
    "top_k_accuracy",
]
