"""The trained weights of a study's best few trials, so that a study that goes on has its winner as it was trained."""

import contextlib
import io
import math
import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from hyperjax.studies.study import Trial
from hyperjax.training.run_json import Arrays, trained_arrays

MOST = 8  # trials


class TrainedModels:
    """A folder with one file of arrays for each of the best trials; nothing is pickled.

    Args:
        folder: of these files alone; made when there is something to keep.
        direction: "max" or "min".
        scores: of the trials that were kept before, by number.
    Attributes:
        lacking: the best of those whose file is not there, since whoever trained them was killed before it was.
    """

    def __init__(self, folder: Path, direction: str, scores: Mapping[int, float]):
        self._folder, self._sign = folder, -1.0 if direction == "max" else 1.0
        best = {number: scores[number] for number in self._best(scores)}
        self._scores = {number: score for number, score in best.items() if self._path(number).exists()}
        self.lacking = best.keys() - self._scores.keys()

    def _best(self, scores: Mapping[int, float]) -> list[int]:
        finite = [number for number, score in scores.items() if math.isfinite(score)]
        return sorted(finite, key=lambda number: (self._sign * scores[number], number))[:MOST]

    def keep(self, trials: Sequence[Trial]) -> None:
        """Write the weights of those trials that are among the best; what they drive out is deleted."""
        ended = {trial.number: trial for trial in trials}
        scores = self._scores | {number: trial.score for number, trial in ended.items()}
        best = self._best(scores)
        for number in best:
            if number in ended:
                self._write(ended[number])
        for number in self._scores.keys() - set(best):
            self._path(number).unlink(missing_ok=True)
        self._scores = {number: scores[number] for number in best}

    def of(self, number: int, seeds: Sequence[int]) -> list[Callable[[], Arrays] | None]:
        """For each seed what reads its run's arrays; None where they are not kept."""
        if not self._path(number).exists():
            return [None] * len(seeds)
        return [partial(self._read, number, seed) for seed in seeds]

    def _write(self, trial: Trial) -> None:
        arrays = {f"{run.seed}/{name}": array for run in trial.runs for name, array in trained_arrays(run).items()}
        self._folder.mkdir(parents=True, exist_ok=True)
        beside = self._path(trial.number).with_suffix(".partial")
        try:
            with beside.open("wb") as file:
                content = io.BytesIO()
                np.savez(content, **arrays)  # type: ignore[arg-type]  # names are any text
                file.write(content.getbuffer())
                file.flush()
                os.fsync(file.fileno())
            os.replace(beside, self._path(trial.number))
        except OSError as error:
            with contextlib.suppress(OSError):
                beside.unlink()
            raise OSError(error.errno, error.strerror, str(beside)) from None

    def _read(self, number: int, seed: int) -> Arrays:
        path, before = self._path(number), f"{seed}/"
        try:
            with np.load(path, allow_pickle=False) as found:
                return {name.removeprefix(before): found[name] for name in found.files if name.startswith(before)}
        except (OSError, ValueError) as error:
            raise ValueError(f"weights must be in a file of arrays, got {str(path)!r}: {error}") from None

    def _path(self, number: int) -> Path:
        return self._folder / f"trial-{number}.npz"
