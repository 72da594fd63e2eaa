"""Tables, figures and pages of results; Plotly is imported only here, and only when something is drawn."""

from hyperjax.reports.figures import plot
from hyperjax.reports.report import report
from hyperjax.reports.tables import study_table, trials_csv

__all__ = ["plot", "report", "study_table", "trials_csv"]
