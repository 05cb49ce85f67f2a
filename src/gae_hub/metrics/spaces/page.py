"""The Gradio page of a metric's Space: visitors upload two sets of files and get the numbers."""

__all__ = ["build_page", "measure_files"]

import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from ..measures import MEASURES, FeatureMeasure, PairMeasure

if TYPE_CHECKING:
    from gradio import Blocks


def build_page(name: str) -> "Blocks":
    """A Gradio 6 page: files of both sides, the extractor, and the numbers with their passports."""
    import gradio as gr

    measure = MEASURES[name]
    summary = (inspect.getdoc(measure) or "").partition("\n")[0]
    with gr.Blocks(title=name) as page:
        gr.Markdown(f"# {name.replace('_', ' ')}\n\n{summary}")
        with gr.Row():
            predictions = gr.File(label=f"predictions: {measure.predictions_help}", file_count="multiple")
            references = gr.File(
                label=f"references: {measure.references_help}",
                file_count="multiple",
                visible=bool(measure.references_help),
            )
        needs_extractor = issubclass(measure, FeatureMeasure)
        extractor = gr.Textbox("inception" if needs_extractor else "", label="extractor", visible=needs_extractor)
        numbers = gr.JSON(label="numbers")

        def run(predictions: list[str] | None, references: list[str] | None, extractor: str) -> dict[str, Any]:
            return measure_files(name, predictions, references, extractor)

        gr.Button("Measure", variant="primary").click(run, [predictions, references, extractor], numbers)
    return page


def measure_files(
    name: str, predictions: list[str] | None, references: list[str] | None, extractor: str = ""
) -> dict[str, Any]:
    """Numbers and passports for uploaded files, or {"error": message}.

    Args:
        name: name of the measure.
        predictions, references: paths of the files of each side.
        extractor: name of the extractor, for measures on features.
    """
    measure = MEASURES[name]
    images = issubclass(measure, (FeatureMeasure, PairMeasure))
    try:
        engine = measure(**({"feature_extractor": extractor} if extractor else {}))
        for side, paths in (("predictions", predictions), ("references", references)):
            if paths:
                engine.add(**{side: _read_files(paths, images)})
        return {key: {"value": float(value), **value.passport.to_dict()} for key, value in engine.compute().items()}
    except (ValueError, OSError) as error:
        return {"error": str(error)}


def _read_files(paths: list[str], images: bool) -> list[Image.Image] | np.ndarray:
    """Files of one side as a batch: images, or one .npy array.

    Raises:
        ValueError: for other files.
    """
    if len(paths) == 1 and Path(paths[0]).suffix == ".npy":
        return np.load(paths[0], allow_pickle=False)
    if not images:
        raise ValueError(f"this metric needs one .npy file for each side, got {Path(paths[0]).name}")
    return [Image.open(path).copy() for path in paths]
