"""Studies that are killed at random moments, and go on: `python -m tests.studies.kills --kills 100 --writes 20`.

Processes are forked from this one, which has imported everything and started nothing, so that a kill costs a second.
"""

import argparse
import contextlib
import itertools
import json
import os
import random
import signal
import sys
import tempfile
import time
import warnings
from pathlib import Path

import hyperjax as hj
from tests.studies.kept import SPACE, line, rows

TRIALS = 48
WAYS = {
    "random": {"sampler": "random"},
    "tpe": {"sampler": "tpe", "batch": 8},
    "vmap": {"sampler": "tpe", "batch": 12, "layout": "vmap", "seeds": 2},
    "relay": {"sampler": "tpe", "batch": 4, "layout": "vmap", "pruner": "successive_halving"},
}
EXAMPLES, LONG = 30_000, {"epochs": 8}  # a twentieth of a second a trial


def searched(folder, way, seed, cut=None):
    """Train, in this process; with `cut`, die in the middle of writing the line with that number."""
    import jax

    jax.config.update("jax_compilation_cache_dir", str(folder.parent / "programs"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    if cut is not None:
        from hyperjax.studies import journal

        write, count = os.write, itertools.count(1)

        def dying(file, text):
            if next(count) == cut:
                write(file, text[: random.Random(seed).randrange(1, len(text))])
                os.kill(os.getpid(), signal.SIGKILL)
            return write(file, text)

        journal.os = type("os", (), {**vars(os), "write": staticmethod(dying)})
    counted = os.open(folder / "counted", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = hj.study(
            line(examples=EXAMPLES),
            hj.space(**SPACE.entries | LONG),
            trials=TRIALS,
            seed=seed,
            storage=folder,
            progress=lambda done, _: os.pwrite(counted, b"%6d" % done, 0),
            **WAYS[way],
        )
    (folder / "table").write_text("\n".join(map(repr, rows(found))))


def forked(*arguments):
    """A process that trains."""
    sys.stdout.flush()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # nothing of JAX's has been started here
        child = os.fork()
    if child:
        return child
    code = 1
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        searched(*arguments)
        code = 0
    finally:
        os._exit(code)


def ended(child, seconds=None):
    """Whether a process came to its end by itself; after so many seconds it is killed."""
    deadline = time.monotonic() + (seconds if seconds is not None else 300)
    while time.monotonic() < deadline:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            if os.WIFSIGNALED(status):
                return False
            assert os.WEXITSTATUS(status) == 0, "the study failed"
            return True
        time.sleep(0.001)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert seconds is not None, "the study hangs"
    return False


def kept(folder):
    """The numbers of the trials that a journal holds, read without Optuna and without what a kill cut."""
    found = []
    with contextlib.suppress(FileNotFoundError):
        for text in (folder / "study.journal").read_bytes().split(b"\n")[:-1]:
            entry = json.loads(text)
            found += [entry["user_attrs"]["trial"]] if entry["op_code"] == 4 else []
    return found


def undisturbed(folder, way, seed):
    """The table of a study that nobody kills, and how long it takes."""
    folder.mkdir(parents=True)
    begin = time.monotonic()
    assert ended(forked(folder, way, seed))
    return (folder / "table").read_text(), time.monotonic() - begin


def killed(own, way, seed, table, seconds, dice, kills, cut):
    """A study, killed over and over; how often, and how many trials it had counted more than were kept."""
    before, count, unwritten = [], 0, 0
    own.mkdir()
    done = False
    while not done:
        line_number = dice.randrange(1, TRIALS // 3) if cut else None
        wait = dice.uniform(0, 0.7 * seconds) if not cut and count < kills else None
        done = ended(forked(own, way, seed, line_number if count < kills else None), wait)
        count += not done
        after = kept(own)
        assert len(set(after)) == len(after), f"twice: {sorted(after)}"
        assert set(before) <= set(after), f"lost: {sorted(set(before) - set(after))}"
        with contextlib.suppress(FileNotFoundError, ValueError):
            unwritten = max(unwritten, int((own / "counted").read_text()) - len(after))
        before = after
    assert sorted(before) == list(range(TRIALS)) and (own / "table").read_text() == table, (
        f"{way}, seed {seed}: differs"
    )
    return count, unwritten


def main(arguments=None):
    """Kill as often as asked, and say so."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100, help="at random moments")
    parser.add_argument("--writes", type=int, default=20, help="in the middle of a line")
    parser.add_argument("--each", type=int, default=6, help="of one study, at most")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    asked = parser.parse_args(arguments)
    dice, begin = random.Random(asked.seed), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="hyperjax-kills-") as folder:
        for way in WAYS:
            undisturbed(Path(folder) / f"{way}-first", way, 0)  # compiles
        tables = {way: undisturbed(Path(folder) / way, way, 0) for way in WAYS}
        for kind, wanted in (("at random", asked.kills), ("in a write", asked.writes)):
            total, studies, unwritten = 0, 0, 0
            while total < wanted:
                way = list(WAYS)[studies % len(WAYS)]
                place = Path(folder) / f"{kind.replace(' ', '-')}-{studies}"
                left = min(asked.each, wanted - total)
                count, lag = killed(place, way, 0, *tables[way], dice, left, kind == "in a write")
                total, studies, unwritten = total + count, studies + 1, max(unwritten, lag)
            print(
                f"{total} kills {kind} over {studies} studies of {TRIALS} trials: no trial lost, none twice, tables "
                f"bit-identical; at most {unwritten} trials counted and not yet written; {time.monotonic() - begin:.0f} s"
            )


if __name__ == "__main__":
    main()
