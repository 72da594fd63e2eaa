"""Sharpness along a run: the largest eigenvalue of the loss's Hessian, and its trace, against what the rule allows."""

from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from hyperjax.checks import positive_integer, require, within
from hyperjax.diagnostics.curvature import Curvature
from hyperjax.diagnostics.diagnostic import Diagnostic, Table, as_json
from hyperjax.diagnostics.edge import Edge, edge_of, sentences, stable_rates
from hyperjax.diagnostics.examples import examples_of
from hyperjax.diagnostics.lanczos import Largest
from hyperjax.diagnostics.moments import Moments
from hyperjax.diagnostics.stability import divides, no_limit, stability
from hyperjax.statistics import Interval
from hyperjax.tasks import Task
from hyperjax.training.recipe import Recipe
from hyperjax.training.record import Run
from hyperjax.training.settings import at


@dataclass(frozen=True, eq=False)
class Sharpness(Diagnostic):
    """The curvature of the training loss at the moments of a run.

    Attributes:
        optimizer: of the recipe, by name.
        steps: i64[moments], updates made by then.
        loss: f64[moments], mean over the measured examples.
        eigenvalue: f64[moments], largest eigenvalue of the Hessian (of what the rule descends: with coupled decay).
        residual: f64[moments], how far it may be from a true one.
        trace: of the Hessian at each moment, with its 95 % interval over the probes.
        preconditioned: f64[moments], largest eigenvalue of the Hessian as the rule sees it, each weight's rate divided
            out; the eigenvalue itself where all weights have one rate, NaN before a second moment is known.
        preconditioned_residual: f64[moments].
        learning_rate: f64[moments], of the step that follows.
        limit: f64[moments], at which the rule is no longer stable; compare `preconditioned`. NaN where none is known,
            infinite where the rate is 0.
        steepest: f64[moments], learning rate times curvature at that limit, known where the rate is 0 too.
        divides: whether each weight has a rate of its own.
        unknown: why there is no limit, in words; None where there is one.
        tolerance: share of an eigenvalue that its residual was to stay below.
        examples, whole: how many examples were measured, of how many.
        notes: what the limit leaves out.
        diverged_at: step at which the run diverged, else None.
        edge: whether sharpness rises, and where it is against the limit.
    """

    title: ClassVar[str] = "Sharpness"

    optimizer: str
    steps: np.ndarray
    loss: np.ndarray
    eigenvalue: np.ndarray
    residual: np.ndarray
    trace: tuple[Interval, ...]
    preconditioned: np.ndarray
    preconditioned_residual: np.ndarray
    learning_rate: np.ndarray
    limit: np.ndarray
    steepest: np.ndarray
    divides: bool
    unknown: str | None
    tolerance: float
    examples: int
    whole: int
    notes: tuple[str, ...]
    diverged_at: int | None
    edge: Edge

    @property
    def ratio(self) -> np.ndarray:
        """f64[moments], sharpness as a share of the limit; above 1 the steps along the sharpest direction grow."""
        return np.asarray(self.preconditioned / self.limit)

    @property
    def largest_rate(self) -> np.ndarray:
        """f64[moments], the largest learning rate at which the rule is stable; infinite where the loss bends down."""
        return stable_rates(self.steepest, self.preconditioned)

    @property
    def converged(self) -> np.ndarray:
        """bool[moments], whether every eigenvalue that is finite is as near to a true one as was asked for."""
        return ~(self._error > self.tolerance)

    @property
    def _error(self) -> np.ndarray:
        """f64[moments], the larger of the residuals as a share of its eigenvalue; NaN where none is finite."""
        pairs = ((self.residual, self.eigenvalue), (self.preconditioned_residual, self.preconditioned))
        shares = [beside / np.where(value == 0, np.nan, np.abs(value)) for beside, value in pairs]
        return np.asarray(np.fmax(*shares))

    @property
    def answer(self) -> str:
        said = sentences(self.edge, self.divides, self.unknown)
        if self.diverged_at is not None:
            said.append(f"The run diverged at step {self.diverged_at}.")
        if not self.converged.all():
            worst = float(np.nanmax(self._error))
            said.append(f"Not all eigenvalues converged (residual up to {worst:.1%}): allow more iterations.")
        if self.examples < self.whole:
            said.append(f"Measured on {self.examples:,} of {self.whole:,} training examples.")
        return " ".join([*said, *self.notes])

    @property
    def table(self) -> Table:
        columns: dict[str, Any] = {"step": self.steps, "loss": self.loss, "sharpness": self.eigenvalue}
        if self.unknown is None:
            columns |= {"preconditioned": self.preconditioned} if self.divides else {}
            columns |= {"limit": self.limit, "share": self.ratio, "stable rate": self.largest_rate}
        columns["trace"] = [f"{each.mean:.3g} ± {(each.high - each.low) / 2:.2g}" for each in self.trace]
        if not self.converged.all():
            columns["residual"] = np.fmax(self.residual, self.preconditioned_residual)
        rows = zip(*(_plain(column) for column in columns.values()), strict=True)
        return Table(tuple(columns), tuple(rows))

    def to_json(self) -> dict[str, Any]:
        """The public fields, and beside them what follows from them."""
        return {**super().to_json(), "ratio": as_json(self.ratio), "largest_rate": as_json(self.largest_rate)}


