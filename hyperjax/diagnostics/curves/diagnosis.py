"""What is wrong with a training curve, how sure that is, and what to set instead."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np

from hyperjax.diagnostics.curves.advice import advise
from hyperjax.diagnostics.curves.curve import Curve
from hyperjax.diagnostics.curves.finding import FAULTS, NAMES, Finding, Times, changed
from hyperjax.diagnostics.curves.seen import Seen
from hyperjax.diagnostics.curves.signs import LEAST_POINTS, SIGNS, Sign, has_high_rate
from hyperjax.diagnostics.diagnostic import Diagnostic, Table
from hyperjax.training.recipe import Recipe
from hyperjax.training.record import Run, Runs

LEAST = 0.9  # confidence from which a finding is reported


@dataclass(frozen=True)
class Diagnosis(Diagnostic):
    """What a curve shows; several findings may hold at once.

    Attributes:
        findings: the gravest first; at least one.
        runs: how many curves they rest on.
    """

    title: ClassVar[str] = "Diagnosis"
    findings: tuple[Finding, ...]
    runs: int = 1
    _curves: tuple[Curve, ...] = field(default=(), repr=False, compare=False)
    _by_recipe: "tuple[Diagnosis, ...]" = field(default=(), repr=False, compare=False)

    @property
    def curves(self) -> tuple[Curve, ...]:
        """What was looked at."""
        return self._curves

    @property
    def by_recipe(self) -> "tuple[Diagnosis, ...]":
        """A diagnosis for each recipe, where runs of several were given; else this one alone."""
        return self._by_recipe or (self,)

    @property
    def changes(self) -> dict[str, Any]:
        """Field of a recipe to its new value, or to `Times` a factor: of all findings, the gravest first.

        Empty for several recipes; see `by_recipe`.
        """
        together: dict[str, Any] = {}
        for finding in () if self._by_recipe else self.findings:
            together = {**finding.changes, **together}
        return together

    def apply(self, recipe: Recipe | None = None) -> Recipe:
        """A recipe with the changes made.

        Args:
            recipe: to change; None: the one that was trained.
        Raises: ValueError without a recipe, for runs of several recipes, or for a field that cannot be multiplied.
        """
        if self._by_recipe:
            raise ValueError("apply must be of one recipe's diagnosis, got those of several; see by_recipe")
        known = recipe if recipe is not None else next((c.recipe for c in self._curves if c.recipe is not None), None)
        if known is None:
            raise ValueError("recipe must be given, since the curve knows none, got None")
        return changed(known, self.changes)

    @property
    def answer(self) -> str:
        """The findings by name, and the gravest one's evidence and advice."""
        gravest = self.findings[0]
        names = ", ".join(dict.fromkeys(_spoken(finding.name) for finding in self.findings))
        advice = f" Advice: {gravest.advice}." if gravest.advice else ""
        return f"{names[:1].upper()}{names[1:]}. {gravest.evidence[:1].upper()}{gravest.evidence[1:]}.{advice}"

    @property
    def table(self) -> Table:
        """A row for each finding."""
        rows = tuple((_spoken(f.name), f"{f.confidence:.2f}", f.evidence, f.advice or "none") for f in self.findings)
        return Table(("finding", "confidence", "evidence", "advice"), rows)


def diagnose(source: Run | Runs | Curve) -> Diagnosis:
    """Say what is wrong with a training curve and what to set instead, as far as noise allows.

    Each fault has a test that knows of noise: most count the replicates of the curve, by a block bootstrap, in which
    the fault is as large as its definition asks (`hyperjax.diagnostics.curves.signs` defines each). What 0.9 of them
    show is reported. "healthy" is what shows no fault, with one minus the strongest sign of one as its confidence;
    "too_short" is what shows none and has fewer than 8 losses.

    Of several runs of one recipe a finding is reported that half of them show, with the mean of their confidences. Runs
    of several recipes are told apart in the evidence, and by `Diagnosis.by_recipe`.

    Args:
        source: a run, whose recipe, rates and metrics are evidence too; several; or a `Curve`, from anywhere.
    Raises: ValueError for anything else, or no runs.

    >>> losses = [2.3, 2.9, 4.1, 9.7, 31.0, 260.0, 1.9e4, float("inf")]
    >>> diagnose(Curve(range(8), losses)).findings[0].advice
    'learning_rate x 0.1'
    """
    if isinstance(source, Curve):
        return _of_curve(source)
    if isinstance(source, Run):
        return _of_run(source)
    if not isinstance(source, Runs) or not len(source):
        given = "no runs" if isinstance(source, Runs) else f"a {type(source).__name__}"
        raise ValueError(f"source must be a run, runs or a Curve, got {given}")
    groups: list[tuple[Recipe, list[Diagnosis]]] = []
    for run in source:
        group = next((found for recipe, found in groups if recipe == run.recipe), None)
        if group is None:
            groups.append((run.recipe, group := []))
        group.append(_of_run(run))
    each = tuple(_together(found) for _, found in groups)
    if len(each) == 1:
        return each[0]
    findings = [
        replace(finding, evidence=f"recipe {number}, {recipe!r}: {finding.evidence}")
        for number, ((recipe, _), diagnosis) in enumerate(zip(groups, each, strict=True))
        for finding in diagnosis.findings
    ]
    curves = tuple(curve for diagnosis in each for curve in diagnosis.curves)
    return Diagnosis(_in_order(findings), len(curves), curves, each)


def _of_run(run: Run) -> Diagnosis:
    """The curve's, less what the run's metrics contradict."""
    return _of_curve(Curve.of(run), _fits_well(run))


