"""A study as a storage has it, for whoever looks on: nothing is held, written or trained, and no task is needed."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, NoReturn, cast

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    json_to_distribution,
)
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import BaseJournalBackend
from optuna.trial import FrozenTrial

from hyperjax.studies.archive import ASKED, STUDY
from hyperjax.studies.asking import quiet
from hyperjax.studies.bulk import NewTrials
from hyperjax.studies.distributions import from_optuna, from_params
from hyperjax.studies.identity import FORMAT
from hyperjax.studies.measures import from_words
from hyperjax.studies.ranges import Range
from hyperjax.studies.space import Space
from hyperjax.studies.storage import cause, database, is_url, journal_of, let_go, shown, sqlite_file
from hyperjax.studies.study import Study, Trial
from hyperjax.studies.trial_record import kept
from hyperjax.studies.winner import Winner
from hyperjax.studies.winner_record import WINNER, winner_of
from hyperjax.tasks import Task
from hyperjax.training.recipe import Recipe
from hyperjax.training.record import Run
from hyperjax.training.run_json import recalled


class StudyReader:
    """What a storage holds of a study, read again whenever it is asked for; what was read is kept.

    Args:
        storage, name: as in `study`.
    Attributes:
        place: the storage for a reader, without a password.
    Raises: ValueError where there is no such storage, no such study in it, or another program's.
    """

    def __init__(self, storage: str, name: str = "hyperjax"):
        self.place, self._where, self._name = shown(storage), storage, name
        self._open()

    def _open(self) -> None:
        self._journal: _Lines | None = None
        self._storage: BaseStorage
        if is_url(self._where):
            self._storage = _database(self._where)
        else:
            self._journal = _Lines(journal_of(self._where))
            self._storage = JournalStorage(self._journal)
        self._trials: dict[int, Trial] = {}
        self._last, self._versions = "", ""
        try:
            self._study = self._storage.get_study_id_from_name(self._name)
        except KeyError:
            raise ValueError(self._no_study()) from None
        except Exception as error:  # a database without Optuna's tables, and each driver's many
            raise ValueError(f"storage must be one of Optuna's, got {self.place!r}: {cause(error)}") from None
        self._new = NewTrials(self._storage, self._study)
        told = self._storage.get_study_user_attrs(self._study).get(STUDY)
        if not isinstance(told, dict) or told.get("format") != FORMAT:
            raise ValueError(
                f"storage must hold a study of this program's, got {self.place!r}, whose study {self._name} another "
                "one has written"
            )
        self._about = _About.of(told)

    def read(self) -> Study:
        """All that is there now.

        Its conditions hold `asked_trials` where that is known, and `last_trial`, when the last one was written.
        """
        if self._journal is not None and self._journal.replaced:
            self._open()
        with quiet():
            attributes = self._storage.get_study_user_attrs(self._study)
            found = self._new.read()
        for one in found:
            self._versions = self._versions or one.user_attrs.get("versions", "")
            own = kept(one)
            if own is not None and own.number not in self._trials:
                self._trials[own.number] = self._about.trial(one)
                self._last = f"{one.datetime_complete:%Y-%m-%d %H:%M:%S}"
        asked = attributes.get(ASKED, self._about.compared)
        conditions = {
            **({"asked_trials": asked} if asked else {}),
            "storage": self.place,
            "last_trial": self._last,
            **({"versions": self._versions} if self._versions else {}),
        }
        trials = tuple(self._trials[number] for number in sorted(self._trials))
        winner = winner_of(
            attributes.get(WINNER), trials, self._about.metric, self._about.direction, self._about.run_of
        )
        return self._about.study(trials, winner, conditions)

    def __enter__(self) -> "StudyReader":
        return self

    def __exit__(self, *_: object) -> None:
        """Let go of a database."""
        let_go(self._storage)

    def _no_study(self) -> str:
        there = [study.study_name for study in self._storage.get_all_studies()]
        known = f"which holds {', '.join(there)}" if there else "which holds none"
        return f"name must be that of a study in the storage, got {self._name!r} for {self.place!r}, {known}"


@dataclass(frozen=True)
class _About:
    """What the storage says of the study as a whole."""

    identity: Mapping[str, Any]
    metrics: Mapping[str, str]  # to "max" or "min", the one that ranks first
    distributions: Mapping[str, BaseDistribution]
    space: Space | None  # None: of functions that only their own program knows
    base: Recipe | None

    @classmethod
    def of(cls, identity: Mapping[str, Any]) -> "_About":
        distributions, fixed = {}, {}
        for name, (_, told) in identity["space"].items():
            if isinstance(told, str):
                distributions[name] = json_to_distribution(told)
            else:
                fixed[name] = CategoricalDistribution(told)
        try:
            base = Recipe.from_json(identity["recipe"])
            entries = from_optuna({name: (fixed | distributions)[name] for name in identity["space"]}).entries
            space = Space({name: entries[name][0] if name in fixed else entries[name] for name in entries})
        except ValueError:
            base, space = None, None
        return cls(identity, from_words(str(identity["metric"])), distributions, space, base)

    @property
    def metric(self) -> str:
        return next(iter(self.metrics))

    @property
    def direction(self) -> str:
        return self.metrics[self.metric]

    @property
    def compared(self) -> int | None:
        """Trials in all, where a pruner compares them."""
        return self.identity.get("trials")

    @property
    def searched(self) -> list[str]:
        return [
            name
            for name, given in self.distributions.items()
            if not isinstance(given, CategoricalDistribution) or len(given.choices) > 1
        ]

    def trial(self, found: FrozenTrial) -> Trial:
        own, searched = kept(found), self.searched
        assert own is not None
        values: Mapping[str, Any] = own.params
        if self.space is not None:
            values = self.space.meaningful(from_params(self.space, own.params), self.base)
        recipe = _recipe(found.user_attrs.get("recipe"))
        runs = [self.run_of(recipe, told) for told in own.runs]
        chosen = {name: value for name, value in values.items() if name in searched}
        return Trial(own.number, chosen, recipe, tuple(runs), own.pruned_at, costs=own.costs)

    def run_of(self, recipe: Recipe, told: Mapping[str, Any]) -> Run:
        ranked = cast(Task, _Ranked(self.metric, self.direction))
        return replace(recalled(ranked, recipe, told), _task=None, _numbers=_no_numbers)

    def study(self, trials: tuple[Trial, ...], winner: Winner | None, conditions: Mapping[str, Any]) -> Study:
        searched = self.searched
        ranges = {
            name: Range(given.low, given.high, given.log, isinstance(given, IntDistribution))
            for name, given in self.distributions.items()
            if isinstance(given, FloatDistribution | IntDistribution)
        }
        told = {name: text for name, (text, _) in self.identity["space"].items()}
        return Study(
            task=str(self.identity["task"]),
            space={name: text for name, text in told.items() if name in searched},
            trials=trials,
            metric=self.metric,
            direction=self.direction,
            seeds=tuple(self.identity["seeds"]),
            logs=frozenset(name for name, span in ranges.items() if span.log),
            continuous=frozenset(name for name, span in ranges.items() if not span.integer),
            ranges=ranges,
            fixed={name: text for name, text in told.items() if name not in searched},
            scientific=tuple(self.identity.get("scientific", ())),
            default=None if self.space is None else self.space.default(self.base),
            winner=winner,
            further={name: way for name, way in self.metrics.items() if name != self.metric},
            conditions={
                "sampler": self.identity.get("sampler"),
                **({"pruner": self.identity["pruner"]} if "pruner" in self.identity else {}),
                **conditions,
            },
        )


class _Ranked(NamedTuple):
    """All of a task that a run's metrics need."""

    ranking: str
    direction: str


