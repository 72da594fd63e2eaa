"""The figure of a transfer: the best learning rate, and the one that blows up, over the size."""

import math
from typing import TYPE_CHECKING

from hyperjax.diagnostics import Transfer
from hyperjax.reports.curves import rounded
from hyperjax.reports.style import LIGHT, layout, number_axis
from hyperjax.reports.wording import number

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


def transfer_figures(result: Transfer) -> "dict[str, Figure]":
    """The figure of a transfer under its heading."""
    return {f"Best learning rate over the {result.over}": transfer_figure(result)}


def transfer_figure(result: Transfer) -> "Figure":
    """Draw the best rate and the blow-up at each size with their 95 % intervals."""
    import plotly.graph_objects as go

    means = [end.mean for ends in (result.best, result.upper) for end in ends]
    sizes = number_axis(result.over, True, math.log10(result.sizes[-1] / result.sizes[0]))
    figure = go.Figure(
        layout=layout(
            xaxis=sizes | {"tickvals": result.sizes.tolist(), "ticktext": [number(size) for size in result.sizes]},
            yaxis=number_axis("learning rate", True, math.log10(max(means) / min(means))),
            showlegend=True,
        )
    )
    for role, name, ends in (("diverged", "blows up", result.upper), ("mean", "best", result.best)):
        figure.add_scatter(
            x=result.sizes.tolist(),
            y=rounded([end.mean for end in ends]),
            error_y={
                "type": "data",
                "symmetric": False,
                "array": rounded([min(end.high, 10 * end.mean) - end.mean for end in ends]),
                "arrayminus": rounded([end.mean - max(end.low, end.mean / 10) for end in ends]),
                "color": LIGHT[role],
            },
            mode="lines+markers",
            name=name,
            line={"color": LIGHT[role], "width": 2},
            marker={"color": LIGHT[role], "size": 8},
            hovertemplate=f"{result.over} %{{x:.3g}}<br>{name} %{{y:.3g}}<extra></extra>",
            meta={"role": role},
        )
    return figure
