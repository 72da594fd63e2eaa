"""One worker of a shared study: `python -m tests.studies.workers STORAGE TABLE CORE TRIALS [WAY]`."""

import os
import sys
from pathlib import Path

import hyperjax as hj
from tests.studies.kept import SPACE, line, rows
from tests.studies.kills import EXAMPLES, LONG, WAYS

PRUNED = {
    "pruned": {"pruner": "successive_halving", "batch": 8},
    "pruned ahead": {"pruner": "hyperband", "sampler": "tpe", "batch": 8, "ahead": True},
}


def worked(storage, trials, way="random"):
    """The study, with whoever else is at it; alone without a storage."""
    shared = {} if storage is None else {"storage": storage, "shared": True}
    asked = (WAYS | PRUNED)[way]
    return hj.study(line(examples=EXAMPLES), hj.space(**SPACE.entries | LONG), trials=trials, **asked, **shared)


if __name__ == "__main__":
    storage, table, core, trials, *way = sys.argv[1:]
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {int(core) % os.cpu_count()})
    found = worked(storage, int(trials), *way)
    Path(table).write_text("\n".join(map(repr, rows(found))))
