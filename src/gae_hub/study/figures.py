"""Figures of a study: the paper's Figures 2 to 31, as SVG and PNG files that are equal when drawn twice."""

__all__ = ["StudyFigure", "read_figures", "write_figures"]

import json
from dataclasses import asdict
from pathlib import Path

from ..core.files import write_json
from .charts import save_chart
from .comparison_charts import comparison_figures
from .grid_charts import grid_figures
from .picture_figures import picture_figures
from .results import StudyResults
from .selection import Selector
from .study_figure import StudyFigure

INDEX_FILE = "figures.json"


def write_figures(results: StudyResults, folder: str | Path) -> list[StudyFigure]:
    """Draw every figure that the study has data for, and write what each shows into figures.json.

    Files of earlier figures that no longer have data are deleted.

    Args:
        results: results of the study.
        folder: where NAME.svg and NAME.png are written.

    Returns:
        all figures, also those that are missing and why.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    earlier = _read_names(folder)
    selector = Selector(results)
    figures: list[StudyFigure] = []
    for figure, draw in comparison_figures(selector):
        if draw is not None:
            save_chart(draw(), folder, figure.name)
        figures.append(figure)
    for figure, picture in picture_figures(selector):
        if picture is not None:
            picture.write(folder, figure.name)
        figures.append(figure)
    for figure, draw in grid_figures(selector):
        if draw is not None:
            save_chart(draw(), folder, figure.name)
        figures.append(figure)
    for name in (earlier | {f.name for f in figures}) - {f.name for f in figures if f.missing is None}:
        for suffix in (".svg", ".png"):
            (folder / f"{name}{suffix}").unlink(missing_ok=True)
    write_json(folder / INDEX_FILE, [asdict(figure) for figure in figures])
    return figures


def _read_names(folder: Path) -> set[str]:
    """Names of the figures that are in a folder, as far as its index can be read."""
    try:
        return {figure.name for figure in read_figures(folder) if Path(figure.name).name == figure.name}
    except (OSError, ValueError, TypeError):  # none yet, damaged, or of another version
        return set()


def read_figures(folder: str | Path) -> list[StudyFigure]:
    """Figures that `write_figures` wrote into a folder."""
    return [StudyFigure(**record) for record in json.loads((Path(folder) / INDEX_FILE).read_text(encoding="utf-8"))]
