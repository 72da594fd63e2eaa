"""Population based training as figures and as a page: curves of all members, and the schedules that they found."""

import math
from typing import TYPE_CHECKING

import numpy as np

from hyperjax.reports.curves import Curve, curves_figure, hover_text, mean_curve, wide
from hyperjax.reports.html_tables import plain_table
from hyperjax.reports.page import Page, code_block, conditions, escape, facts, figure_holder, section
from hyperjax.reports.style import number_axis
from hyperjax.reports.wording import is_number, number, plural, recipe_code, seconds, spoken, value_text
from hyperjax.studies import PopulationBased

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


def population_figures(found: PopulationBased) -> dict[str, "Figure"]:
    """The ranking metric of every member over epochs, then each number that was searched along their lineages."""
    texts = population_texts(found)
    curves = [mean_curve(m.number, texts[m.number], [m.run], found.metric) for m in found.ranking]
    figures = {spoken(found.metric).capitalize(): curves_figure(curves, found.metric, "member")}
    for name in found.space:
        rows = {member.number: found.schedule(name, member.number) for member in found.ranking}
        if not all(len(row) and row.dtype != object for row in rows.values()):
            continue
        lines = []
        for key, row in rows.items():
            values = np.append(np.asarray(row, np.float64), row[-1])  # each holds until the next epoch begins
            lines.append(Curve(key, texts[key], np.arange(len(values), dtype=np.float64), values, values, values, None))
        figure = curves_figure(lines, name, "member").update_traces(line_shape="hv")
        log, decades = wide(np.concatenate([line.y for line in lines]))
        figure.update_yaxes(number_axis(spoken(name), log, decades))
        figures[f"{name}, as it was found"] = figure
    return figures


def population_texts(found: PopulationBased) -> dict[int, str]:
    """Hover text of each member, by its number."""
    texts = {}
    for rank, member in enumerate(found.ranking, 1):
        run = member.run
        place = f"diverged at step {run.diverged_at}" if run.diverged else f"rank {rank}, {number(run.score, 4)}"
        words = [(name, value_text(value)) for name, value in member.history[-1].values.items()]
        texts[member.number] = hover_text(f"member {member.number} ({place})", words)
    return texts


def population_page(found: PopulationBased) -> Page:
    """The best member, the schedule that it found, and how all members got where they are."""
    best, count = found.best, len(found.members)
    scored = not math.isnan(best.run.score)
    said = f"Best of {count}: member {best.number}, {spoken(found.metric)} {number(best.run.score, 4)}."
    lead = said if scored else f"All {count} members diverged, so there is no best one."
    copies = found.conditions.get("copies", 0)
    counted = [("members", str(count)), ("epochs between copies", str(found.every)), ("copies", value_text(copies))]
    header = f'<p class="eyebrow">HyperJAX population based training</p>\n<h1>{escape(found.task)}</h1>\n'
    header += f'<p class="answer">{escape(lead)}</p>\n{facts(counted)}'
    header += code_block(recipe_code(best.run.recipe), f"The last recipe of member {best.number}") if scored else ""
    page = Page(f"{found.task}: {plural(count, 'member')}", header, texts=population_texts(found))
    for place, (heading, figure) in enumerate(population_figures(found).items()):
        page.figures[f"figure-{place}"] = figure
        page.sections.append(section(f"figure-{place}", heading, figure_holder(f"figure-{place}", heading)))
    names = list(found.space)
    rows = [
        [str(piece.epoch), str(piece.member), *(value_text(piece.values.get(name)) for name in names)]
        for piece in best.history
    ]
    table = plain_table(["from epoch", "member", *names], rows, f"How member {best.number} was trained")
    note = (
        '<p class="note">Each row is a recipe by which these weights were trained, and the member that had them.</p>\n'
    )
    page.sections.append(section("lineage", "The schedule that was found", note + table))
    pairs = [
        (spoken(name), seconds(value) if "seconds" in name and is_number(value) else value_text(value))
        for name, value in found.conditions.items()
    ]
    page.sections.append(section("how", "How it was run", conditions(pairs)))
    return page