def sharpness(
    task: Task,
    source: Recipe | Run,
    *,
    seed: int | None = None,
    points: int = 10,
    steps: int | None = None,
    examples: int | None = None,
    block: int = 512,
    probes: int = 16,
    iterations: int = 60,
    tolerance: float = 1e-3,
    training: bool = False,
) -> Sharpness:
    """Follow the curvature of the training loss along a run, against the limit of its optimizer's stability.

    Gradient descent on a loss whose curvature is above 2 / learning_rate moves away from the valley that it is in. Full
    batches sharpen a network up to that limit and then hover there (the edge of stability); smaller ones settle below
    it. For a rule that divides by second moments the curvature is measured as the rule sees it.

    Args:
        task: what is learnt.
        source: a recipe, or a run of one; the run is trained again.
        seed: of the run; None: the run's own, or 0.
        points: moments to measure at, the beginning and the end among them, at least 2.
        steps: end after so many; None: the whole run.
        examples: training examples over which the loss is the mean, evenly spread; None: all.
        block: examples looked at together; memory follows it.
        probes: vectors of random signs for the trace, at least 2.
        iterations: most products with the Hessian for an eigenvalue; as many vectors of the model's size are kept.
        tolerance: share of an eigenvalue at which its residual is small enough.
        training: measure the model in training mode: one draw of its masks, BatchNorm by the statistics of each block.
    Returns: see `Sharpness`.
    Raises: ValueError where recipe and task do not fit, for a stream of batches, or an argument out of range.
    Source: Cohen et al. 2021, arXiv:2103.00065; for adaptive rules 2022, arXiv:2207.14484.

    >>> from hyperjax.tasks import wine
    >>> found = sharpness(wine(), Recipe(optimizer="sgd", learning_rate=0.1, batch_size="full", epochs=20), points=3)
    >>> found.steps.tolist(), found.limit.round(3).tolist()
    ([0, 10, 20], [20.0, 20.0, 20.0])
    """
    require(positive_integer("probes", probes) > 1, f"probes must be at least 2, got {probes}")
    positive_integer("iterations", iterations)
    within("tolerance", tolerance, 0.0, 1.0, open_low=True)
    moments = Moments(task, source, seed=seed, points=points, steps=steps)
    chosen = examples_of(moments, examples, block)
    curvature = Curvature(moments, chosen, training)
    rows, traces, diverged = [], [], -1
    for place, moment in enumerate(moments):
        carry, diverged = moment.carry, int(moment.carry.diverged_at)
        first, probing = jax.random.split(jax.random.fold_in(jax.random.key(0), place))
        own = curvature.largest(carry, None, first, iterations, tolerance)
        allowed = stability(moments, carry)
        seen = own
        if allowed.scale is not None:
            root = jnp.sqrt(ravel_pytree(allowed.scale)[0])
            known = bool(jnp.isfinite(root).all())
            seen = curvature.largest(carry, root, first, iterations, tolerance) if known else _NOTHING
        traces.append(curvature.trace(carry, probing, probes))
        rows.append((moment.step, curvature.loss(carry), own[0], own[1], seen[0], seen[1], *allowed[:3]))
    steps_, loss, eigenvalue, residual, preconditioned, beside, rate, limit, steepest = (
        np.array(c) for c in zip(*rows, strict=True)
    )
    name = moments.recipe.optimizer
    return Sharpness(
        optimizer=name if isinstance(name, str) else getattr(name, "__name__", str(name)),
        steps=steps_,
        loss=loss,
        eigenvalue=eigenvalue,
        residual=residual,
        trace=tuple(traces),
        preconditioned=preconditioned,
        preconditioned_residual=beside,
        learning_rate=rate,
        limit=limit,
        steepest=steepest,
        divides=divides(moments),
        unknown=no_limit(moments),
        tolerance=tolerance,
        examples=chosen.measured,
        whole=chosen.whole,
        notes=_notes(moments),
        diverged_at=diverged if diverged >= 0 else None,
        edge=edge_of(steps_, eigenvalue, preconditioned, limit, rate, steepest),
    )


_NOTHING = Largest(np.nan, np.nan, 0)


def _notes(moments: Moments) -> tuple[str, ...]:
    """What else moves the weights, which neither matrix nor limit knows of."""
    recipe, rule, notes = moments.recipe, moments.settings.rule, []
    if rule is not None and "weight_decay" in rule.numbers:
        decay = float(np.asarray(at(rule.numbers["weight_decay"], 0)))
        notes.append(f"The decoupled weight decay of {decay:g} is not in the matrix.")
    clips = [name for name in ("clip_norm", "clip_value", "clip_adaptive") if getattr(recipe, name) is not None]
    if clips:
        notes.append(f"The limit is for steps that {' and '.join(clips)} does not cut.")
    beside = [name for name in ("l1", "proximal_l1", "max_norm", "gradient_noise") if getattr(recipe, name)]
    if beside:
        notes.append(f"The limit leaves {', '.join(beside)} out.")
    return tuple(notes)


def _plain(column: Any) -> list[Any]:
    return column.tolist() if isinstance(column, np.ndarray) else list(column)
