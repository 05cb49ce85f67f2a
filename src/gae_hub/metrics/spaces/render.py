"""The files of a metric's Space, rendered from templates."""

__all__ = ["render_space"]

import inspect
from pathlib import Path

from jinja2 import Environment, StrictUndefined

from ..measures import MEASURES

TEMPLATES = Path(__file__).parent / "templates"


def render_space(name: str) -> dict[str, str]:
    """Name to content of the files in the Space of a measure."""
    measure = MEASURES[name]
    environment = Environment(undefined=StrictUndefined, keep_trailing_newline=True)
    documentation = inspect.getdoc(measure) or ""
    context = {
        "name": name,
        "title": name.replace("_", " "),
        "class_name": "".join(part.capitalize() for part in name.split("_")),
        "summary": documentation.partition("\n")[0],
        "documentation": documentation.partition("\nArgs:")[0].strip(),
        "predictions": measure.predictions_help,
        "references": measure.references_help,
        "options": measure.default_options(),
    }
    files = {
        template.name.removesuffix(".jinja"): environment.from_string(template.read_text(encoding="utf-8"))
        for template in sorted(TEMPLATES.glob("*.jinja"))
    }
    return {
        f"{name}.py" if file == "metric.py" else file: template.render(context) for file, template in files.items()
    }