@dataclass(frozen=True)
class _ToldRecipe:
    """A recipe with a function that only its own program knows, or may import: as text alone."""

    told: Any

    @property
    def epochs(self) -> Any:
        return self.told.get("epochs", Recipe().epochs) if isinstance(self.told, dict) else Recipe().epochs

    def to_json(self) -> str:
        return json.dumps(self.told)

    def __repr__(self) -> str:
        return self.told if isinstance(self.told, str) else json.dumps(self.told)


def _recipe(told: Any) -> Recipe:
    try:
        if isinstance(told, dict):
            return Recipe.from_json(json.dumps(told))
    except ValueError:
        pass
    return cast(Recipe, _ToldRecipe(told))


def _no_numbers(name: str, _: Any) -> NoReturn:
    raise ValueError(f"in_force must be asked of a run whose task is known, got {name!r} of one read from a storage")


class _Lines(BaseJournalBackend):
    """A journal's whole lines, as far as they are written; Optuna's own backend makes a file where there is none.

    Raises: ValueError where there is none, or it is no journal.
    """

    def __init__(self, path: Path):
        self._path, self._logs = path, list[dict[str, Any]]()
        try:
            with path.open("rb") as file:
                begin, self._file = file.read(11), path.stat()
        except OSError as error:
            raise ValueError(
                f"storage must be a study's journal, or a folder that holds one, got {str(path)!r}: {error.strerror}"
            ) from None
        if begin and not b'{"op_code":'.startswith(begin[:11]):
            raise ValueError(f"storage must be a journal of Optuna's, got {str(path)!r}, which begins with {begin!r}")
        self._offset = self._count = 0

    @property
    def replaced(self) -> bool:
        """Whether it was written anew: mended, or another study's."""
        now = self._path.stat()
        return now.st_ino != self._file.st_ino or now.st_size < self._offset

    def read_logs(self, log_number_from: int) -> Iterable[dict[str, Any]]:
        """Lines from a number on: the next, or none; what is no line is passed over, as it is when one is mended."""
        assert log_number_from == self._count
        with self._path.open("rb") as file:
            file.seek(self._offset)
            text = file.read()
        whole = text[: text.rfind(b"\n") + 1]
        self._offset += len(whole)
        found = []
        for line in whole.splitlines():
            try:
                log = json.loads(line)
            except ValueError:
                continue
            if isinstance(log, dict) and "op_code" in log:
                found.append(log)
        self._count += len(found)
        return found

    def append_logs(self, logs: list[dict[str, Any]]) -> NoReturn:
        """Refuse."""
        raise AssertionError("a reader writes nothing")


def _database(url: str) -> RDBStorage:
    file = sqlite_file(url)
    if file is not None and not file.is_file():
        raise ValueError(f"storage must be a database that is there, got {url!r}")
    return database(url, skip_compatibility_check=True, skip_table_creation=True)
