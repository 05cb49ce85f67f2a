"""The files of a metric's Space, rendered from templates."""

__all__ = ["render_space"]

import re
from pathlib import Path

from jinja2 import Environment, StrictUndefined

from ..citations import cite
from ..measures import MEASURES
from .requirements import GRADIO_VERSION, PYTHON_VERSION, requirements

_MAX_DESCRIPTION = 60  # characters of a Space's short description
TEMPLATES = Path(__file__).parent / "templates"


def render_space(name: str) -> dict[str, str]:
    """Name to content of the files in the Space of a measure."""
    measure = MEASURES[name]
    environment = Environment(undefined=StrictUndefined, keep_trailing_newline=True)
    documentation = measure.describe()
    context = {
        "name": name,
        "title": name.replace("_", " "),
        "class_name": "".join(part.capitalize() for part in name.split("_")),
        "summary": documentation.partition("\n")[0],
        "documentation": documentation,
        "example": measure.example(),
        "citation": cite(name),
        "predictions": measure.predictions_help,
        "references": measure.references_help,
        "options": measure.default_options(),
        "load_options": measure.load_options(),
        "short_description": _shorten(documentation.partition("\n")[0]),
        "requirements": requirements(),
        "gradio_version": GRADIO_VERSION,
        "python_version": PYTHON_VERSION,
    }
    files = {
        template.name.removesuffix(".jinja"): environment.from_string(template.read_text(encoding="utf-8"))
        for template in sorted(TEMPLATES.glob("*.jinja"))
    }
    return {
        f"{name}.py" if file == "metric.py" else file: template.render(context) for file, template in files.items()
    }


def _shorten(summary: str) -> str:
    """A summary without its source, cut at a punctuation mark if it is too long for the Hub."""
    summary = summary.partition(" (")[0].rstrip(".")
    if len(summary) <= _MAX_DESCRIPTION:
        return summary
    ends = [match.start() for match in re.finditer(r"[:;,]", summary) if match.start() <= _MAX_DESCRIPTION]
    return summary[: max(ends)] if ends else f"{summary[: _MAX_DESCRIPTION - 1]}…"
