"""The command line: arguments in, messages out."""

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from hyperjax.studies import Space

app = typer.Typer(
    name="hyperjax",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    help="Train hundreds of settings in a few compiled programs, and see which hyperparameters mattered.",
    epilog="Begin with:  hyperjax study digits --trials 64 --output out",
)


def main(arguments: list[str] | None = None) -> None:
    """Run the command; bad input ends with one line and exit code 2, Ctrl-C with 130."""
    # XLA reports as errors, on stderr, features of its own that it misses in programs from its own cache (jax 0.10).
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        code = typer.main.get_command(app).main(args=arguments, prog_name="hyperjax", standalone_mode=False)
    except (KeyboardInterrupt, typer.Abort):
        _complain("interrupted", 130)
    except ValueError as error:
        _complain(str(error), 2)
    except OSError as error:  # the disk is full, or the folder went away
        _complain(f"{error.filename or 'a file'} could not be written or read: {error.strerror or error}", 1)
    except Exception as error:
        if not hasattr(error, "format_message"):  # what Typer raises for arguments it cannot read
            raise
        message, where = error.format_message(), getattr(getattr(error, "ctx", None), "command_path", "hyperjax")
        if message:
            _complain(f"{message.rstrip('.')}; see: {where} --help", getattr(error, "exit_code", 2))
        sys.exit(getattr(error, "exit_code", 2))
    sys.exit(code if isinstance(code, int) else 0)


