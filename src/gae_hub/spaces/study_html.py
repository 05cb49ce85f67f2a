"""The parts of a study's Space as HTML: header, comparisons of methods, tables, methods, and the study itself."""

__all__ = ["StudyPages", "page_head", "render_comparison", "render_header", "render_picker_style"]

from collections.abc import Sequence
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from PIL import Image

from ..study.findings import find_findings
from ..study.page_methods import view_methods
from ..study.page_parts import describe_context, environment, read_template
from ..study.page_tables import Passports, view_table
from ..study.results import CellResult, StudyResults
from ..study.selection import Selector
from ..study.table_metrics import display
from ..study.tables import build_tables
from .comparison import MethodRow
from .encoding import as_data_uri
from .study_record import StudyRecord

_TEMPLATES = Path(__file__).with_name("templates")
_CONFIGURATIONS = "configurations"  # the table whose rows are on the methods' pages


def page_head() -> str:
    """Style and script of the blocks, for the head of the page. The style applies inside `.study` only."""
    style = (_TEMPLATES / "study.css").read_text(encoding="utf-8")
    blocks = read_template("blocks.css")
    return f"<style>.study {{ {blocks} }}\n{style}</style>\n<script>{read_template('page.js')}</script>"


def render_header(results: StudyResults) -> str:
    """Title of the study, and what it compares."""
    done = sum(cell.state == "done" for cell in results.cells)
    template = _environment().from_string(
        "<h1>{{ title }}</h1><p class='lead'><b>{{ num }} methods</b> on {{ data }} with {{ networks }}, side by "
        "side. Configurations are chosen on validation; {{ done }} of {{ cells }} cells are done.</p>"
    )
    return template.render(
        title=results.title,
        num=len(results.methods),
        data=_join(results.datasets),
        networks=_join(results.networks),
        done=f"{done:,}",
        cells=f"{len(results.cells):,}",
    )


def render_comparison(
    title: str,
    heading: str,
    columns: Sequence[tuple[str, Image.Image | None]],
    rows: Sequence[MethodRow],
    tile_name: str,
) -> str:
    """A table with a row for each method and a column for each input.

    Args:
        title: for screen readers.
        heading: what the columns are.
        columns: name of each, and its image, which is shown if there is one.
        rows: the rows.
        tile_name: text of an image for screen readers, with "{column}" for the name of its column.
    """
    return (
        _environment()
        .get_template("comparison.html")
        .render(
            title=title,
            heading=heading,
            columns=[{"name": name, "image": image and as_data_uri(image)} for name, image in columns],
            rows=[_view_row(row, [name for name, _ in columns], tile_name) for row in rows],
            has_errors=any(row.errors for row in rows),
        )
    )


def render_picker_style(picker: str, images: Sequence[Image.Image]) -> str:
    """A style element that shows images on the choices of a group of checkboxes or radio buttons.

    Args:
        picker: id of the group.
        images: an image for each choice.
    """
    rules = (
        f"#{picker} label:nth-of-type({index}) {{ --tile-image: url({as_data_uri(image)}) }}"
        for index, image in enumerate(images, 1)
    )
    return f"<style>{' '.join(rules)}</style>"


class StudyPages:
    """The tables, methods and facts of a study, as its page shows them.

    Args:
        record: results of the study, and the models of the Space.
        root: folder of the Space.
    """

    def __init__(self, record: StudyRecord, root: Path):
        self.record, self.root = record, root
        self.results = record.results
        self._module_context = describe_context(record.results, find_findings(record.results), root / "figures")

    @cached_property
    def tables(self) -> str:
        """All tables, with filters and passports."""
        passports = Passports()
        views = [view_table(table, passports) for table in self._tables if table.name != _CONFIGURATIONS]
        blocks = self._blocks()
        about = (
            "Choose a heading to sort. Point at a number, tap it or move to it with the arrow keys to see how it was "
            "measured."
        )
        sections = "".join(str(blocks.table_section(view)) for view in views)
        return _with_passports(f'<p class="about">{about}</p>{blocks.filters()}{sections}', passports)

    @cache  # noqa: B019 (an app has one object of this class, which lives as long as the app)
    def method(self, name: str) -> str:
        """A method's chart, pictures and configurations."""
        passports = Passports()
        view = self._methods[name]
        configurations = next((table for table in self._tables if table.name == _CONFIGURATIONS), None)
        settings = {} if configurations is None else {name: view_table(configurations, passports, name)}
        return _with_passports(str(self._blocks(settings=settings).method_block(view)), passports)

    @cached_property
    def study(self) -> str:
        """What the study is, what failed, and its findings."""
        blocks, context = self._blocks(), self._module_context
        found = f"<h3>The study</h3>{blocks.facts_block()}"
        if context["findings"] or context["unmeasured"]:
            found += f'<h3>Findings</h3><p class="about">{context["finding_rule"]}</p>{blocks.findings_block()}'
        return found

    def overlays(self) -> str:
        """The box of passports and the dialog of enlarged pictures, hidden until they are needed."""
        return str(self._blocks().overlays())

    @cached_property
    def _tables(self) -> list[Any]:
        return build_tables(self.results)

    @cached_property
    def _methods(self) -> dict[str, Any]:
        return {view.name: view for view in view_methods(Selector(self.results), self._link)}

    def _link(self, cell: CellResult) -> str | None:
        """URL of a cell's model on the Hub, if it is there."""
        model = self.record.model_of(cell)
        return f"https://huggingface.co/{model.source}" if model is not None and model.is_published else None

    def _blocks(self, **context: Any) -> Any:
        return environment().get_template("blocks.html").make_module({**self._module_context, **context})


@cache
def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(_TEMPLATES),
        undefined=StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _view_row(row: MethodRow, columns: Sequence[str], tile_name: str) -> dict[str, Any]:
    label = row.method if row.sampler is None else f"{row.method}, {display(row.sampler)}"
    tiles = []
    for index, (image, column) in enumerate(zip(row.images, columns, strict=False)):
        name = f"{label}: {tile_name.format(column=column)}"
        error = f", MSE {row.errors[index]:.3g}" if row.errors else ""
        tiles.append({"image": as_data_uri(image), "name": name + error})
    return {
        "method": row.method,
        "sampler": display(row.sampler) if row.sampler else None,
        "settings": ", ".join(f"{name} {value}" for name, value in row.fields.items()),
        "missing": row.missing,
        "tiles": tiles,
        "error": sum(row.errors) / len(row.errors) if row.errors else None,
    }


def _with_passports(body: str, passports: Passports) -> str:
    return f'<div class="numbers">{body}<div class="passports" hidden>{passports.to_json()}</div></div>'


def _join(names: Sequence[str]) -> str:
    return ", ".join(map(display, names))
