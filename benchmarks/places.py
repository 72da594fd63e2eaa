"""What taking freed places anew brings where members train side by side, as on an accelerator.

    python benchmarks/places.py                # some ten minutes on two cores
    python benchmarks/places.py --quick        # few short trials: shows that it runs

Under "vmap" a place of a block costs the same whether somebody has it or not, so a trial that was pruned saves nothing
until another one has its place. Digits by an MLP 64-128-128-10 for 20 epochs; searched are rate, decay, dropout,
optimizer and activation, by TPE and by chance, pruned by successive halving and Hyperband. Two ways take turns, with
equally many trials and equally wide blocks:

- a batch at a time: 64 trials race, and the next 64 begin when the last of them has ended, as before;
- a relay: 64 places, in which 16 trials begin as soon as 16 places are free.

Shown are medians and ranges of: seconds of training, compiling left out; the share of the places that somebody had who
moved, by counting; and the mean score on the test set of the best trial that ran to its end, trained anew with fresh
seeds.
"""

import argparse
import json
import statistics
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import hyperjax as hj
from hyperjax.training.chunk import Block

PLACES = 64
WAYS = ("a batch at a time", "a relay")
SHOWN = {"seconds": ".1f", "busy": ".0%", "worth": ".1f"}
FIRST_JUDGING_SEED = 1000


@contextmanager
def counted() -> Iterator[list[tuple[int, int]]]:
    """Of each block that is advanced, the members that move and its places."""
    seen: list[tuple[int, int]] = []
    advance = Block.advance

    def told(block: Block, fed: Any, keep: bool = True) -> None:
        seen.append((block.moving, block._width))
        advance(block, fed, keep)

    with patch.object(Block, "advance", told):
        yield seen


def search(task: hj.Task, way: str, sampler: str, pruner: str, seed: int, given: argparse.Namespace) -> dict[str, Any]:
    """One study, in one of the two ways."""
    relay = way == WAYS[1]
    own = hj.space(
        optimizer=["sgd", "momentum", "adam", "adamw", "rmsprop"],
        learning_rate=hj.log_uniform(1e-4, 1.0),
        weight_decay=hj.log_uniform(1e-6, 1e-1),
        dropout=hj.uniform(0.0, 0.5),
        activation=["relu", "tanh", "gelu"],
        batch_size=64,
        epochs=given.epochs,
    )
    asked: dict[str, Any] = {"batch": PLACES // 4 if relay else PLACES, "layout": "vmap", "width": PLACES}
    with counted() as blocks, patch("hyperjax.studies.search.is_relayed", lambda *_: relay):
        found = hj.study(task, own, given.trials, seed=seed, sampler=sampler, pruner=pruner, **asked)
    winner = found.best.recipe
    again = hj.fit_population(task, [winner], seeds=range(FIRST_JUDGING_SEED, FIRST_JUDGING_SEED + given.judging_seeds))
    worth = statistics.mean(float(hj.training.evaluate(task, run.model, "test")["accuracy"]) for run in again)
    return {
        "seconds": found.conditions["train_seconds"],
        "busy": sum(moving for moving, _ in blocks) / sum(width for _, width in blocks),
        "blocks": len(blocks),
        "worth": 100 * worth,
    }


def spread(values: list[float], form: str) -> str:
    return f"{statistics.median(values):{form}} ({min(values):{form}}-{max(values):{form}})"


def main() -> None:
    from contest import busy, conditions

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, help="of each study; 512 if left out")
    parser.add_argument("--epochs", type=int, help="of a trial; 20 if left out")
    parser.add_argument("--repeats", type=int, help="of each study; 3 if left out")
    parser.add_argument("--judging-seeds", type=int, help="of each winner; 8 if left out")
    parser.add_argument("--quick", action="store_true", help="128 trials of three epochs, by chance and halving, once")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every measurement there")
    given = parser.parse_args()
    usual = {"trials": (512, 128), "epochs": (20, 3), "repeats": (3, 1), "judging_seeds": (8, 1)}
    for option, (full, quick) in usual.items():
        if getattr(given, option) is None:
            setattr(given, option, quick if given.quick else full)
        elif getattr(given, option) < 1:
            parser.error(f"--{option.replace('_', '-')} must be at least 1, got {getattr(given, option)}")
    header = conditions()
    print(header)
    if busy():
        print("The machine is busy with something else: these figures will be disturbed.")
    task = hj.tasks.digits()
    record: dict[str, Any] = {"conditions": header.splitlines(), "trials": given.trials, "epochs": given.epochs}
    pairs = [("random", "successive_halving")]
    if not given.quick:
        pairs = [(sampler, pruner) for sampler in ("random", "tpe") for pruner in ("successive_halving", "hyperband")]
    for sampler, pruner in pairs:
        told: dict[str, list[dict[str, Any]]] = {way: [] for way in WAYS}
        search(task, WAYS[0], sampler, pruner, 0, argparse.Namespace(**vars(given) | {"trials": PLACES}))  # compiles
        for repeat in range(given.repeats):
            for way in WAYS[:: -1 if repeat % 2 else 1]:
                told[way].append(search(task, way, sampler, pruner, repeat, given))
        for way, own in told.items():
            seconds, share, worth = (spread([one[name] for one in own], form) for name, form in SHOWN.items())
            print(f"{sampler}, {pruner}, {way}: {seconds} s, {share} of the places at work, winner worth {worth}")
        ratio = statistics.median(
            before["seconds"] / after["seconds"] for before, after in zip(*told.values(), strict=True)
        )
        print(f"{sampler}, {pruner}: {ratio:.2f} times as fast by a relay", flush=True)
        record[f"{sampler}, {pruner}"] = {"ways": told, "ratio": ratio}
    if given.json is not None:
        given.json.write_text(json.dumps(record, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