def _complain(message: str, code: int) -> None:
    print(f"hyperjax: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(code)


def _show_version(wanted: bool) -> None:
    if wanted:
        from hyperjax import __version__

        print(f"hyperjax {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    pass


@app.command()
def tasks() -> None:
    """List the tasks that ship with the package."""
    from rich.console import Console
    from rich.table import Table

    from hyperjax.tasks import bundled

    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("task")
    table.add_column("what is learnt")
    for name, description in bundled().items():
        table.add_row(name, description)
    Console().print(table)
    print("\nNext: hyperjax study digits --trials 64 --output out")


@app.command(
    epilog="Examples:\n\n"
    "  hyperjax study digits --trials 256 --output out\n\n"
    "  hyperjax study digits --trials 64 --seeds 3 --space space.toml --output out2\n\n"
    "  hyperjax study digits --trials 256 --sampler tpe --output out3\n\n"
    "  hyperjax study digits --trials 256 --pruner hyperband --output out4\n\n"
    "  hyperjax study digits --confirm 4 --fresh 20 --require-gain --output out5 && deploy\n\n"
    "The same command again goes on with a study that was stopped or killed, or that is to have more --trials. "
    "To watch it meanwhile:  hyperjax report out --watch  or  optuna-dashboard out/study.journal\n\n"
    "Samplers: random draws each trial for itself, quasi_random covers the space more evenly, grid goes through lists; "
    "tpe, cmaes, nsga2 and gp (seconds a trial: for few, long ones) look at the scores of earlier batches. A smaller "
    "--batch learns sooner, a larger one keeps more cores busy.\n\n"
    "Pruners end trials early, so that more fit in an hour: successive_halving lets the best third go on after 1, 3, "
    "9, ... epochs; hyperband does so with several first verdicts side by side, for where early scores mislead; median "
    "ends what never was as good as half of the others were on average; patience what has gained nothing for 5 epochs. "
    "The best trial is one that was trained to its end.\n\n"
    "The winner: the best trials are trained again with seeds that none of them had, which rank them; others measure "
    "the winner beside the default recipe (Adam at 0.001, and what the space fixes). best.json has the verdict, better "
    "or not shown. With --require-gain the command ends with 3 unless it is better (0: done, 2: bad input, 130: Ctrl-C)"
    ".\n\n"
    "A space file holds lines such as  learning_rate = {low = 1e-4, high = 1.0, log = true},  "
    'optimizer = ["sgd", "adam"],  warmup = [0, {fraction = 0.1}]  or  epochs = 20.'
)
def study(
    task: Annotated[str, typer.Argument(help="Name of a task; see: hyperjax tasks.")],
    trials: Annotated[
        str | None,
        typer.Option(help="How many recipes to draw from the space. Default: 64; of a grid, all.", metavar="N"),
    ] = None,
    seeds: Annotated[str, typer.Option(help="How many seeds to train each recipe with.", metavar="N")] = "1",
    epochs: Annotated[
        str, typer.Option(help="Passes over the training set, where the space does not say.", metavar="N")
    ] = "20",
    space: Annotated[
        Path | None,
        typer.Option(
            help="TOML file of what to vary. Default: optimizer, learning rate, schedule, warm-up, "
            "weight decay, dropout, activation and two batch sizes.",
            metavar="FILE",
        ),
    ] = None,
    output: Annotated[
        Path, typer.Option(help="Folder for report.html, trials.csv and best.json.", metavar="DIR")
    ] = Path("out"),
    sampler: Annotated[
        str,
        typer.Option(
            help="Where trials come from: random, quasi_random, tpe, gp, cmaes, nsga2 or grid.", metavar="NAME"
        ),
    ] = "random",
    pruner: Annotated[
        str | None,
        typer.Option(
            help="Which trials end early: successive_halving, hyperband, median or patience. Default: none.",
            metavar="NAME",
        ),
    ] = None,
    batch: Annotated[
        str | None,
        typer.Option(
            help="Trials to train before the sampler sees their scores. Default: what keeps this machine busy.",
            metavar="N",
        ),
    ] = None,
    seed: Annotated[str, typer.Option(help="Seed of the sampling.", metavar="N")] = "0",
    confirm: Annotated[
        str | None,
        typer.Option(
            help="Train the N best trials again with fresh seeds; 0: none. Default: a sixteenth of them, 2 to 8.",
            metavar="N",
        ),
    ] = None,
    fresh: Annotated[
        str, typer.Option(help="Fresh seeds that measure the winner; half as many rank.", metavar="N")
    ] = "10",
    require_gain: Annotated[
        bool, typer.Option("--require-gain", help="End with 3 unless the winner is better than the default recipe.")
    ] = False,
    storage: Annotated[
        str | None,
        typer.Option(
            help="Where finished trials are kept: a journal file, or a database such as sqlite:///study.db or "
            "postgresql://... Whoever gives the same one, here or on another machine, shares the trials. "
            "Default: DIR/study.journal.",
            metavar="URL",
        ),
    ] = None,
    name: Annotated[str, typer.Option(help="Name of the study in its storage.", metavar="NAME")] = "hyperjax",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Delete the study that DIR holds first.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON instead of a table.")] = False,
    cache: Annotated[bool, typer.Option(help="Keep compiled programs for the next time.")] = True,
) -> None:
    """Search a task's hyperparameters and write a page that shows what mattered."""
    from rich.console import Console

    from hyperjax.checks import positive_integer, within
    from hyperjax.reports.folder import prepare_folder
    from hyperjax.studies import default_space, read_space
    from hyperjax.studies.pruners import check_pruner
    from hyperjax.studies.samplers import check_sampler
    from hyperjax.studies.storage import JOURNAL, forget
    from hyperjax.tasks import find

    check_sampler(sampler)
    check_pruner(pruner)
    whole = sampler == "grid" and trials is None
    count = None if whole else positive_integer("trials", 64 if trials is None else _number(trials))
    blocks = positive_integer("seeds", _number(seeds))
    together = None if batch is None else positive_integer("batch", _number(batch))
    again = _candidates(confirm, count, require_gain)
    measuring = positive_integer("fresh", _number(fresh))
    if measuring < 2:
        raise ValueError(f"fresh must be a whole number of at least 2, got {measuring}")
    passes, start = _number(epochs), _number(seed)
    if isinstance(passes, str):
        raise ValueError(f"epochs must be a number above 0, got {passes!r}")
    within("epochs", passes, 0.0, open_low=True)
    if not isinstance(start, int) or start < 0:
        raise ValueError(f"seed must be a whole number of at least 0, got {start!r}")
    learnt = find(task)
    varied = read_space(space, epochs=passes) if space is not None else default_space(passes, learnt)
    check_sampler(sampler, varied)
    where = storage or str(output / JOURNAL)
    folder = prepare_folder(output, overwrite, where)
    if overwrite:
        forget(where, name, folder)
    _keep_compiled_programs(cache)
    console = Console(stderr=as_json)
    asked: dict[str, Any] = {"trials": count, "seeds": blocks, "seed": start, "sampler": sampler, "batch": together}
    asked |= {"pruner": pruner, "storage": where, "name": name, "folder": folder}
    asked["shared"] = storage is not None and pruner is None
    code = _run(console, learnt, varied, asked, folder, as_json, (again, measuring), require_gain)
    if code:
        raise typer.Exit(code)


@app.command(
    epilog="Examples:\n\n"
    "  hyperjax report out\n\n"
    "  hyperjax report out --watch\n\n"
    "  hyperjax report out --storage postgresql://host/studies --name night --watch\n\n"
    "It reads what is kept of a study that runs, here or elsewhere, or was killed. It neither trains nor disturbs."
)
def report(
    folder: Annotated[
        Path,
        typer.Argument(help="Folder of the study; the files are written there.", metavar="DIR", show_default=False),
    ],
    watch: Annotated[
        bool, typer.Option("--watch", help="Write again whenever trials have ended, until all are there or Ctrl-C.")
    ] = False,
    every: Annotated[
        str, typer.Option(help="Seconds between two looks, and between two loads of the page.", metavar="SECONDS")
    ] = "5",
    storage: Annotated[
        str | None, typer.Option(help="Where the study is kept. Default: DIR/study.journal.", metavar="URL")
    ] = None,
    name: Annotated[str, typer.Option(help="Name of the study in its storage.", metavar="NAME")] = "hyperjax",
) -> None:
    """Write the page of a study that runs or was stopped, from what is kept of it."""
    from hyperjax.checks import within
    from hyperjax.reports.folder import prepare_folder
    from hyperjax.reports.watching import watch as watch_study
    from hyperjax.reports.watching import write_once
    from hyperjax.studies.reading import StudyReader
    from hyperjax.studies.storage import JOURNAL

    pause = _number(every)
    if isinstance(pause, str):
        raise ValueError(f"every must be a number above 0, got {pause!r}")
    within("every", pause, 0.0, open_low=True)
    where = storage or str(folder / JOURNAL)
    with StudyReader(where, name) as reader:
        prepare_folder(folder, storage=where)
        if watch:
            watch_study(reader, folder, pause, print)
        else:
            print(write_once(reader, folder))
    print(f"Next: open {folder / 'report.html'} in a browser")


def _run(
    console: "Console",
    task: Any,
    space: "Space",
    asked: dict[str, Any],
    folder: Path,
    as_json: bool,
    again: tuple[int, int],
    require_gain: bool,
) -> int:
    from hyperjax.reports import study_table
    from hyperjax.reports.folder import summary, write_study
    from hyperjax.reports.progress import trial_progress
    from hyperjax.reports.winner import winner_notes, winner_sentence
    from hyperjax.reports.wording import edge_notes, pruning_notes
    from hyperjax.studies import StudyInterrupted, plan
    from hyperjax.studies import study as search

    interrupted = False
    programs = str(plan(space, task))
    try:
        with trial_progress(console, programs) as progress:
            result = search(task, space, progress=progress, **asked)
    except StudyInterrupted as stop:
        result, interrupted = stop.study, True
    if not result.trials:
        print("hyperjax: interrupted before a trial had finished", file=sys.stderr)
        return 130
    if not interrupted:
        result, interrupted = _confirmed(console, task, result, *again)
    write_study(result, folder)
    winner = result.winner
    if as_json:
        print(json.dumps(summary(result), indent=2))
    else:
        for line in [] if winner is None else [winner_sentence(winner), *winner_notes(winner), ""]:
            console.print(line, highlight=False, markup=False)
        console.print(study_table(result))
        for note in (*edge_notes(result), *pruning_notes(result)):
            console.print(note, highlight=False, markup=False, soft_wrap=True)  # a line to paste stays whole
        if result.conditions["programs"]:
            console.print(f"Trained in {programs}.", highlight=False, markup=False)
        console.print(f"\nWrote {folder / 'report.html'}, trials.csv and best.json.")
        console.print(f"Next: open {folder / 'report.html'} in a browser", highlight=False)
    if interrupted:
        console.print(f"Interrupted: {len(result.trials)} finished trials were kept. The same command goes on.")
        return 130
    return 3 if require_gain and (winner is None or winner.verdict != "better") else 0


def _candidates(text: str | None, trials: int | None, require_gain: bool) -> int:
    """How many of the best trials are trained again."""
    if text is None:
        return min(max((trials or 64) // 16, 2), 8)
    count = _number(text)
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
        with trial_progress(console, doing="confirming", noun="runs") as progress:
            return confirm(study, task, top, seeds, progress=progress), False
    except KeyboardInterrupt:
        return study, True
    except ValueError as error:  # a default recipe that the task cannot train
        console.print(f"No winner: {error}", highlight=False, markup=False)
        return study, False


def _number(text: str) -> int | float | str:
    """The number that a text is, or else the text, for the message of whoever wants a number."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _keep_compiled_programs(wanted: bool) -> None:
    """Turn JAX's persistent compilation cache on, in the folder that the user has chosen for it or ours, or off."""
    import jax

    settings: dict[str, Any] = {"jax_enable_compilation_cache": wanted}
    if wanted and getattr(jax.config, "jax_compilation_cache_dir", None) is None:
        home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        settings["jax_compilation_cache_dir"] = str(Path(home) / "hyperjax" / "programs")
        settings["jax_persistent_cache_min_compile_time_secs"] = 0.1
        settings["jax_persistent_cache_min_entry_size_bytes"] = -1
    for name, value in settings.items():
        jax.config.update(name, value)
