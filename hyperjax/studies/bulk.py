"""Finished trials written to a database, and read from it, many at a time: Optuna's own rows, a statement a kind.

Optuna writes a trial with two statements for each of its numbers, 67 for one of ten epochs: 30 ms of a core, as much as
a small network takes to train. Where a later Optuna has other tables, it is asked to do it in its way.
"""

import json
from collections import defaultdict
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from optuna.distributions import BaseDistribution, distribution_to_json, json_to_distribution
from optuna.storages import BaseStorage, RDBStorage
from optuna.trial import FrozenTrial, TrialState

FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)
_CHANGED = (ImportError, AttributeError, TypeError)  # what another version's tables give rise to


def write(storage: RDBStorage, study: int, trials: Sequence[FrozenTrial]) -> None:
    """Add finished trials to a study, all or none of them, numbered one after another as `create_new_trial` does."""
    if not trials:
        return
    try:
        from optuna.storages._rdb import models as m
        from sqlalchemy import func, insert, select
        from sqlalchemy.orm import Session

        own = [_own_row(one) for one in trials]
        others = [_other_rows(one) for one in trials]
    except _CHANGED:
        for one in trials:
            storage.create_new_trial(study, one)
        return
    with Session(storage.engine) as session, session.begin():
        m.StudyModel.find_or_raise_by_id(study, session, for_update=True)  # as whoever numbers trials does
        for row in own:
            row.study_id = study
        session.add_all(own)
        session.flush()  # from here on no one else writes to SQLite either, which has no lock on a row
        ids = sorted(row.trial_id for row in own)
        before = select(func.count()).where(m.TrialModel.study_id == study, m.TrialModel.trial_id < ids[0])
        first = session.execute(before).scalar_one()
        together = defaultdict[Any, list[dict[str, Any]]](list)
        for row, belonging in zip(own, others, strict=True):
            row.number = first + ids.index(row.trial_id)
            for table, columns in belonging:
                together[table].append({"trial_id": row.trial_id, **columns})
        for table, rows in together.items():
            session.execute(insert(table), rows)


def read(storage: RDBStorage, study: int, after: int = -1) -> list[FrozenTrial]:
    """The trials of a study that have finished, in order, without what they had reached epoch by epoch.

    Args:
        after: the identity (`_trial_id`) of the last one that is known.
    """
    try:
        return _read(storage, study, after)
    except _CHANGED:
        found = storage.get_all_trials(study, deepcopy=False, states=FINISHED)
        return [one for one in found if one._trial_id > after]


class NewTrials:
    """The trials of a study as it grows.

    Args:
        storage, study: where they are, and the study's number there.
    """

    def __init__(self, storage: BaseStorage, study: int):
        self._storage, self._study, self._last = storage, study, -1

    def read(self) -> list[FrozenTrial]:
        """Those that have finished since this was asked last; of a journal, which is in memory, all that there are."""
        if not isinstance(self._storage, RDBStorage):
            return self._storage.get_all_trials(self._study, deepcopy=False)
        found = read(self._storage, self._study, self._last)
        if found:
            self._last = found[-1]._trial_id
        return found


def _own_row(trial: FrozenTrial) -> Any:
    from optuna.storages._rdb.models import TrialModel

    made = TrialModel(state=trial.state)
    made.datetime_start, made.datetime_complete = trial.datetime_start, trial.datetime_complete
    return made


def _other_rows(trial: FrozenTrial) -> list[tuple[Any, dict[str, Any]]]:
    """What belongs to a trial: tables, and a row of each."""
    from optuna.storages._rdb import models as m

    rows: list[tuple[Any, dict[str, Any]]] = []
    for objective, value in enumerate(trial.values or ()):
        stored, kind = m.TrialValueModel.value_to_stored_repr(value)
        rows.append((m.TrialValueModel.__table__, {"objective": objective, "value": stored, "value_type": kind}))
    for name, distribution in trial.distributions.items():
        own = {"param_name": name, "param_value": distribution.to_internal_repr(trial.params[name])}
        rows.append((m.TrialParamModel.__table__, {**own, "distribution_json": distribution_to_json(distribution)}))
    for key, attribute in trial.user_attrs.items():
        rows.append((m.TrialUserAttributeModel.__table__, {"key": key, "value_json": json.dumps(attribute)}))
    for step, value in trial.intermediate_values.items():
        reached, sort = m.TrialIntermediateValueModel.intermediate_value_to_stored_repr(value)
        own = {"intermediate_value": reached, "intermediate_value_type": sort}
        rows.append((m.TrialIntermediateValueModel.__table__, {"step": step, **own}))
    return rows


def _read(storage: RDBStorage, study: int, after: int) -> list[FrozenTrial]:
    from optuna.storages._rdb import models as m
    from sqlalchemy import select
    from sqlalchemy.orm import Session

    trials = m.TrialModel
    own = (trials.study_id == study, trials.trial_id > after, trials.state.in_(FINISHED))
    with Session(storage.engine) as session:
        found: list[Any] = list(session.scalars(select(trials).where(*own).order_by(trials.trial_id)))
        if not found:
            return []
        last = found[-1].trial_id  # what is written meanwhile is for the next time

        def rows(table: Any) -> list[Any]:
            of = table.__table__.c
            chosen = select(of).join(trials, trials.trial_id == of.trial_id).where(*own, trials.trial_id <= last)
            return list(session.execute(chosen))

        values, params = defaultdict[int, dict[int, float]](dict), defaultdict[int, dict[str, Any]](dict)
        made, told = defaultdict[int, dict[str, BaseDistribution]](dict), defaultdict[int, dict[str, Any]](dict)
        for row in rows(m.TrialValueModel):
            values[row.trial_id][row.objective] = m.TrialValueModel.stored_repr_to_value(row.value, row.value_type)
        for row in rows(m.TrialParamModel):
            distribution = _distribution(row.distribution_json)
            params[row.trial_id][row.param_name] = distribution.to_external_repr(row.param_value)
            made[row.trial_id][row.param_name] = distribution
        for row in rows(m.TrialUserAttributeModel):
            told[row.trial_id][row.key] = json.loads(row.value_json)
        return [
            FrozenTrial(
                number=one.number,
                state=one.state,
                value=None,
                values=[values[one.trial_id][at] for at in sorted(values[one.trial_id])] or None,
                datetime_start=one.datetime_start,
                datetime_complete=one.datetime_complete,
                params=params[one.trial_id],
                distributions=made[one.trial_id],
                user_attrs=told[one.trial_id],
                system_attrs={},
                intermediate_values={},
                trial_id=one.trial_id,
            )
            for one in found
        ]


@lru_cache(maxsize=1000)
def _distribution(text: str) -> BaseDistribution:
    return json_to_distribution(text)
