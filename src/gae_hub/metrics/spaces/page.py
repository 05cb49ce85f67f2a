"""The Gradio page of a metric's Space: visitors upload two sets of files and get the numbers."""

__all__ = ["build_page", "launch_page", "measure_files"]

import re
from html import escape
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING, Any

from ...core.gradio_theme import PALETTE, make_theme
from ...core.hub_errors import HubError
from ...core.visitor_errors import errors_for_visitors
from ..measures import MEASURES, ClassAccuracy, FeatureMeasure, Measure, PairMeasure
from ..results import Measurement
from .examples import write_example
from .passport_words import describe_passport
from .uploads import MAX_UPLOAD_BYTES, read_files

if TYPE_CHECKING:
    from gradio import Blocks

COLUMNS = ["number", "value", "95 % interval", "samples", "references"]
_EXTRACTOR = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
_STYLE = """
.gradio-container main { max-width: 78rem !important; }
.gradio-container h1 { font-size: clamp(1.5rem, 3.4vw, 2.1rem); letter-spacing: -.02em; line-height: 1.2; }
@media (max-width: 40rem) { .gradio-container .main.app { padding: 8px 4px !important; } }
#answer { min-height: 8rem; }
#words li { margin: .15rem 0; }
.measure button { max-width: 18rem; }
"""


def launch_page(name: str, **options: Any):
    """Serve the page of a metric.

    Args:
        name: name of the measure.
        **options: of Gradio's `launch`, such as `server_port`.
    """
    fixed = {"theme": make_theme(), "css": PALETTE + _STYLE, "max_file_size": MAX_UPLOAD_BYTES, "show_error": True}
    build_page(name).launch(**{**fixed, "footer_links": ["api", "settings"], **options})


def build_page(name: str) -> "Blocks":
    """A Gradio 6 page: files of both sides, the extractor, buttons, a table of the numbers, and their passports."""
    import gradio as gr

    measure = MEASURES[name]
    title = name.replace("_", " ")
    needs_extractor, has_references = issubclass(measure, FeatureMeasure), bool(measure.references_help)
    summary = measure.describe().partition("\n")[0]

    def run(predictions: list[str] | None, references: list[str] | None, extractor: str) -> tuple[Any, str, Any]:
        with errors_for_visitors(ValueError, OSError, HubError):
            try:
                numbers = measure_files(name, predictions, references, _check_extractor(extractor))
            except MemoryError as error:
                raise ValueError("the files need more memory than this Space has: upload fewer") from error
        passports = {key: number.passport.to_dict() for key, number in numbers.items()}
        rows = [_describe(key, number) for key, number in numbers.items()]
        return rows, _explain(numbers), passports

    def use_example() -> tuple[list[str], list[str] | None, str]:
        first, second = write_example(name, folder)
        return first, second, "features" if needs_extractor else ""

    folder = Path(mkdtemp(prefix="gae_hub-example-"))
    with gr.Blocks(title=title, analytics_enabled=False) as page:
        gr.Markdown(f"# {title}\n\n{summary}\n\n{_explain_files(measure)}", elem_id="title")
        with gr.Row():
            predictions = gr.File(
                label="predictions",
                file_count="multiple",
                height=150,
                elem_id="predictions",
            )
            references = gr.File(
                label="references",
                file_count="multiple",
                height=150,
                visible=has_references,
                elem_id="references",
            )
        extractor = gr.Textbox(
            "inception" if needs_extractor else "",
            label="extractor",
            info="inception; the name of a vision model or extractor on the Hub; features, if the files hold features",
            visible=needs_extractor,
            elem_id="extractor",
        )
        with gr.Row(elem_classes="measure"):
            button = gr.Button("Measure", variant="primary", elem_id="measure")
            example = gr.Button("Measure example files", elem_id="example")
        table = gr.Dataframe(
            headers=COLUMNS, label="Numbers", interactive=False, wrap=True, column_widths=[], elem_id="answer"
        )
        words = gr.Markdown(elem_id="words")
        with gr.Accordion("Passports as JSON", open=False):
            passports = gr.JSON(label="passports", elem_id="passports")
        inputs, outputs = [predictions, references, extractor], [table, words, passports]
        button.click(run, inputs, outputs, api_name="run")
        chosen = example.click(use_example, None, inputs, api_name="use_example", api_visibility="private")
        chosen.then(run, inputs, outputs, api_name="run_example", api_visibility="private")
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
            are_classes = side == "references" and issubclass(measure, ClassAccuracy)
            engine.add(**{side: read_files(paths, images and not are_classes)})
    return engine.compute()


def _check_extractor(name: str | None) -> str:
    """A name on the Hub, or of a folder beside app.py; visitors cannot name other folders of the machine."""
    name = (name or "").strip()
    if name and not _EXTRACTOR.fullmatch(name):
        raise ValueError("extractor must be inception, features, or the name of a model on the Hub, such as user/name")
    return name


def _explain_files(measure: type[Measure]) -> str:
    """What to upload, as a Markdown list."""
    images = issubclass(measure, (FeatureMeasure, PairMeasure))
    files = "Image files, or one .npy file." if images else "One .npy file."
    sides = {"predictions": measure.predictions_help, "references": measure.references_help}
    return "\n".join(f"- **{side}**: {text}. {files}" for side, text in sides.items() if text)


def _describe(name: str, number: Measurement) -> list[Any]:
    """The row of a number in the table."""
    passport = number.passport
    ends = passport.same_count_interval or passport.interval
    interval = "" if ends is None else f"{ends[0]:.5g} to {ends[1]:.5g}"
    return [name, f"{number:.6g}", interval, passport.num_samples, passport.num_references or ""]


def _explain(numbers: dict[str, Measurement]) -> str:
    """How the numbers were measured, as Markdown: first what they have in common, then what each has of its own."""
    sentences = {name: describe_passport(number.passport) for name, number in numbers.items()}
    first, *others = sentences.values()
    common = [sentence for sentence in first if all(sentence in other for other in others)]
    parts = {"How the numbers were measured" if others else "How the number was measured": common}
    parts |= {name: [text for text in found if text not in common] for name, found in sentences.items()}
    lines = []
    for title, found in parts.items():
        if found:
            lines += [f"#### {title}", "", *(f"- {escape(sentence, quote=False)}" for sentence in found), ""]
    return "\n".join(lines)