def _fits_well(run: Run) -> bool:
    """True when a metric that is 1 at best is at least 0.9 in training, whatever the loss."""
    values = run.metrics.get(run.metric.replace("validation_", "train_"))
    at_best_1 = run.direction == "max" and values is not None and len(values) > 0 and bool(np.nanmax(values) <= 1)
    return at_best_1 and values is not None and float(np.mean(values[-3:])) >= 0.9


def _of_curve(curve: Curve, fits_well: bool = False) -> Diagnosis:
    if len(curve.train) < LEAST_POINTS:
        return Diagnosis((_too_few(curve),), 1, (curve,))
    seen = Seen(curve)
    signs = {name: sign(seen) for name, sign in SIGNS.items()}
    if fits_well:
        signs |= {name: Sign(0.0) for name in ("stalled", "underfitting") if not signs[name].cause}
    kept = _apart({name: sign for name, sign in signs.items() if sign.confidence >= LEAST}, curve)
    findings = [_finding(name, seen, signs[name]) for name in kept]
    if not kept & set(FAULTS):
        strongest = max((name for name in FAULTS), key=lambda name: signs[name].confidence)
        findings.append(_healthy(seen, strongest, signs[strongest].confidence))
    return Diagnosis(_in_order(findings), 1, (curve,))


def _apart(kept: dict[str, Sign], curve: Curve) -> set[str]:
    """Names of signs, less those that another one explains."""
    names = set(kept)
    if "diverged" in names:
        return {"diverged"}
    if "stalled" in names and "oscillating" in names and kept["oscillating"].size < 3:
        names.discard("oscillating")  # a loss that has not moved makes any noise look large
    if "overfitting" in names:
        names.discard("too_slow")  # the training loss falls on because it learns by heart
        if "oscillating" in names:  # what it has learnt by heart makes validations jump, and so does a high rate
            high = has_high_rate(curve.recipe) or kept["oscillating"].cause == "climbs"
            names.discard("overfitting" if high else "oscillating")
    if "stalled" in names and kept["stalled"].cause == "falls on":
        names.discard("too_slow")  # it waited
    elif "stalled" in names:
        names.discard("still_improving")  # to wait longer is no advice to one that stands
    if "too_slow" in names:
        names.discard("still_improving")
    return names


def _finding(name: str, seen: Seen, sign: Sign) -> Finding:
    advice, changes = advise(name, seen, sign)
    return Finding(name, min(1.0, float(sign.confidence)), sign.words, advice, changes, sign.at)


def _healthy(seen: Seen, strongest: str, confidence: float) -> Finding:
    words = (
        f"the training loss fell from {seen.start * seen.unit:.3g} to {seen.train.end * seen.unit:.3g}"
        + (f", the validation loss to {seen.validation.end * seen.unit:.3g}" if seen.validation is not None else "")
        + f", and no fault shows; the nearest is {_spoken(strongest)}, at a confidence of {confidence:.2f}"
    )
    if seen.validation is None:
        words += "; without validation losses, overfitting cannot be told"
    return Finding("healthy", 1 - confidence, words, "")


def _too_few(curve: Curve) -> Finding:
    count = len(curve.train)
    if curve.diverged_at is not None:
        words, rate = (
            f"the loss is not finite from {curve.unit} {curve.diverged_at:g} on",
            {"learning_rate": Times(0.1)},
        )
        recipe = curve.recipe
        if recipe is None or not isinstance(recipe.learning_rate, int | float):
            return Finding("diverged", 1.0, words, "learning_rate x 0.1", rate, curve.diverged_at)
        lower = changed(recipe, rate).learning_rate
        advice = f"divide learning_rate by 10, learning_rate: {recipe.learning_rate!r} -> {lower!r}"
        return Finding("diverged", 1.0, words, advice, {"learning_rate": lower}, curve.diverged_at)
    times = float(max(2, -(-20 // count)))
    return Finding(
        "too_short",
        1.0,
        f"{count} losses are too few: a test of noise needs at least {LEAST_POINTS}",
        f"train longer, epochs x {times:g}, or write down the loss more often",
        {"epochs": Times(times)},
    )


def _together(each: list[Diagnosis]) -> Diagnosis:
    """Of several runs of one recipe."""
    if len(each) == 1:
        return each[0]
    findings = []
    for name in NAMES:
        own = [finding for diagnosis in each for finding in diagnosis.findings if finding.name == name]
        if 2 * len(own) < len(each):
            continue
        clearest = max(own, key=lambda finding: finding.confidence)
        mean = sum(finding.confidence for finding in own) / len(each)
        words = f"in {len(own)} of {len(each)} runs, e.g. {clearest.evidence}"
        findings.append(replace(clearest, confidence=mean, evidence=words))
    if not findings:  # no two runs agree
        findings = [max((f for d in each for f in d.findings), key=lambda finding: finding.confidence)]
    if any(finding.name in FAULTS for finding in findings):
        findings = [finding for finding in findings if finding.name != "healthy"]
    return Diagnosis(_in_order(findings), len(each), tuple(_all_curves(each)))


def _all_curves(each: list[Diagnosis]) -> Iterator[Curve]:
    for diagnosis in each:
        yield from diagnosis.curves


def _in_order(findings: list[Finding]) -> tuple[Finding, ...]:
    return tuple(sorted(findings, key=lambda finding: NAMES.index(finding.name)))


def _spoken(name: str) -> str:
    return name.replace("_", " ")


def as_data(diagnosis: Diagnosis) -> Mapping[str, Any]:
    """The findings as the command prints them: name, confidence, evidence and advice of each."""
    told = ("name", "confidence", "evidence", "advice")
    return {"findings": [{name: getattr(finding, name) for name in told} for finding in diagnosis.findings]}
