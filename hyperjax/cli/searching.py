"""What `hyperjax study` does: search, confirm the winner, write, print."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hyperjax.cli.interrupting import heeded, heeding
from hyperjax.cli.values import number

if TYPE_CHECKING:
    from rich.console import Console

    from hyperjax.studies import Space


def run(
    console: "Console",
    task: Any,
    space: "Space",
    asked: dict[str, Any],
    folder: Path,
    as_json: bool,
    again: tuple[int, int],
    require_gain: bool,
) -> int:
    """Search and print what was found.

    Args:
        console: where the bar goes, and the table.
        task, space: what is learnt, and what varies.
        asked: further arguments of `hyperjax.study`.
        folder: where the page, the table and the best recipe go.
        as_json: print the summary instead of the table.
        again: how many of the best trials are confirmed, and by how many seeds.
        require_gain: whether a winner that is not shown to be better is a failure.
    Returns: the exit code.
    """
    from hyperjax.reports import study_table
    from hyperjax.reports.folder import summary, write_study
    from hyperjax.reports.front import front_sentence
    from hyperjax.reports.progress import trial_progress
    from hyperjax.reports.winner import winner_notes, winner_sentence
    from hyperjax.reports.wording import compared_notes, edge_notes, pruning_notes
    from hyperjax.studies import StudyInterrupted, plan
    from hyperjax.studies import study as search
    from hyperjax.studies.winner_record import keep_winner

    interrupted = False
    told = {name: asked[name] for name in ("trials", "seeds", "budget")}
    planned = plan(space, task, **told)
    try:
        with heeded(), trial_progress(console, str(planned)) as progress:
            result = search(task, space, progress=heeding(progress), **asked)
    except StudyInterrupted as stop:
        result, interrupted = stop.study, True
    if not result.trials:
        print("hyperjax: interrupted before a trial had finished", file=sys.stderr)
        return 130
    if not interrupted:
        result, interrupted = _confirmed(console, task, result, *again)
        if result.winner is not None:
            keep_winner(result.winner, len(result.trials), asked["storage"], asked["name"])
    write_study(result, folder)
    winner = result.winner
    if as_json:
        print(json.dumps(summary(result), indent=2))
    else:
        for line in [] if winner is None else [winner_sentence(winner), *winner_notes(winner), ""]:
            console.print(line, highlight=False, markup=False)
        console.print(study_table(result))
        if result.further:
            console.print(front_sentence(result.front), highlight=False, markup=False)
        for note in (*compared_notes(result), *edge_notes(result), *pruning_notes(result)):
            console.print(note, highlight=False, markup=False, soft_wrap=True)  # a line to paste stays whole
        if ended := result.conditions.get("ended"):
            console.print(f"It ended after {len(result.trials)} trials: {ended}.", highlight=False)
        if count := result.conditions["programs"]:  # as it was, where a study that goes on had decided otherwise
            trained = planned._replace(programs=count, exact=True, reasons=planned.reasons if count > 1 else ())
            console.print(f"Trained in {trained}.", highlight=False, markup=False)
        console.print(f"\nWrote {folder / 'report.html'}, trials.csv and best.json.")
        console.print(f"Next: open {folder / 'report.html'} in a browser", highlight=False)
    if interrupted:
        console.print(f"Interrupted: {len(result.trials)} finished trials were kept. The same command goes on.")
        return 130
    return 3 if require_gain and (winner is None or winner.verdict != "better") else 0


def candidates(text: str | None, trials: int | None, require_gain: bool) -> int:
    """How many of the best trials are trained again."""
    if text is None:
        return min(max((trials or 64) // 16, 2), 8)
    count = number(text)
    if not isinstance(count, int) or count < 0:
        raise ValueError(f"confirm must be a whole number of at least 0, got {count!r}")
    if not count and require_gain:
        raise ValueError("confirm must be at least 1 with --require-gain, got 0")
    return count


def _confirmed(console: "Console", task: Any, study: Any, top: int, seeds: int) -> tuple[Any, bool]:
    """The study with its winner, and whether that was interrupted: what was searched is kept in any case."""
    from math import isfinite

    from hyperjax.reports.progress import trial_progress
    from hyperjax.studies import confirm

    if not top or not isfinite(study.best.score):
        return study, False
    try:
        with heeded(), trial_progress(console, doing="confirming", noun="runs") as progress:
            return confirm(study, task, top, seeds, progress=heeding(progress)), False
    except KeyboardInterrupt:
        return study, True
    except ValueError as error:  # a default recipe that the task cannot train
        console.print(f"No winner: {error}", highlight=False, markup=False)
        return study, False
