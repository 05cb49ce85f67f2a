"""The Gradio page of a metric's Space: visitors upload two sets of files and get the numbers."""

__all__ = ["build_page", "measure_files"]

from html import escape
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from ...images.reading import DAMAGED, open_image
from ..measures import MEASURES, FeatureMeasure, PairMeasure
from ..results import Measurement
from .examples import write_example

if TYPE_CHECKING:
    from gradio import Blocks

COLUMNS = ["number", "value", "95 % interval", "samples", "references"]


def build_page(name: str) -> "Blocks":
    """A Gradio 6 page: files of both sides, the extractor, a button, a table of the numbers, and their passports."""
    import gradio as gr

    measure = MEASURES[name]
    needs_extractor, has_references = issubclass(measure, FeatureMeasure), bool(measure.references_help)
    summary = measure.describe().partition("\n")[0]

    def run(predictions: list[str] | None, references: list[str] | None, extractor: str) -> tuple[Any, Any]:
        try:
            numbers = measure_files(name, predictions, references, extractor)
        except (ValueError, OSError) as error:
            raise gr.Error(escape(str(error), quote=False), print_exception=False) from error
        passports = {key: number.passport.to_dict() for key, number in numbers.items()}
        return [_describe(key, number) for key, number in numbers.items()], passports

    with gr.Blocks(title=name.replace("_", " ")) as page:
        gr.Markdown(f"# {name.replace('_', ' ')}\n\n{summary}\n\n{_explain_files(name)}")
        with gr.Row():
            predictions = gr.File(label="predictions", file_count="multiple")
            references = gr.File(label="references", file_count="multiple", visible=has_references)
        extractor = gr.Textbox(
            "inception" if needs_extractor else "",
            label="extractor",
            info="inception; the name of a vision model or extractor on the Hub; features, if the files hold features",
            visible=needs_extractor,
        )
        button = gr.Button("Measure", variant="primary")
        table = gr.Dataframe(headers=COLUMNS, label="numbers", interactive=False)
        with gr.Accordion("How the numbers were measured", open=False):
            passports = gr.JSON(label="passports")
        inputs = [predictions, references, extractor]
        first, second = write_example(name, Path(mkdtemp(prefix="gae_hub-example-")))
        gr.Examples([[first, second, "features" if needs_extractor else None]], inputs, label="Example files")
        button.click(run, inputs, [table, passports])
    return page


def measure_files(
    name: str, predictions: list[str] | None, references: list[str] | None, extractor: str = ""
) -> dict[str, Measurement]:
    """Named numbers for uploaded files.

    Args:
        name: name of the measure.
        predictions, references: paths of the files of each side.
        extractor: name of the extractor, for measures on features.

    Raises:
        ValueError: if files cannot be read, or the measure does not accept them.
        OSError: if the extractor does not exist, or cannot be downloaded.
    """
    measure = MEASURES[name]
    images = issubclass(measure, (FeatureMeasure, PairMeasure))
    engine = measure(**({"feature_extractor": extractor.strip()} if extractor else {}))
    for side, paths in (("predictions", predictions), ("references", references)):
        if paths:
            engine.add(**{side: _read_files(paths, images)})
    return engine.compute()


def _explain_files(name: str) -> str:
    """What to upload, as a Markdown list."""
    measure = MEASURES[name]
    images = issubclass(measure, (FeatureMeasure, PairMeasure))
    files = "Image files, or one .npy file." if images else "One .npy file."
    sides = {"predictions": measure.predictions_help, "references": measure.references_help}
    return "\n".join(f"- {side}: {text}. {files}" for side, text in sides.items() if text)


def _describe(name: str, number: Measurement) -> list[Any]:
    """The row of a number in the table."""
    passport = number.passport
    ends, words = passport.interval, ""
    if passport.same_count_interval is not None:
        ends, words = passport.same_count_interval, " for as many images"
    interval = "" if ends is None else f"{ends[0]:.5g} to {ends[1]:.5g}{words}"
    return [name, f"{number:.6g}", interval, passport.num_samples, passport.num_references or ""]


def _read_files(paths: list[str], images: bool) -> list[Image.Image] | np.ndarray:
    """Files of one side as a batch: images, or one .npy array.

    Raises:
        ValueError: for other files, and damaged ones.
    """
    if len(paths) == 1 and Path(paths[0]).suffix == ".npy":
        try:
            array = np.load(paths[0], allow_pickle=False)
        except (EOFError, OSError, ValueError) as error:
            raise ValueError(f"cannot read {Path(paths[0]).name} as an array of numbers: {error}") from error
        if array.dtype.kind not in "biuf":
            raise ValueError(f"{Path(paths[0]).name} must hold numbers, got an array of {array.dtype}")
        return array
    if not images:
        raise ValueError(f"this metric needs one .npy file for each side, got {Path(paths[0]).name}")
    return [_read_image(Path(path)) for path in paths]


def _read_image(path: Path) -> Image.Image:
    try:
        return open_image(path)
    except DAMAGED as error:
        raise ValueError(f"cannot read {path.name} as an image: {error}") from error
