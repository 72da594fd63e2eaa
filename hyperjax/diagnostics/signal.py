"""The signal through a model, layer by layer along a run: variance, saturation, dead units, gradients and updates."""

import math
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from hyperjax.checks import within
from hyperjax.diagnostics.diagnostic import Diagnostic, Table
from hyperjax.diagnostics.examples import examples_of
from hyperjax.diagnostics.faults import Fault, faults, update_share
from hyperjax.diagnostics.layers import Layers, called
from hyperjax.diagnostics.moments import Moments
from hyperjax.diagnostics.recognizing import BOUNDED
from hyperjax.tasks import Task
from hyperjax.tasks.task import require_task
from hyperjax.training.recipe import Recipe
from hyperjax.training.record import Run

UNKNOWN = "some rectifier"
NOTHING = "\N{EN DASH}"
SHARES = ("dead", "saturated")


@dataclass(frozen=True, eq=False)
class Signal(Diagnostic):
    """What passes through each layer at the moments of a run; arrays are f64[moments, layers], NaN where not seen.

    Attributes:
        steps: i64[moments], updates made by then.
        layers: names, in the order in which they are called; those whose calls cannot be seen stand last.
        kinds: class of each layer; "" where its calls cannot be seen.
        activations: name of the activation behind each layer; None where there is none that is known.
        mean, variance: of what a layer writes, over examples and units, before its activation.
        activation_mean, activation_variance: of what its activation writes.
        zeros: share of what the activation writes that is 0.
        saturated: share of what a bounded activation (tanh, sigmoid) reads at which its slope is below `flat` of its
            steepest; NaN for others.
        dead: share of the activation's units that pass nothing on at any example (slope below a thousandth of the
            steepest; for a rectifier that could only be seen by its zeros, output 0).
        gradient_norm: 2-norm of the mean loss's gradient by the layer's own weights.
        update_share: 2-norm of the next step's change of the weights, as a share of their own; NaN where its rate is 0.
        flat: where saturation begins.
        examples, whole: how many examples passed through, of how many.
        faults: what is wrong: units, then the initial scale, then updates.
        diverged_at: step at which the run diverged, else None.
    """

    title: ClassVar[str] = "Signal by layer"

    steps: np.ndarray
    layers: tuple[str, ...]
    kinds: tuple[str, ...]
    activations: tuple[str | None, ...]
    mean: np.ndarray
    variance: np.ndarray
    activation_mean: np.ndarray
    activation_variance: np.ndarray
    zeros: np.ndarray
    saturated: np.ndarray
    dead: np.ndarray
    gradient_norm: np.ndarray
    update_share: np.ndarray
    flat: float
    examples: int
    whole: int
    faults: tuple[Fault, ...]
    diverged_at: int | None

    @property
    def answer(self) -> str:
        said = [f"{fault.evidence[0].upper()}{fault.evidence[1:]}. {_blame(fault)}" for fault in self.faults]
        seen = [kind for kind in self.kinds if kind]
        if not seen:
            said.append("The model's layers cannot be seen, only the gradients and updates of its weights.")
        elif not said and self.diverged_at is None:
            said.append(
                f"The signal passes: no layer of {len(seen)} has many dead or saturated units, and the variance keeps "
                "its size."
            )
        if seen and len(seen) < len(self.kinds):
            unseen = ", ".join(name for name, kind in zip(self.layers, self.kinds, strict=True) if not kind)
            said.append(f"What passes through {unseen} cannot be seen.")
        if self.diverged_at is not None:
            said.append(f"The run diverged at step {self.diverged_at}.")
        if self.examples < self.whole:
            said.append(f"Measured on {self.examples:,} of {self.whole:,} training examples.")
        return " ".join(said)

    @property
    def table(self) -> Table:
        """Each layer at the first moment and at the last."""
        measured = {"variance": self.variance, "dead": self.dead, "saturated": self.saturated}
        measured |= {"gradient": self.gradient_norm, "update/weight": self.update_share}
        rows = []
        for place, name in enumerate(self.layers):
            cells = [_change(column[:, place], heading in SHARES) for heading, column in measured.items()]
            rows.append((name, self.activations[place] or NOTHING, *cells))
        return Table(("layer", "activation", *measured), tuple(rows))


