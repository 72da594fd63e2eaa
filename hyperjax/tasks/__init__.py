"""What is learnt: a model, data, a loss or an objective, and metrics."""

from hyperjax.tasks.adding import adding
from hyperjax.tasks.autoencoding import autoencoding
from hyperjax.tasks.breast_cancer import breast_cancer
from hyperjax.tasks.bundled import bundled, find
from hyperjax.tasks.copying import copying
from hyperjax.tasks.diabetes import diabetes
from hyperjax.tasks.digits import digits
from hyperjax.tasks.digits_cnn import digits_cnn
from hyperjax.tasks.digits_gan import digits_gan
from hyperjax.tasks.distillation import distillation
from hyperjax.tasks.embedding import embedding
from hyperjax.tasks.mnist1d import mnist1d
from hyperjax.tasks.ranking import ranking
from hyperjax.tasks.ring import ring
from hyperjax.tasks.segmentation import segmentation
from hyperjax.tasks.streams import MemoryMap, Stream
from hyperjax.tasks.task import Task
from hyperjax.tasks.text import text
from hyperjax.tasks.wine import wine
from hyperjax.tasks.words import words

__all__ = [
    "MemoryMap",
    "Stream",
    "Task",
    "adding",
    "autoencoding",
    "breast_cancer",
    "bundled",
    "copying",
    "diabetes",
    "digits",
    "digits_cnn",
    "digits_gan",
    "distillation",
    "embedding",
    "find",
    "mnist1d",
    "ranking",
    "ring",
    "segmentation",
    "text",
    "wine",
    "words",
]
