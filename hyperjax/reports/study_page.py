"""The page of a study: the answer first, then what it rests on."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from hyperjax.reports.answer_sections import importance_section, isolation_section
from hyperjax.reports.curves import (
    FIRST,
    MOST_CURVES,
    curves_figure,
    points_each,
    study_curves,
    study_texts,
)
from hyperjax.reports.effects import MOST_DOTS, effect_figure, ranked_effects
from hyperjax.reports.front import front_section
from hyperjax.reports.html_tables import plain_table, trials_table
from hyperjax.reports.page import Page, code_block, conditions, escape, facts, figure_holder, section
from hyperjax.reports.parallel import FIRST as FIRST_LINES
from hyperjax.reports.parallel import MOST_LINES, parallel_figure
from hyperjax.reports.tables import searched_names
from hyperjax.reports.winner import winner_notes, winner_section, winner_sentence
from hyperjax.reports.wording import (
    compared_notes,
    edge_notes,
    half_width,
    in_short,
    is_number,
    number,
    plural,
    pruning_notes,
    recipe_code,
    seconds,
    spoken,
    value_text,
)
from hyperjax.studies.study import Study

BEST_ROWS = 10
MOST_ROWS = 1000  # of the table of all trials
AXIS_WIDTH = 84  # pixels, below which labels run into one another


class Running(NamedTuple):
    """How a page is told that more trials are coming.

    Attributes:
        every: seconds after which the page loads itself again.
        now: the time, as text.
    """

    every: float
    now: str


def study_page(study: Study, running: Running | None = None, table: str | None = None) -> Page:
    """Everything that a study has to show, as a page.

    Args:
        study: any.
        running: of a study that goes on; None: what there is stays so.
        table: address of the CSV file of all trials, if there is one.
    """
    page = Page(f"{study.task}: {plural(len(study.trials), 'trial')}", _header(study, running))
    page.reloads = None if running is None else running.every
    page.texts = texts = study_texts(study, searched_names(study))
    if study.trials:
        scored = any(math.isfinite(trial.score) for trial in study.trials)
        page.sections += [winner_section(study.winner, page)] if study.winner is not None else []
        page.sections += [_best(study)] if scored else []
        page.sections += [front_section(study, page)] if study.further else []
        page.sections.append(_curves(study, page))
        page.sections += [_parallel(study, page)] if searched_names(study) else []
        page.sections += [importance_section(study, page), _effects(study, page)] if scored else []
        page.sections += [isolation_section(study, page)] if scored else []
        page.sections.append(_all_trials(study, table))
    page.sections.append(_how(study))
    shown = _shown(study, page)
    page.texts = {number: text for number, text in texts.items() if number in shown}
    return page


def answer(study: Study) -> str:
    """One sentence, plain text: which trial was best and how good it is."""
    count = len(study.trials)
    if not count:
        return "No trial was finished, so there is nothing to compare."
    if study.winner is not None:
        return winner_sentence(study.winner)
    best, metric = study.best, spoken(study.metric)
    if math.isnan(best.score):
        diverged = sum(trial.diverged > 0 for trial in study.trials)
        if diverged < count:
            return f"No trial has a {metric} that is a number, so there is no best recipe."
        which = "The only trial" if count == 1 else f"All {count} trials"
        return f"{which} diverged, so there is no best recipe: lower learning rates or gradient clipping come next."
    words = in_short(best.values, best.recipe)
    spread = half_width(best.interval)
    within = f" ± {number(spread, 2)} over {len(study.seeds)} seeds" if math.isfinite(spread) else ""
    name = study.metric.removeprefix("validation_")
    tests = {f"test {spoken(key).removeprefix('test ')}": value for key, value in study.test.items()}
    shown = {key: value for key, value in tests.items() if key == f"test {spoken(name)}"} or tests
    test = "".join(f", {key} {number(value, 4)}" for key, value in shown.items())
    head = "The only trial" if count == 1 else f"Best of {count}"
    early = "" if best.pruned_at is None else f" It was pruned at epoch {best.pruned_at}; what was not has no score."
    return f"{head}: trial {best.number}{words}, {metric} {number(best.score, 4)}{within}{test}.{early}"


def _header(study: Study, running: Running | None) -> str:
    diverged = sum(trial.diverged > 0 for trial in study.trials)
    unfinished = sum(not trial.finished and trial.pruned_at is None for trial in study.trials)
    total: Any = study.conditions.get("seconds")
    better = "higher" if study.direction == "max" else "lower"
    pairs = [("trials", str(len(study.trials))), ("seeds a trial", str(len(study.seeds))), ("diverged", str(diverged))]
    pairs += [("pruned", str(len(study.pruned)))] if study.pruned else []
    pairs += [("time", seconds(float(total)))] if is_number(total) else []
    pairs += [(f"ranked by, {better} is better", spoken(study.metric))]
    parts = ['<p class="eyebrow">HyperJAX study</p>', f"<h1>{escape(study.task)}</h1>"]
    parts += _progress(study, running)
    if unfinished:
        parts.append(
            f'<p class="notice"><strong>Interrupted.</strong> {plural(unfinished, "trial")} of {len(study.trials)} '
            "ended before the last step; they are ranked by what they had reached.</p>"
        )
    lead, _, rest = answer(study).partition(":")
    told = f"<strong>{escape(lead)}:</strong>{escape(rest)}" if rest else escape(lead)
    parts.append(f'<p class="answer">{told}</p>')
    if study.winner is not None:
        parts += [f'<p class="note">{escape(note)}</p>' for note in winner_notes(study.winner)]
    elif study.trials and not math.isnan(study.best.score):
        if len(study.trials) > 1 and study.test:
            parts.append(
                '<p class="note">Chosen by validation, which flatters the winner of many trials; the test set took no '
                "part in the choice.</p>"
            )
        elif len(study.trials) > 1:
            parts.append('<p class="note">The winner of many trials looks better on validation than on new data.</p>')
    parts += [
        f'<p class="note">{escape(note)}</p>'
        for note in (*compared_notes(study), *edge_notes(study), *pruning_notes(study))
    ]
    parts.append(facts(pairs))
    if study.trials and not math.isnan(study.best.score):
        parts.append(code_block(recipe_code(study.chosen.recipe), f"The recipe of trial {study.chosen.number}"))
    return "\n".join(parts)


def _progress(study: Study, running: Running | None) -> list[str]:
    """How far a study has come, of one that was read from its storage."""
    asked: Any = study.conditions.get("asked_trials")
    last = study.conditions.get("last_trial")
    done = str(len(study.trials)) + ("" if asked is None else f" of {asked}")
    if running is not None:
        ended = f", the last one at {escape(last)}" if last else ""
        return [
            f'<p class="notice"><strong>Running.</strong> {done} trials have ended{ended}. Written at '
            f"{escape(running.now)}; this page loads itself again every {seconds(running.every)}.</p>"
        ]
    if last and asked is not None and len(study.trials) < asked:
        return [
            f'<p class="notice"><strong>Not complete.</strong> {done} trials have ended, the last one at '
            f"{escape(last)}; the study may be running, or the same command goes on with it.</p>"
        ]
    return []


def _best(study: Study) -> str:
    ranking = study.ranking[:BEST_ROWS]
    several = len(study.seeds) > 1
    said = f" ± is half of the 95 % Student interval over {len(study.seeds)} seeds." if several else ""
    note = f'<p class="note">By {escape(spoken(study.metric))} of the last epoch.{said}</p>\n'
    return section("best", "Best recipes", note + trials_table(study, ranking, f"The best {len(ranking)} trials"))


def _curves(study: Study, page: Page) -> str:
    recorded = dict.fromkeys(name for trial in study.trials for run in trial.runs for name in run.metrics)
    wanted = dict.fromkeys([study.metric, "validation_loss", "train_loss"])
    names = [name for name in wanted if name == study.metric or name in recorded]
    for name in names:
        page.figures[f"curves-{name}"] = curves_figure(study_curves(study, name, page.texts), name)
    labels = {name: f"Learning curves of all trials: {spoken(name)} over epochs" for name in names}
    buttons = "".join(
        f'<button type="button" data-in="curves" data-shows="curves-{escape(name)}" '
        f'data-label="{escape(labels[name])}" '
        f'aria-pressed="{"true" if name == study.metric else "false"}">{escape(spoken(name))}</button>'
        for name in names
    )
    choice = f'<div class="choices" role="group" aria-label="Metric of the curves">{buttons}</div>\n'
    closer = '<label class="closer"><input type="checkbox" id="closer"> closer look at the better half</label>\n'
    most = points_each(min(len(study.trials), MOST_CURVES))
    longest = max((len(run.epochs) for trial in study.trials for run in trial.runs), default=0)
    thin = f" Each curve is thinned from {longest} to at most {most} points, extremes kept." if longest > most else ""
    seeds = " Curves are means over the seeds; the band spans the best trial's seeds." if len(study.seeds) > 1 else ""
    ends = " Dotted ones end where the trial was pruned." if study.pruned else ""
    hint = "Click a curve, a point or a trial's number in a table to follow that trial through the page."
    return section(
        "curves",
        "Learning curves",
        '<p class="note">One line a trial, coloured by rank; hover for its values, '
        "drag to zoom, double-click to "
        f"zoom back. Crosses at the foot mark where a trial diverged.{ends}{seeds}{thin}"
        f"{_of_all(study, MOST_CURVES, FIRST, 'curves')}</p>\n"
        f'<div class="controls scripted">{choice if len(names) > 1 else ""}'
        f"{closer if any(page.figures[f'curves-{name}'].layout.meta for name in names) else ''}</div>\n"
        f"{figure_holder(f'curves-{study.metric}', labels[study.metric], identity='curves')}"
        f'<p class="pinned scripted" id="pinned" aria-live="polite" data-hint="{hint}">{hint}</p>\n',
    )


def _parallel(study: Study, page: Page) -> str:
    page.figures["parallel"] = parallel_figure(study, page.texts)
    axes = len(searched_names(study)) + 1
    label = f"Parallel coordinates: each trial as a line through its values to its {spoken(study.metric)}"
    logs = [spoken(name) for name in searched_names(study) if name in study.logs]
    scales = f" Logarithmic: {escape(', '.join(logs))}." if logs else ""
    pruned = " Dotted ones were pruned." if study.pruned else ""
    note = (
        f'<p class="note">One line a trial, from value to value and to its {escape(spoken(study.metric))} at the '
        f"right, better on top; colours are those of the curves, and a click follows a trial.{scales}{pruned}"
        f"{_of_all(study, MOST_LINES, FIRST_LINES, 'trials')} The table at the end has the numbers. "
        '<span class="narrow">Scroll it sideways.</span></p>\n'
    )
    holder = figure_holder("parallel", label)
    return section(
        "parallel",
        "Every trial through its values",
        f'{note}<div class="sideways" tabindex="0" role="region" aria-label="{escape(label)}">'
        f'<div style="min-width:{AXIS_WIDTH * axes}px">{holder}</div></div>\n',
    )


def _of_all(study: Study, most: int, first: int, noun: str) -> str:
    """What is said where not all are drawn."""
    count = len(study.trials)
    if count <= most:
        return ""
    return f" {most:,} of {count:,} {noun} are drawn: the best {first} and others at even distances in the ranking."


def _shown(study: Study, page: Page) -> set[int]:
    """The trials that some part of the page shows one by one."""
    rows = {trial.number for trial in study.ranking[:MOST_ROWS]}
    return rows.union(*(trace.customdata or () for figure in page.figures.values() for trace in figure.data))


def _effects(study: Study, page: Page) -> str:
    effects = ranked_effects(study)
    scores = [trial.score for trial in study.trials if math.isfinite(trial.score)]
    if not effects or len(scores) < 2:
        said = "Nothing was searched." if not effects else "One trial with a score is too few to compare."
        return section("effects", "What each hyperparameter did", f"<p>{said}</p>")
    vertical = (float(np.min(scores)), float(np.max(scores))) if scores and max(scores) > min(scores) else None
    panels = []
    for effect, share in effects:
        name = f"effect-{effect.name}"
        counted = [t.number for t in study.trials if math.isfinite(t.score) and effect.name in t.values]
        failed = [t.values[effect.name] for t in study.trials if t.diverged and effect.name in t.values]
        page.figures[name] = effect_figure(effect, counted, failed, vertical).update_layout(
            xaxis_title=None,
            yaxis_title=None,
            margin={"l": 44, "b": 28},  # the headings say both
        )
        said = (
            "share of variance unknown: too few trials" if math.isnan(share) else f"{100 * share:.0f} % of the variance"
        )
        panels.append(
            f"<section><h3>{escape(effect.name)}</h3><p>{said}</p>"
            f"{figure_holder(name, f'{spoken(effect.metric)} over {effect.name}: {said}', low=True)}</section>\n"
        )
    dots = f" At most {MOST_DOTS} trials are drawn in a panel; medians use all." if len(scores) > MOST_DOTS else ""
    ends = " Pruned trials count with what they had reached." if study.pruned else ""
    note = (
        f'<p class="note">{escape(spoken(study.metric).capitalize())} over each hyperparameter while the others vary: '
        "every trial as a dot, medians of bins of equal counts or of choices, 95 % intervals over trials where there "
        "are six or more. The purple bars show the share of trials that diverged; those have no score and no dot. The "
        "order is by the share of the scores' variance that lies between bins or choices (epsilon squared: eta squared "
        f"corrected for their number; 0 % means no more than chance).{ends}{dots}</p>\n"
    )
    return section("effects", "What each hyperparameter did", f'{note}<div class="panels">{"".join(panels)}</div>')


def _all_trials(study: Study, address: str | None) -> str:
    example = next((n for n in searched_names(study) if any(is_number(t.values.get(n)) for t in study.trials)), None)
    condition = f"{example}<0.01" if example else f"{study.metric}>0.9"
    return section(
        "trials",
        "All trials",
        f'<div class="filter scripted"><label for="filter">Filter</label>'
        f'<input id="filter" type="search" autocomplete="off" spellcheck="false" '
        f'placeholder="words, {escape(condition)}" aria-describedby="filter-help">'
        '<output id="count" for="filter"></output></div>\n'
        f'<p class="note scripted" id="filter-help">Words must occur in the row; conditions such as '
        f"<code>{escape(condition)}</code> compare a column (&lt; &gt; &lt;= &gt;= = !=). Several together must all "
        f"hold. Click a heading to sort.</p>\n{_rest(study, address)}"
        + trials_table(study, study.ranking[:MOST_ROWS], "All trials", sorts=True),
    )


def _rest(study: Study, address: str | None) -> str:
    count = len(study.trials)
    if count <= MOST_ROWS:
        return ""
    where = "study.table has" if address is None else f'<a href="{escape(address)}">{escape(address)}</a> has'
    return f'<p class="note">The best {MOST_ROWS:,} of {count:,} trials are listed; {where} all of them.</p>\n'


def _how(study: Study) -> str:
    rows = [(name, text) for name, text in study.space.items()]
    space = plain_table(("hyperparameter", "searched"), rows, "The space searched") if rows else ""
    seeds = ", ".join(map(str, study.seeds))
    pairs = [(spoken(name), _condition(name, value)) for name, value in study.conditions.items()]
    return section("how", "How it was run", conditions([*pairs, ("seeds", seeds)]) + space)


def _condition(name: str, value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{spoken(str(key))} {_condition(str(key), item)}" for key, item in value.items())
    if is_number(value) and ("seconds" in name or "time" in name):
        return seconds(float(value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return value_text(value, 4)
