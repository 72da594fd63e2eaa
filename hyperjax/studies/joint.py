"""What two hyperparameters did together."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hyperjax.checks import one_of
from hyperjax.statistics import MedianInterval, median_interval
from hyperjax.studies.groups import grouped

if TYPE_CHECKING:
    from hyperjax.studies.study import Study


@dataclass(frozen=True)
class JointEffect:
    """The metric over two hyperparameters, the others varying as sampled.

    Attributes:
        names: both hyperparameters.
        metric, direction: what was measured.
        kinds: "number" (bins of equal counts) or "choice", of each.
        labels: of the bins or choices of each.
        trials: how many trials lie in each cell, a row for each bin of the first name.
        intervals: median with its 95 % interval of each cell; NaN where no trial lies.
    """

    names: tuple[str, str]
    metric: str
    direction: str
    kinds: tuple[str, str]
    labels: tuple[tuple[str, ...], tuple[str, ...]]
    trials: tuple[tuple[int, ...], ...]
    intervals: tuple[tuple[MedianInterval, ...], ...]

    @property
    def medians(self) -> np.ndarray:
        """f64[bins of the first name, bins of the second]: NaN where no trial lies."""
        return np.array([[cell.median for cell in row] for row in self.intervals]).reshape(
            [len(n) for n in self.labels]
        )


def joint_effect(study: "Study", name: str, other: str, bins: int) -> JointEffect:
    """The metric over two names; see `Study.effect`."""
    one_of("other", other, study.space)
    if name == other:
        raise ValueError(f"other must be another hyperparameter than name, got {other!r} twice")
    counted = [t for t in study.trials if np.isfinite(t.score) and name in t.values and other in t.values]
    scores = np.array([trial.score for trial in counted])
    (kind, rows), (other_kind, columns) = (
        grouped([trial.values[each] for trial in counted], bins, each in study.continuous) for each in (name, other)
    )
    cells = [[np.intersect1d(row.members, column.members) for column in columns] for row in rows]
    return JointEffect(
        names=(name, other),
        metric=study.metric,
        direction=study.direction,
        kinds=(kind, other_kind),
        labels=(tuple(row.label for row in rows), tuple(column.label for column in columns)),
        trials=tuple(tuple(len(cell) for cell in row) for row in cells),
        intervals=tuple(tuple(median_interval(scores[cell]) for cell in row) for row in cells),
    )
