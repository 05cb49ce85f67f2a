"""Parts that the page of a study and its Space have in common: templates, script, styles, and what they show."""

__all__ = ["TEMPLATES", "describe_context", "environment", "read_template"]

import base64
import io
import re
import zlib
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
from .cell_facts import describe_extractors, warn_of_extractors
from .figures import read_figures
from .findings import PAPER_TITLE, RULE, Finding, describe_unmeasured
from .page_findings import view_findings
from .page_methods import image_uri
from .paper_values import PAPER_URL
from .results import StudyResults
from .study_figure import StudyFigure
from .table_metrics import display
from .table_notes import describe_values, one_line

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
    measured, unmeasured = view_findings(findings)
    return {
        "results": results,
        "display": display,
        "facts": _facts(results),
        "states": _states(results),
        "problems": _problems(results),
        "findings": measured,
        "unmeasured": unmeasured,
        "unmeasured_line": describe_unmeasured(len(unmeasured)),
        "finding_rule": RULE,
        "paper_title": PAPER_TITLE,
        "paper_url": PAPER_URL,
        "warnings": warn_of_extractors(results),
        "figures": [figure for figure in figures if figure.method is None],
        "grids": {figure.name: figure for figure in figures if figure.method is not None},
        "drawings": {f.name: _drawing(figures_folder, f) for f in figures if f.missing is None},
        "tasks": results.measured_tasks,
    }


def _drawing(folder: Path, figure: StudyFigure) -> Markup:
    """The SVG file of a figure as an element of the page, in the page's colours."""
    svg = (folder / f"{figure.name}.svg").read_text(encoding="utf-8")
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r'\s+xmlns(:\w+)?="[^"]*"', "", svg).replace("xlink:href", "href")
    svg = re.sub(r'data:image/png;base64,([^"]+)', _smaller, svg)
    svg = re.sub(r"font-family: [^;]*; ", "", svg)  # the page has its own font
    svg = re.sub(r' transform="rotate\(-?0 [^"]*\)"', "", svg)
    svg = re.sub(r"\d+\.\d{3,}(?=[ \n\")])", lambda found: f"{float(found[0]):.2f}", svg)
    colours = "|".join(map(re.escape, _CSS_COLOURS))
    svg = re.sub(colours, lambda found: _CSS_COLOURS[found[0]], svg)
    svg = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{figure.name}-", svg)  # equal marks of two charts share names
    # attributes cannot hold var(), styles can
    svg = _share_styles(re.sub(r'fill="(var\([^)]*\))"', r'style="fill: \1"', svg))
    width = re.search(r'width="([\d.]+)(pt)?"', svg)
    natural = f"{float(width[1]):.0f}{width[2] or 'px'}" if width else "46rem"
    return Markup(svg.replace("<svg", f'<svg aria-hidden="true" style="--natural: {natural}"', 1))


def _share_styles(svg: str) -> str:
    """The drawing with each style written once, in a class that is named after its content."""
    names = {style: f"s{zlib.crc32(style.encode()):08x}" for style in re.findall(r' style="([^"]*)"', svg)}
    svg = re.sub(r' style="([^"]*)"', lambda found: f' class="{names[found[1]]}"', svg)
    rules = "".join(f".{name}{{{style}}}" for style, name in names.items())
    return svg.replace("</style>", f"{rules}</style>", 1)


def _smaller(uri: re.Match[str]) -> str:
    with Image.open(io.BytesIO(base64.b64decode(uri[1]))) as image:
        return image_uri(image)


def _facts(results: StudyResults) -> dict[str, str]:
    """What the study is and how it ran."""
    settings, tasks = results.settings, results.measured_tasks
    facts = {
        "Data": "\n".join(_describe_data(results, name) for name in results.datasets),
        "Networks": ", ".join(map(display, results.networks)),
        "Training": "\n".join(_describe_training(results)),
        "Samplers": ", ".join(map(display, results.samplers)) if "generation" in tasks else "",
        "Tasks": ", ".join(tasks),
        "Left out": "\n".join(_describe_omitted(results)),
        "Extractor": _describe_extractor(results),
        "Seeds": one_line(settings.get("seeds")),
        "Hardware": one_line(settings.get("hardware")),
        "Versions": one_line(settings.get("versions")),
    }
    return {name: text for name, text in facts.items() if text}


def _describe_data(results: StudyResults, name: str) -> str:
    """Source, sizes, shape, scale of the values and latent dimensions of a data set."""
    settings = results.settings
    source = settings.get("data", {}).get(name, {})
    parts = [f"from {source['dataset']}"] if source.get("dataset") not in (None, name) else []
    counts = ", ".join(f"{count:,} {split}" for split, count in (settings.get("sizes", {}).get(name) or {}).items())
    parts += [counts] if counts else []
    if shape := settings.get("shapes", {}).get(name):
        kind = "images of" if results.has_images(name) else "rows of"
        parts.append(f"{kind} {' x '.join(map(str, shape))} {describe_values(results, name)}")
    options = {key: value for key, value in source.get("options", {}).items() if key != "normalize"}
    parts += [one_line(options)] if options else []
    parts.append(f"{', '.join(map(str, results.latent_dims.get(name, [])))} latent dimensions")
    return f"{display(name)}: {'; '.join(parts)}"


def _describe_omitted(results: StudyResults) -> list[str]:
    """Tasks that data sets cannot have, and why: "digits, classification: the data have no labels"."""
    omitted = results.settings.get("omitted", {})
    found: list[str] = []
    for name in results.datasets:
        reasons: dict[str, list[str]] = {}
        for task, reason in omitted.get(name, {}).items():
            reasons.setdefault(reason, []).append(task.replace("reconstruction/fid", "FID of reconstructions"))
        found += [f"{display(name)}, {', '.join(tasks)}: {reason}" for reason, tasks in reasons.items()]
    return found


def _describe_extractor(results: StudyResults) -> str:
    """The extractors that measured, with their accuracy; nothing where no task compares features."""
    passports = (passport for cell in results.cells for passport in cell.passports.values())
    used = describe_extractors(passports)
    is_needed = "generation" in results.measured_tasks
    return "\n".join(used) or (one_line(results.settings.get("extractor")) if is_needed else "")


def _describe_training(results: StudyResults) -> list[str]:
    """The arguments of training, in a line for each data set if they differ, and for each method with its own."""
    of_data = {name: results.training(name) for name in results.datasets}
    lines = {
        name: one_line({key: value for key, value in training.items() if value is not None})
        for name, training in of_data.items()
    }
    of_methods = [f"{name}: {one_line(training)}" for name, training in results.method_training().items()]
    if len(set(lines.values())) == 1:
        return [*list(lines.values())[:1], *of_methods]
    return [*(f"{display(name)}: {line}" for name, line in lines.items()), *of_methods]


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
