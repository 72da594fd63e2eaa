"""One self-contained HTML file: sections, figures, style and script, with nothing fetched from anywhere."""

import html
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from typing import TYPE_CHECKING, Any

from hyperjax.reports.style import css_variables

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

# Nothing may be fetched: what a trial or task is called can then do no harm even where escaping had failed.
POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:; font-src data:"
)


@dataclass
class Page:
    """A page in the making.

    Attributes:
        title: plain text.
        header, sections: HTML, already escaped.
        figures: by the name that a section refers to.
        texts: hover text of each trial or run, stored once and spread over the points by the script.
        reloads: seconds after which the page loads itself again; None: never.
    """

    title: str
    header: str = ""
    sections: list[str] = field(default_factory=list)
    figures: "dict[str, Figure]" = field(default_factory=dict)
    texts: Mapping[int, str] = field(default_factory=dict)
    reloads: float | None = None

    def render(self) -> str:
        """The whole file as text."""
        from plotly.offline import get_plotlyjs

        files = resources.files("hyperjax.reports")
        style = files.joinpath("page.css").read_text("utf-8")
        script = files.joinpath("page.js").read_text("utf-8")
        figures = {name: _compact(figure, bool(self.texts)) for name, figure in self.figures.items()}
        data = script_json({"figures": figures, "texts": self.texts, "reloads": self.reloads})
        return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<meta name="color-scheme" content="light dark">
<meta name="generator" content="HyperJAX">
<link rel="icon" href="data:,">
<title>{escape(self.title)}</title>
<style>{css_variables()}
{style}</style>
</head>
<body>
<header>
{self.header}
</header>
<main>
{"".join(self.sections)}
</main>
<footer><p>Made by HyperJAX. This file is complete in itself and opens offline.</p></footer>
<noscript><p>The figures, sorting and filtering need JavaScript.</p></noscript>
<script type="application/json" id="data">{data}</script>
<script>{get_plotlyjs()}</script>
<script>{script}</script>
</body>
</html>
"""


def escape(text: object) -> str:
    """Text made safe between tags and in quoted attributes."""
    return html.escape(str(text), quote=True)


def script_json(value: Any) -> str:
    """JSON that may stand inside a script element, whatever strings it holds."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"), ensure_ascii=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def section(name: str, heading: str, body: str) -> str:
    """A landmark with its heading."""
    return (
        f'<section aria-labelledby="{name}-heading"><h2 id="{name}-heading">{escape(heading)}</h2>\n{body}</section>\n'
    )


def figure_holder(name: str, label: str, low: bool = False, identity: str = "") -> str:
    """Where the script draws the figure called `name`."""
    known = f' id="{escape(identity)}"' if identity else ""
    kind = "figure low" if low else "figure"
    return f'<div class="{kind}"{known} role="img" aria-label="{escape(label)}" data-figure="{escape(name)}"></div>\n'


def facts(pairs: Sequence[tuple[str, str]]) -> str:
    """Large figures with small labels."""
    items = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in pairs)
    return f'<dl class="facts">{items}</dl>\n'


def conditions(pairs: Sequence[tuple[str, str]]) -> str:
    """Names and values in two columns."""
    items = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in pairs)
    return f'<dl class="conditions">{items}</dl>\n'


def code_block(code: str, caption: str) -> str:
    """Code with a button that copies it."""
    return (
        f'<figure class="code"><figcaption>{escape(caption)}'
        '<button type="button" class="scripted" data-copies="recipe-code">Copy</button></figcaption>'
        f'<pre tabindex="0"><code id="recipe-code">{escape(code)}</code></pre></figure>\n'
    )


def _compact(figure: "Figure", shared_texts: bool) -> dict[str, Any]:
    """A figure as plain data, without the hover texts that the page stores once."""
    plain: dict[str, Any] = json.loads(figure.to_json())
    for trace in plain["data"]:
        if shared_texts and trace.get("customdata"):
            trace.pop("text", None)
    return plain
