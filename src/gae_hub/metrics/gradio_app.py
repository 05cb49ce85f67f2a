"""A metric's Space on the Hub: its four files from one template, and the page that its app.py shows."""

__all__ = ["build_app", "render_space"]

import inspect
from importlib.resources import files
from pathlib import Path

import numpy as np
from jinja2 import Environment, StrictUndefined

from .measures import MEASURES, FeatureMeasure, Measure, PairMeasure

FILES = ("metric.py", "README.md", "requirements.txt", "app.py")


def render_space(name: str) -> dict[str, str]:
    """File name to content of the Space of a measure."""
    measure = MEASURES[name]
    environment = Environment(undefined=StrictUndefined, keep_trailing_newline=True, trim_blocks=False)
    documentation = inspect.getdoc(measure)
    facts = {
        "name": name,
        "title": name.replace("_", " "),
        "class_name": "".join(part.capitalize() for part in name.split("_")),
        "summary": documentation.partition("\n")[0],
        "documentation": documentation.partition("\nArgs:")[0].strip(),
        "predictions": measure.predictions,
        "references": measure.references,
        "options": measure.defaults(),
    }
    folder = files(__package__) / "templates"
    return {
        f"{name}.py" if file == "metric.py" else file: environment.from_string(
            (folder / f"{file}.jinja").read_text(encoding="utf-8")
        ).render(facts)
        for file in FILES
    }


def read_files(paths: list[str], images: bool) -> list | np.ndarray:
    """The visitor's files as a batch: pictures, or one .npy array.

    Raises:
        ValueError: if they are neither.
    """
    from PIL import Image

    if len(paths) == 1 and Path(paths[0]).suffix == ".npy":
        return np.load(paths[0], allow_pickle=False)
    if not images:
        raise ValueError("this metric takes one .npy file a side")
    return [Image.open(path).copy() for path in paths]


def measure_files(name: str, predictions: list[str] | None, references: list[str] | None, extractor: str = "") -> dict:
    """What the page shows for the visitor's files: the numbers and their passports, or what is wrong with them."""
    measure = MEASURES[name]
    images = issubclass(measure, (FeatureMeasure, PairMeasure))
    try:
        engine: Measure = measure(**({"feature_extractor": extractor} if extractor else {}))
        for side, paths in (("predictions", predictions), ("references", references)):
            if paths:
                engine.add(**{side: read_files(paths, images)})
        return {key: {"value": float(value), **value.passport.to_dict()} for key, value in engine.compute().items()}
    except (ValueError, OSError) as error:
        return {"error": str(error)}


def build_app(name: str):
    """A Gradio 6 page: two sets of files, the extractor, and the numbers with their passports."""
    import gradio as gr

    measure = MEASURES[name]
    with gr.Blocks(title=name) as demo:
        gr.Markdown(f"# {name.replace('_', ' ')}\n\n{inspect.getdoc(measure).partition(chr(10))[0]}")
        with gr.Row():
            predictions = gr.File(label=f"predictions: {measure.predictions}", file_count="multiple")
            references = gr.File(
                label=f"references: {measure.references}", file_count="multiple", visible=bool(measure.references)
            )
        needs_extractor = issubclass(measure, FeatureMeasure)
        extractor = gr.Textbox("inception" if needs_extractor else "", label="extractor", visible=needs_extractor)
        numbers = gr.JSON(label="numbers")

        def run(predictions, references, extractor):
            return measure_files(name, predictions, references, extractor)

        gr.Button("Measure", variant="primary").click(run, [predictions, references, extractor], numbers)
    return demo