def signal(
    task: Task,
    source: Any,
    *,
    seed: int | None = None,
    points: int = 5,
    steps: int | None = None,
    examples: int | None = None,
    block: int = 256,
    flat: float = 0.05,
) -> Signal:
    """Follow what passes through each layer of a model along a run, and say which of them holds the signal up.

    Layers are the model's modules that own weights and hold no others that do, NNX or Linen, the user's own included;
    the model stays as it is. The activation behind a layer is a module of `hyperjax.layers`, or it is recognized by
    what the next layer reads (`jax.nn.relu(self.linear(x))`); behind a sum or pooling a rectifier is only seen by its
    zeros. The model is in evaluation mode. What it does inside a transformation of its own (a recurrent cell's scan)
    cannot be seen; nor can the layers of a pair of functions. Of these remain gradients and updates.

    Args:
        task: what is learnt.
        source: a recipe, or a run of one, which is trained again; or a model in whatever form the task takes one to
            fine-tune: it is measured as it is, without updates.
        seed: of the run; None: the run's own, or 0.
        points: moments to measure at, the beginning and the end among them, at least 2.
        steps: end after so many; None: the whole run.
        examples: training examples that pass through, evenly spread; None: all.
        block: examples that pass through together; memory follows it.
        flat: share of its steepest slope below which a bounded activation counts as saturated, in (0, 1).
    Returns: see `Signal`.
    Raises: ValueError where recipe and task do not fit, for a stream of batches, or an argument out of range.
    Source: Glorot and Bengio 2010 (variance by layer, saturation); He et al., arXiv:1502.01852 (rectifiers).

    >>> from hyperjax.tasks import wine
    >>> found = signal(wine(), Recipe(epochs=1), points=2)
    >>> found.layers[0], found.activations[0], found.variance.shape[0]
    ('layers/0', 'relu', 2)
    """
    require_task(task)
    within("flat", flat, 0.0, 1.0, open_low=True, open_high=True)
    trained = isinstance(source, Recipe | Run)
    if trained:
        moments = Moments(task, source, seed=seed, points=points, steps=steps)
    else:
        moments = Moments(replace(task, model=source), Recipe(batch_size="full"), points=2, steps=2)
    chosen = examples_of(moments, examples, block)
    layers = Layers(moments, chosen, flat, updates=trained)
    found, at, diverged = [], [], -1
    for moment in moments:
        diverged = int(moment.carry.diverged_at)
        found.append(layers.at(moment.carry))
        at.append(moment.step)
        if not trained:
            break
    first = found[0]
    sound = found[:-1] if diverged >= 0 else found  # what divergence leaves behind says nothing of what led there

    def column(of: Any) -> np.ndarray:
        return np.array([[of(layer) for layer in row] for row in found], np.float64)

    return Signal(
        steps=np.array(at),
        layers=tuple(called(layer.path) for layer in first),
        kinds=tuple(layer.kind for layer in first),
        activations=tuple(UNKNOWN if layer.function == "" else layer.function for layer in first),
        mean=column(lambda layer: layer.statistics.mean),
        variance=column(lambda layer: layer.statistics.variance),
        activation_mean=column(lambda layer: layer.statistics.activation_mean),
        activation_variance=column(lambda layer: layer.statistics.activation_variance),
        zeros=column(lambda layer: layer.statistics.zeros),
        saturated=column(lambda layer: layer.statistics.flat if layer.function in BOUNDED else math.nan),
        dead=column(lambda layer: layer.statistics.dead),
        gradient_norm=column(lambda layer: layer.gradient_norm),
        update_share=column(update_share),
        flat=flat,
        examples=chosen.measured,
        whole=chosen.whole,
        faults=faults(first, sound[-1]),
        diverged_at=diverged if diverged >= 0 else None,
    )


def _change(values: np.ndarray, share: bool) -> str:
    """What a number was at the first moment and is at the last; once where it is known at one alone."""
    known = values[[0, -1]][np.isfinite(values[[0, -1]])] if len(values) > 1 else values[np.isfinite(values)]
    return " \N{RIGHTWARDS ARROW} ".join(f"{each:.0%}" if share else f"{each:.2g}" for each in known) or NOTHING


def _blame(fault: Fault) -> str:
    return f"To blame: the {fault.cause}. {fault.advice[0].upper()}{fault.advice[1:]}."
