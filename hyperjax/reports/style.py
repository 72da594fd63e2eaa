"""Colours by role, in light and dark, and the plain look that all figures share."""

from typing import Any

# Blue against vermilion stays apart in every common form of colour blindness; rank is told by lightness as well.
LIGHT = {
    "page": "#ffffff",
    "panel": "#f6f8fa",
    "ink": "#1b1f24",
    "muted": "#57606a",
    "line": "#d0d7de",
    "grid": "#e8ecf0",
    "accent": "#0a5ca8",
    "best": "#c2410c",
    "best-fill": "rgba(194,65,12,0.14)",
    "top": "#0a4f94",
    "band-0": "#3f86c6",
    "band-1": "#7caeda",
    "band-2": "#a9c7e0",
    "band-3": "#cbd6e0",
    "pruned": "#8d99a6",
    "diverged": "#8b2a6b",
    "point": "rgba(70,84,100,0.38)",
    "mean": "#0a5ca8",
    "mean-fill": "rgba(10,92,168,0.16)",
    "pinned": "#111418",
    "series-0": "#0072b2",
    "series-1": "#d55e00",
    "series-2": "#00805c",
    "series-3": "#b0578d",
    "series-4": "#2f9bd8",
    "series-5": "#a87400",
    "series-6": "#4d4d4d",
    "series-7": "#7a5195",
}
DARK = {
    "page": "#0f1419",
    "panel": "#171d24",
    "ink": "#e6edf3",
    "muted": "#9fabb8",
    "line": "#36414c",
    "grid": "#222b34",
    "accent": "#78bbff",
    "best": "#ff9d5c",
    "best-fill": "rgba(255,157,92,0.18)",
    "top": "#8cc5ff",
    "band-0": "#4d92d4",
    "band-1": "#3a6ea3",
    "band-2": "#305172",
    "band-3": "#2c3d4e",
    "pruned": "#6b7885",
    "diverged": "#e59ccb",
    "point": "rgba(170,186,203,0.36)",
    "mean": "#78bbff",
    "mean-fill": "rgba(120,187,255,0.2)",
    "pinned": "#ffffff",
    "series-0": "#5bb4ee",
    "series-1": "#ff8f45",
    "series-2": "#3fcf9f",
    "series-3": "#e59ccb",
    "series-4": "#9ad4f7",
    "series-5": "#f0b840",
    "series-6": "#c4c4c4",
    "series-7": "#c3a5e0",
}
FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "Liberation Sans", Arial, sans-serif'


def css_variables() -> str:
    """The palette as CSS custom properties; the page's script paints the figures from the same ones."""

    def block(colors: dict[str, str]) -> str:
        return "".join(f"--{name}:{color};" for name, color in colors.items())

    dark = f"@media screen and (prefers-color-scheme: dark){{:root{{{block(DARK)}color-scheme:dark}}}}"
    return f":root{{{block(LIGHT)}--font:{FONT};color-scheme:light}}{dark}"


def layout(**changes: Any) -> dict[str, Any]:
    """A figure's layout in the light palette, with `changes` over it."""
    axis = {"gridcolor": LIGHT["grid"], "linecolor": LIGHT["line"], "zeroline": False, "automargin": True}
    base: dict[str, Any] = {
        "template": "none",
        "paper_bgcolor": LIGHT["page"],
        "plot_bgcolor": LIGHT["page"],
        "font": {"family": FONT, "size": 12, "color": LIGHT["muted"]},
        "margin": {"l": 48, "r": 12, "t": 12, "b": 40},
        "hovermode": "closest",
        "hoverlabel": {"align": "left", "font": {"family": FONT, "size": 12}},
        "showlegend": False,
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "traceorder": "reversed"},
    }
    for name in ("xaxis", "yaxis"):
        base[name] = axis | changes.pop(name, {})
    return base | changes


def number_axis(title: str, log: bool = False, decades: float = 3.0) -> dict[str, Any]:
    """An axis for numbers, logarithmic ones labelled at powers of ten, and at 2 and 5 over two decades or fewer."""
    axis: dict[str, Any] = {"title": {"text": title, "standoff": 8}, "nticks": 6}
    if log:
        axis |= {"type": "log", "exponentformat": "e", "minexponent": 3}
        axis |= {"dtick": max(1, round(decades / 5)) if decades > 2 else "D2"}
    return axis
