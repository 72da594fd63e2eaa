"""The page of a diagnostic: its answer, its figures, its table."""

from typing import TYPE_CHECKING

from hyperjax.diagnostics import Diagnostic
from hyperjax.reports.diagnostics import FIGURES
from hyperjax.reports.html_tables import plain_table
from hyperjax.reports.page import Page, escape, figure_holder, section
from hyperjax.reports.wording import value_text

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


def diagnostic_figures(result: Diagnostic) -> "dict[str, Figure]":
    """The figures of a diagnostic by their headings; none of a kind that has none."""
    return next((figures(result) for kind, figures in FIGURES.items() if isinstance(result, kind)), {})


def diagnostic_page(result: Diagnostic) -> Page:
    """A diagnostic as a page."""
    header = f'<p class="eyebrow">HyperJAX diagnostic</p>\n<h1>{escape(result.title)}</h1>\n'
    page = Page(result.title, header + f'<p class="answer">{escape(result.answer)}</p>\n')
    for place, (heading, figure) in enumerate(diagnostic_figures(result).items()):
        page.figures[f"figure-{place}"] = figure
        page.sections.append(section(f"figure-{place}", heading, figure_holder(f"figure-{place}", heading)))
    headings, rows = result.table
    if rows:
        cells = [[cell if isinstance(cell, str) else value_text(cell) for cell in row] for row in rows]
        page.sections.append(section("table", "The numbers", plain_table(list(headings), cells, result.title)))
    return page
