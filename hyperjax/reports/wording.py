"""Numbers, values and names as people read them: few digits, short exponents, words for what is missing."""

import ast
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from hyperjax import schedules
from hyperjax.statistics import Interval
from hyperjax.studies.measures import COSTS
from hyperjax.studies.space_file import line
from hyperjax.studies.study import Study, Trial

MISSING = "\N{EN DASH}"


def number(value: float, digits: int = 3) -> str:
    """A number to `digits` significant digits: plain between 0.001 and a million, else with a short exponent.

    >>> number(0.00030000000000000003), number(0.98333, 4), number(128), number(2.5e7), number(float("nan"))
    ('3e-4', '0.9833', '128', '2.5e7', '–')
    """
    if isinstance(value, int | np.integer) and abs(int(value)) < 1_000_000:
        return str(int(value))
    value = float(value)
    if not math.isfinite(value):
        return MISSING if math.isnan(value) else f"{'-' if value < 0 else ''}∞"
    if value == 0 or 1e-3 <= abs(value) < 1e6:
        rounded = float(f"{value:.{digits}g}")
        return f"{rounded:.0f}" if abs(value) >= 10**digits else f"{rounded:.{digits}g}"
    mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
    trimmed = mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa
    return f"{trimmed}e{int(exponent)}"


def measure(value: float) -> str:
    """A score to four digits, zeros at the end kept so that a column lines up.

    >>> measure(0.9), measure(2.5e-5), measure(float("nan"))
    ('0.9000', '2.5e-5', '–')
    """
    return f"{value:#.4g}" if 1e-3 <= abs(value) < 1000 else number(value, 4)


def metric_text(name: str, value: float) -> str:
    """A metric's value in a table: a score, or a cost, whose digits all count.

    >>> metric_text("validation_loss", 0.5), metric_text("parameters", 12345.0), metric_text("trained_epochs", 2.5)
    ('0.5000', '12345', '2.5')
    """
    if name not in COSTS.values():
        return measure(value)
    return number(int(value)) if float(value).is_integer() else number(value, 4)


def is_number(value: Any) -> bool:
    """True for a real number that is not a truth value."""
    return isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)


