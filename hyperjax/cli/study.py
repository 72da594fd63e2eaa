"""hyperjax study: its arguments."""

from pathlib import Path
from typing import Annotated, Any

import typer

from hyperjax.cli.values import number, seed_of

EPILOG = (
    "Examples:\n\n"
    "  hyperjax study digits --trials 256 --output out\n\n"
    "  hyperjax study digits --trials 64 --seeds 3 --space space.toml --output out2\n\n"
    "  hyperjax study digits --trials 256 --sampler tpe --output out3\n\n"
    "  hyperjax study digits --trials 256 --pruner hyperband --output out4\n\n"
    "  hyperjax study digits --scientific activation --output out5\n\n"
    "  hyperjax study digits --budget 5m --sampler tpe --metric loss --output out6\n\n"
    "  hyperjax study digits --space space.toml --sampler nsga2 --metric accuracy,parameters --output out7\n\n"
    "  hyperjax study digits --confirm 4 --fresh 20 --require-gain --output out5 && deploy\n\n"
    "The same command again goes on with a study that was stopped or killed, or that is to have more --trials. "
    "To watch it meanwhile:  hyperjax report out --watch  or  optuna-dashboard out/study.journal\n\n"
    "Samplers: random draws each trial for itself, quasi_random covers the space more evenly, grid goes through lists; "
    "tpe, cmaes, nsga2 and gp (seconds a trial: for few, long ones) look at the scores of earlier batches. A smaller "
    "--batch learns sooner, a larger one keeps more cores busy.\n\n"
    "Several metrics: the first one ranks; page and best.json also have the Pareto front, the trials that no other one "
    "beats by all metrics. Those behind the first may be costs: parameters (weights that are trained), epochs (that "
    "were trained), flops (of a forward pass).\n\n"
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
        typer.Option(
            help="How many recipes to draw from the space. Default: 64; of a grid, all; with --budget, what it pays.",
            metavar="N",
        ),
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
    ahead: Annotated[
        bool,
        typer.Option("--ahead", help="Draw a batch while the one before it trains: it learns one batch later."),
    ] = False,
    scientific: Annotated[
        str | None,
        typer.Option(
            help="Lists of the space whose values are compared, each at its best setting of all the rest, such as "
            "activation or optimizer,schedule: each gets as many trials. Default: none.",
            metavar="NAMES",
        ),
    ] = None,
    budget: Annotated[
        str | None,
        typer.Option(
            help='What the search may cost: time such as 90s, 10m, 1.5h, or "5000 epochs" of all runs together. '
            "Default: what the trials take.",
            metavar="COST",
        ),
    ] = None,
    min_gain: Annotated[
        str | None,
        typer.Option(
            help="End when the later half of the trials has gained no more than this over the first. Default: never.",
            metavar="X",
        ),
    ] = None,
    metric: Annotated[
        str | None,
        typer.Option(
            help="What ranks: loss, or a metric of the task; or several, such as accuracy,parameters, for their front. "
            "Default: the task's first.",
            metavar="NAME",
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
    from hyperjax.cli.programs import keep_compiled_programs
    from hyperjax.cli.searching import candidates, run
    from hyperjax.reports.folder import prepare_folder
    from hyperjax.studies import default_space, read_space
    from hyperjax.studies.ending import budget_of
    from hyperjax.studies.measures import Measures, check_several
    from hyperjax.studies.pruners import check_pruner, judges_batches_alone
    from hyperjax.studies.roles import scientific_names
    from hyperjax.studies.samplers import check_sampler
    from hyperjax.studies.storage import JOURNAL, forget
    from hyperjax.tasks import find

    check_sampler(sampler)
    check_pruner(pruner)
    limited = budget_of(budget).given
    whole = trials is None and (sampler == "grid" or limited)
    count = None if whole else positive_integer("trials", 64 if trials is None else number(trials))
    blocks = positive_integer("seeds", number(seeds))
    together = None if batch is None else positive_integer("batch", number(batch))
    again = candidates(confirm, count, require_gain)
    measuring = positive_integer("fresh", number(fresh))
    if measuring < 2:
        raise ValueError(f"fresh must be a whole number of at least 2, got {measuring}")
    passes = number(epochs)
    if isinstance(passes, str):
        raise ValueError(f"epochs must be a number above 0, got {passes!r}")
    within("epochs", passes, 0.0, open_low=True)
    start = seed_of(seed)
    gain = None if min_gain is None else number(min_gain)
    if isinstance(gain, str):
        raise ValueError(f"min_gain must be a number of at least 0, got {gain!r}")
    learnt = find(task)
    names = None if metric is None else [name.strip() for name in metric.split(",")]
    check_several(Measures(learnt, names).metrics, sampler, pruner)  # refused before a folder is made
    varied = read_space(space, epochs=passes) if space is not None else default_space(passes, learnt)
    check_sampler(sampler, varied)
    given = [] if scientific is None else [name.strip() for name in scientific.split(",")]
    compared = scientific_names(given, varied)
    where = storage or str(output / JOURNAL)
    folder = prepare_folder(output, overwrite, where)
    if overwrite:
        forget(where, name, folder)
    keep_compiled_programs(cache)
    console = Console(stderr=as_json)
    asked: dict[str, Any] = {"trials": count, "seeds": blocks, "seed": start, "sampler": sampler, "batch": together}
    asked |= {"metric": names, "budget": budget, "min_gain": gain, "ahead": ahead}
    asked["scientific"] = compared
    asked |= {"pruner": pruner, "storage": where, "name": name, "folder": folder}
    asked["shared"] = storage is not None and (pruner is None or judges_batches_alone(pruner))
    code = run(console, learnt, varied, asked, folder, as_json, (again, measuring), require_gain)
    if code:
        raise typer.Exit(code)
