"""How often `hj.diagnostics.diagnose` is right, on made curves and on real runs with planted faults, and what it mends.

    python benchmarks/diagnoses.py [--parts made,real,repair] [--set tune|judge] [--quick] [--markdown FILE]

Thresholds were set on the set "tune"; "judge" has other seeds, shapes, noise, tasks and draws of faulty data, and is
what counts. A diagnosis is right when it has one of the findings that its fault wants and none that neither the fault
wants nor allows; a false alarm is any fault found in a run without one. A repair follows the advice once: it has
succeeded when the fault is no longer found and no other is, or when the validation loss ends within two standard
deviations of the unfaulted recipe's.
"""

import argparse
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import faulty_curves
import faulty_runs
import jax
import numpy as np
from faulty_curves import Kind, _kind

import hyperjax as hj
from hyperjax.diagnostics import Diagnosis, diagnose
from hyperjax.diagnostics.curves.finding import FAULTS, NAMES

REAL: dict[str, Kind] = {
    **dict.fromkeys(faulty_runs.HEALTHY, faulty_curves.HEALTHY),
    "rate x30": _kind("diverged oscillating stalled", "underfitting still_improving"),
    "rate /30": _kind("too_slow", "stalled still_improving"),
    "plateau": _kind("stalled", "underfitting too_slow still_improving"),
    "late divergence": _kind("diverged", "oscillating"),
    "too much decay": _kind("underfitting stalled", "still_improving"),
    "few examples": _kind("overfitting"),
    "label noise": _kind("overfitting underfitting"),
}


class Set(NamedTuple):
    """What diagnoses are tried on."""

    curves: int  # of each kind
    first: int  # seed of the first
    others: bool  # shapes and noise
    tasks: tuple[str, ...]
    seeds: tuple[int, ...]
    data: int  # seed of which examples are few or wrong


SETS = {
    "tune": Set(60, 0, False, ("digits", "breast_cancer", "diabetes", "ranking"), (0, 1, 2), 0),
    "judge": Set(100, 1000, True, ("wine", "words", "mnist1d", "digits", "breast_cancer"), (10, 11, 12), 1),
}
QUICK = Set(3, 0, False, ("wine",), (0, 1), 0)


class Case(NamedTuple):
    """One diagnosis, and what it ought to be."""

    place: str  # "made", or the task
    kind: str
    wanted: Kind
    found: frozenset[str]

    @property
    def right(self) -> bool:
        return bool(self.found & self.wanted.wanted) and self.found <= self.wanted.wanted | self.wanted.allowed

    @property
    def alarm(self) -> bool:
        return bool(self.found & set(FAULTS))


def found(diagnosis: Diagnosis) -> frozenset[str]:
    return frozenset(finding.name for finding in diagnosis.findings)


def made(given: Set) -> Iterator[Case]:
    for kind, wanted in faulty_curves.KINDS.items():
        for seed in range(given.first, given.first + given.curves):
            curve = faulty_curves.make(kind, seed, given.others).curve
            yield Case("made", kind, wanted, found(diagnose(curve)))


def trained(given: Set) -> Iterator[tuple[str, list[faulty_runs.Planted]]]:
    """Planted runs of each task; faults that it shrugs off left out."""
    for name in given.tasks:
        each = faulty_runs.planted(name, list(given.seeds), given.data)
        yield name, [p for p in each if p.kind in faulty_runs.HEALTHY or faulty_runs.worse(p, each[0])]


def repaired(faulty: Sequence[faulty_runs.Planted], healthy: faulty_runs.Planted) -> Iterator[tuple[str, list[bool]]]:
    """For each kind and each of its runs, whether what the run's own diagnosis advises mends it."""
    ends = np.array([faulty_runs.end(run) for run in healthy.runs])
    good = ends.mean() + 2 * ends.std(ddof=1)
    advised = [[diagnose(run).apply() for run in planted.runs] for planted in faulty]
    again: dict[tuple[int, int], hj.training.Run] = {}
    for task in {id(planted.task): planted.task for planted in faulty}.values():
        own = [place for place, planted in enumerate(faulty) if planted.task is task]
        for number, run in enumerate(faulty[own[0]].runs):  # all kinds of a seed together: they share a program
            runs = hj.fit_population(task, [advised[place][number] for place in own], seeds=[run.seed])
            again |= {(place, number): each for place, each in zip(own, runs, strict=True)}
    for place, planted in enumerate(faulty):
        results = []
        for number, run in enumerate(planted.runs):
            mended = again[place, number]
            gone = not found(diagnose(mended)) & set(FAULTS)
            as_good = not mended.diverged and faulty_runs.end(mended) <= good
            results.append(advised[place][number] != run.recipe and (gone or as_good))
        yield planted.kind, results


def confusion(cases: Sequence[Case]) -> list[list[str]]:
    """Rows: planted kinds; columns: how often each name was found, how often the whole was right."""
    rows = []
    for kind in dict.fromkeys(case.kind for case in cases):
        own = [case for case in cases if case.kind == kind]
        counts = Counter(name for case in own for name in case.found)
        right = sum(case.right for case in own)
        rows.append(
            [kind, str(len(own)), *(str(counts[name] or "") for name in NAMES), f"{100 * right / len(own):.0f} %"]
        )
    return rows