def value_text(value: Any, digits: int = 3) -> str:
    """A hyperparameter's value: numbers shortened, lengths in words, sequences joined, functions by name.

    >>> value_text(1e-3), value_text("adamw"), value_text((64, 128)), value_text(None), value_text(max)
    ('0.001', 'adamw', '64, 128', '–', 'max')
    >>> value_text(schedules.fraction(0.2)), value_text(schedules.epochs(1))
    ('20 %', '1 epoch')
    """
    if value is None:
        return MISSING
    if is_number(value):
        return number(value, digits)
    if isinstance(value, schedules.Length):
        if value.unit == "fraction":
            return f"{number(100 * value.value, digits)} %"
        return f"{number(value.value, digits)} {value.unit if value.value != 1 else value.unit.removesuffix('s')}"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {value_text(item, digits)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(value_text(item, digits) for item in value)
    return str(getattr(value, "__name__", value))


def in_short(values: Mapping[str, Any], recipe: Any) -> str:
    """The optimizer and its rate where they are plain, else the first few searched values."""
    optimizer = values.get("optimizer", getattr(recipe, "optimizer", None))
    rate = values.get("learning_rate", getattr(recipe, "learning_rate", None))
    if isinstance(optimizer, str) and is_number(rate):
        return f", {optimizer} at learning rate {number(rate)}"
    return "".join(f", {spoken(name)} {value_text(value)}" for name, value in list(values.items())[:3])


def spoken(name: str) -> str:
    """A field or metric in words.

    >>> spoken("validation_accuracy")
    'validation accuracy'
    """
    return name.replace("_", " ")


def half_width(interval: Interval) -> float:
    """Half the width of an interval; NaN where it is unbounded or unknown."""
    half = (interval.high - interval.low) / 2
    return half if math.isfinite(half) else math.nan


def seconds(value: float) -> str:
    """A duration.

    >>> seconds(0.25), seconds(41.26), seconds(754.0)
    ('0.25 s', '41.3 s', '12 min 34 s')
    """
    if not math.isfinite(value) or value < 60:
        return f"{number(value)} s"
    minutes, rest = divmod(round(value), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def plural(count: int, word: str) -> str:
    """`1 trial`, `2 trials`.

    >>> plural(1, "trial"), plural(0, "seed")
    ('1 trial', '0 seeds')
    """
    return f"{count} {word}{'' if count == 1 else 's'}"


def diverged_step(trial: Trial) -> int | None:
    """The earliest step at which a run of the trial diverged."""
    return min((run.diverged_at for run in trial.runs if run.diverged_at is not None), default=None)


def trial_state(trial: Trial) -> str:
    """What became of a trial: `finished`, `diverged at step 12`, `2 of 3 seeds diverged, first at step 12`,
    `pruned at epoch 3`, `revived at epoch 3`, `stopped early`."""
    if trial.diverged == len(trial.runs) == 1:
        return f"diverged at step {diverged_step(trial)}"
    if trial.diverged:
        return f"{trial.diverged} of {len(trial.runs)} seeds diverged, first at step {diverged_step(trial)}"
    if trial.pruned_at is not None:
        return f"pruned at epoch {trial.pruned_at}"
    if trial.revived_at is not None and trial.finished:
        return f"revived at epoch {trial.revived_at}"
    return "finished" if trial.finished else "stopped early"


def pruning_notes(study: Study) -> list[str]:
    """A sentence on what was pruned and saved, and one on what was revived."""
    pruned, revived = study.pruned, [trial for trial in study.ranking if trial.revived_at is not None]
    notes, (saved, whole) = [], study.epochs_saved
    if pruned:
        dropped: Any = study.conditions.get("states_dropped", 0)
        gone = f" {plural(dropped, 'state')} did not fit in memory, so the trials cannot be revived." if dropped else ""
        notes.append(
            f"{len(pruned)} of {plural(len(study.trials), 'trial')} pruned, which saved {100 * saved / whole:.0f} % of "
            f"the epochs; they are ranked behind the others, by what they had reached.{gone}"
        )
    if revived:
        rank = study.ranking.index(revived[0]) + 1
        notes.append(
            f"{plural(len(revived), 'pruned trial')} revived and trained to the end; the best has rank {rank}."
        )
    return notes


def compared_notes(study: Study) -> list[str]:
    """A sentence for each scientific hyperparameter: its values, each at its best, and whether the first is shown."""
    notes, sign = [], 1.0 if study.direction == "max" else -1.0
    for name in study.scientific:
        found = study.isolate(name)
        points = sorted(
            (p for p in found.points if math.isfinite(p.interval.mean)), key=lambda p: -sign * p.interval.mean
        )
        if not points:
            continue
        told = [
            f"{p.label if p.value is None else value_text(p.value)} {number(p.interval.mean, 4)} "
            f"({number(p.interval.low, 4)} to {number(p.interval.high, 4)})"
            for p in points
        ]
        apart = len(points) > 1 and sign * points[0].interval[1 if sign > 0 else 2] > max(
            sign * p.interval[2 if sign > 0 else 1] for p in points[1:]
        )
        verdict = (
            "" if len(points) < 2 else " The first is apart from the rest." if apart else " Their intervals overlap."
        )
        best = f"the expected best {spoken(study.metric)} of {found.draws}" if found.draws > 1 else spoken(study.metric)
        notes.append(f"{spoken(name).capitalize()}, by {best} of each: {', '.join(told)}.{verdict}")
    return notes


def edge_notes(study: Study) -> list[str]:
    """A sentence for each range at whose end the chosen trial lies, then lines for a space file that search beyond."""
    notes, edges = [], study.edges
    wider = {name: entry for name, entry in study.wider.items() if name in edges}
    for name, end in edges.items():
        value, best = study.ranges[name], study.chosen.values[name]
        then = "its field allows nothing beyond it" if wider.get(name) == value else "search beyond it"
        notes.append(
            f"The best {spoken(name)}, {number(best)}, is at the {end} end of its range, {number(value.low)} to "
            f"{number(value.high)}: {then}."
        )
    lines = [line(name, entry) for name, entry in wider.items() if entry != study.ranges[name]]
    how = "To do so, take space.widened(study.edges), or in the space file of the command:"
    return [*notes, how, *lines] if lines else notes


def recipe_code(recipe: Any) -> str:
    """Python code that makes the recipe again, one field a line, numbers exact."""
    text = repr(recipe)
    try:
        call = _Qualified().visit(ast.parse(text, mode="eval")).body
    except SyntaxError:  # a function or class of the user's own has no code to show
        return text
    if isinstance(call, ast.Call) and call.keywords and not call.args:
        fields = "".join(f"    {ast.unparse(keyword)},\n" for keyword in call.keywords)
        text = f"{ast.unparse(call.func)}(\n{fields})"
    else:
        text = ast.unparse(call)
    return f"import hyperjax as hj\n\nrecipe = {text}"


class _Qualified(ast.NodeTransformer):
    """Calls of HyperJAX's names as a user types them, `hj.` in front."""

    def visit_Call(self, node: ast.Call) -> ast.Call:
        self.generic_visit(node)
        if isinstance(node.func, ast.Name):
            name = node.func.id
            if name in ("Recipe", "epochs", "fraction"):
                node.func = ast.Name(f"hj.{name}")
            elif hasattr(schedules, name):
                node.func = ast.Name(f"hj.schedules.{name}")
        return node
