"""The files of a metric's Space, rendered from templates."""

__all__ = ["GRADIO_VERSION", "render_space"]

from pathlib import Path

from jinja2 import Environment, StrictUndefined

from ..._version import __version__
from ..citations import cite
from ..measures import MEASURES

TEMPLATES = Path(__file__).parent / "templates"
GRADIO_VERSION = "6.31.0"
"""Version of Gradio that the pages are tested with, and that the Hub installs."""


def render_space(name: str) -> dict[str, str]:
    """Name to content of the files in the Space of a measure."""
    measure = MEASURES[name]
    environment = Environment(undefined=StrictUndefined, keep_trailing_newline=True)
    documentation = measure.describe()
    major, minor = map(int, __version__.split(".")[:2])
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
        "gae_hub_range": f">={__version__},<{major}.{minor + 1}",  # a minor version may change metrics before 1.0
        "gradio_version": GRADIO_VERSION,
        "gradio_range": f">={GRADIO_VERSION},<{int(GRADIO_VERSION.split('.')[0]) + 1}",
    }
    files = {
        template.name.removesuffix(".jinja"): environment.from_string(template.read_text(encoding="utf-8"))
        for template in sorted(TEMPLATES.glob("*.jinja"))
    }
    return {
        f"{name}.py" if file == "metric.py" else file: template.render(context) for file, template in files.items()
    }
