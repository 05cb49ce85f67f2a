"""Parts that the page of a study and its Space have in common: templates, script, styles, and what they show."""

__all__ = ["TEMPLATES", "describe_context", "environment", "read_template"]

import base64
import io
import re
from collections import Counter
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from PIL import Image

from ..images.colours import INK, MUTED, PALETTE, PAPER
from ..images.colours import RULE as RULE_COLOUR
from .figures import read_figures
from .findings import RULE, Finding
from .page_methods import image_uri
from .results import StudyResults
from .study_figure import StudyFigure
from .table_metrics import display
from .table_notes import one_line

TEMPLATES = Path(__file__).with_name("templates")
# colours of charts become the page's, which has a dark variant
_CSS_COLOURS = {INK: "var(--ink)", MUTED: "var(--muted)", RULE_COLOUR: "var(--rule)", PAPER: "none"}
_CSS_COLOURS |= {colour: f"var(--{name})" for name, colour in PALETTE.items()}


@cache
def environment() -> Environment:
    """Environment of the templates."""
    return Environment(
        loader=FileSystemLoader(TEMPLATES),
        undefined=StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def read_template(*names: str) -> str:
    """Files of the folder of templates as one text."""
    return "".join(TEMPLATES.joinpath(name).read_text(encoding="utf-8") for name in names)


def describe_context(results: StudyResults, findings: Iterable[Finding], figures_folder: Path) -> dict[str, Any]:
    """What the blocks of `blocks.html` show, other than tables and methods.

    Args:
        results: results of the study.
        findings: claims with verdicts and evidence.
        figures_folder: folder that `write_figures` wrote to.
    """
    figures = read_figures(figures_folder)
    return {
        "results": results,
        "display": display,
        "facts": _facts(results),
        "states": _states(results),
        "problems": _problems(results),
        "findings": list(findings),
        "finding_rule": RULE,
        "number": _number,
        "columns": _columns,
        "figures": [figure for figure in figures if figure.method is None],
        "grids": {figure.name: figure for figure in figures if figure.method is not None},
        "drawings": {f.name: _drawing(figures_folder, f) for f in figures if f.missing is None},
        "tasks": list(results.tasks),
    }


def _drawing(folder: Path, figure: StudyFigure) -> Markup:
    """The SVG file of a figure as an element of the page, in the page's colours."""
    svg = (folder / f"{figure.name}.svg").read_text(encoding="utf-8")
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r'\s+xmlns(:\w+)?="[^"]*"', "", svg).replace("xlink:href", "href")
    svg = re.sub(r'data:image/png;base64,([^"]+)', _smaller, svg)
    colours = "|".join(map(re.escape, _CSS_COLOURS))
    svg = re.sub(colours, lambda found: _CSS_COLOURS[found[0]], svg)
    # attributes cannot hold var(), styles can
    svg = re.sub(r'fill="(var\([^)]*\))"', r'style="fill: \1"', svg)
    width = re.search(r'width="([\d.]+)(pt)?"', svg)
    natural = f"{float(width[1]):.0f}{width[2] or 'px'}" if width else "46rem"
    return Markup(svg.replace("<svg", f'<svg aria-hidden="true" style="--natural: {natural}"', 1))


def _smaller(uri: re.Match[str]) -> str:
    with Image.open(io.BytesIO(base64.b64decode(uri[1]))) as image:
        return image_uri(image)


def _facts(results: StudyResults) -> dict[str, str]:
    """What the study is and how it ran."""
    settings = results.settings
    sizes = settings.get("sizes") or {}
    dims = results.latent_dims
    data = []
    for name in results.datasets:
        counts = ", ".join(f"{count:,} {split}" for split, count in (sizes.get(name) or {}).items())
        latent = ", ".join(map(str, dims.get(name, [])))
        data.append(f"{display(name)}: {latent} latent dimensions" + (f"; {counts}" if counts else ""))
    facts = {
        "Data": "\n".join(data),
        "Networks": ", ".join(map(display, results.networks)),
        "Training": "\n".join(_describe_training(results)),
        "Samplers": ", ".join(map(display, results.samplers)),
        "Tasks": ", ".join(results.tasks),
        "Extractor": one_line(settings.get("extractor")),
        "Seeds": one_line(settings.get("seeds")),
        "Hardware": one_line(settings.get("hardware")),
        "Versions": one_line(settings.get("versions")),
    }
    return {name: text for name, text in facts.items() if text}


def _describe_training(results: StudyResults) -> list[str]:
    """The arguments of training in one line, or in one line per data set where they differ."""
    of_data = {name: results.training(name) for name in results.datasets}
    lines = {
        name: one_line({key: value for key, value in training.items() if value is not None})
        for name, training in of_data.items()
    }
    if len(set(lines.values())) == 1:
        return list(lines.values())[:1]
    return [f"{display(name)}: {line}" for name, line in lines.items()]


def _columns(rows: Iterable[dict[str, Any]]) -> list[str]:
    """Names of all values in the rows of a finding's evidence, the counts of comparisons last."""
    names = dict.fromkeys(name for row in rows for name in row)
    return sorted(names, key=lambda name: name in ("agree", "compared"))


def _number(value: Any) -> str:
    """A value of a finding's evidence."""
    return f"{value:,.4g}" if isinstance(value, float) else one_line(value)


def _states(results: StudyResults) -> dict[str, int]:
    """Number of cells in each state, in a fixed order."""
    counts = Counter(cell.state for cell in results.cells)
    return {state: counts[state] for state in ("done", "running", "waiting", "failed", "skipped") if counts[state]}


def _problems(results: StudyResults) -> list[dict[str, Any]]:
    """Failed and skipped cells; those with the same method, configuration and error are one entry."""
    found: dict[tuple[str, str, int, str], list[str]] = {}
    for cell in results.cells:
        if cell.state in ("failed", "skipped"):
            key = cell.state, cell.method, cell.configuration, cell.error or "no reason was recorded"
            place = f"{display(cell.network)}, {display(cell.dataset)} ({cell.latent_dim}), seed {cell.seed}"
            found.setdefault(key, []).append(place)
    return [
        {"state": state, "method": method, "configuration": number, "error": error, "places": places}
        for (state, method, number, error), places in found.items()
    ]