def written(title: str, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [f"## {title}", "", "| " + " | ".join(headings) + " |", "| " + " | ".join("---" for _ in headings) + " |"]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows), ""])


def summary(cases: Sequence[Case], healthy: Sequence[str]) -> dict[str, Any]:
    calm = [case for case in cases if case.kind in healthy]
    return {
        "cases": len(cases),
        "right": sum(case.right for case in cases) / len(cases),
        "healthy": len(calm),
        "false_alarms": sum(case.alarm for case in calm) / len(calm),
    }


def said(numbers: dict[str, Any]) -> str:
    return (
        f"Right: {100 * numbers['right']:.1f} % of {numbers['cases']}; false alarms: "
        f"{100 * numbers['false_alarms']:.1f} % of {numbers['healthy']} without a fault.\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", default="made,real,repair", metavar="A,B", help="of made, real, repair")
    parser.add_argument("--set", choices=list(SETS), default="judge")
    parser.add_argument("--tasks", metavar="A,B", help="instead of the set's")
    parser.add_argument("--quick", action="store_true", help="few curves and one task")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the tables there, too")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every count there")
    arguments = parser.parse_args()
    parts = arguments.parts.split(",")
    if not set(parts) <= {"made", "real", "repair"}:
        parser.error(f"--parts must be among made, real, repair, got {arguments.parts}")
    given = QUICK if arguments.quick else SETS[arguments.set]
    if arguments.tasks is not None:
        given = given._replace(tasks=tuple(arguments.tasks.split(",")))
    begin = time.perf_counter()
    headings = ["planted", "of", *(name.replace("_", " ") for name in NAMES), "right"]
    record: dict[str, Any] = {"set": arguments.set, "quick": arguments.quick}
    texts = [
        f"# Diagnoses, the set `{arguments.set}`\n",
        f"`python benchmarks/diagnoses.py --set {arguments.set}` on {os.cpu_count()} CPU cores, jax "
        f"{version('jax')} ({jax.default_backend()}).\n",
    ]
    print("\n".join(texts))

    def tell(*more: str) -> None:
        texts.extend(more)
        print("\n".join(more), flush=True)

    if "made" in parts:
        cases = list(made(given))
        record["made"] = summary(cases, faulty_curves.FAULTLESS)
        tell(written("Made curves", headings, confusion(cases)), said(record["made"]))
    if "real" in parts or "repair" in parts:
        cases, repairs, left_out = [], [], []
        for name, each in trained(given):
            missing = set(faulty_runs.FAULTS) - {planted.kind for planted in each}
            left_out += [f"{kind} on {name}" for kind in faulty_runs.FAULTS if kind in missing]
            for planted in each:
                cases += [Case(name, planted.kind, REAL[planted.kind], found(diagnose(run))) for run in planted.runs]
            wrong = [f"{c.kind}: {' '.join(sorted(c.found))}" for c in cases if c.place == name and not c.right]
            print(f"{name}, {time.perf_counter() - begin:.0f} s, wrong: {'; '.join(wrong) or 'none'}", file=sys.stderr)
            if "repair" in parts:
                faulty = [planted for planted in each if planted.kind in faulty_runs.FAULTS]
                repairs += [(name, kind, results) for kind, results in repaired(faulty, each[0])]
        record["real"] = summary(cases, faulty_runs.HEALTHY)
        by_task = [
            [task, str(len(own)), f"{100 * sum(case.right for case in own) / len(own):.0f} %"]
            for task in given.tasks
            if (own := [case for case in cases if case.place == task])
        ]
        tell(written("Real runs", headings, confusion(cases)), said(record["real"]))
        tell(written("Real runs by task", ["task", "runs", "right"], by_task))
        record["left_out"] = left_out
        tell(f"Left out, since they did no harm: {', '.join(left_out) or 'none'}.\n")
        if "repair" in parts:
            kinds = list(dict.fromkeys(kind for _, kind, _ in repairs))
            rows = []
            for kind in kinds:
                cells = [next((r for t, k, r in repairs if t == task and k == kind), None) for task in given.tasks]
                total = [ok for cell in cells if cell for ok in cell]
                shown = ["" if cell is None else f"{sum(cell)} of {len(cell)}" for cell in cells]
                rows.append([kind, *shown, f"{100 * sum(total) / len(total):.0f} %"])
            every = [ok for *_, results in repairs for ok in results]
            record["repair"] = {"runs": len(every), "repaired": sum(every) / len(every)}
            tell(
                written("Repaired by following the advice once", ["planted", *given.tasks, "repaired"], rows),
                f"Repaired: {100 * sum(every) / len(every):.1f} % of {len(every)} faulty runs.\n",
            )
    record["seconds"] = time.perf_counter() - begin
    tell(f"{record['seconds']:.0f} s in all.")
    if arguments.markdown is not None:
        arguments.markdown.write_text("\n".join(texts) + "\n", encoding="utf-8")
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(record, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
