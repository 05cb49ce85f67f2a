"""The tab "about": the model's card, how its numbers were measured, and the functions for programs."""

__all__ = ["add_about"]

from collections.abc import Callable, Mapping
from inspect import getdoc, signature
from pathlib import Path
from typing import Any

from ..core.json_files import read_json_object
from ..hub.cards.escaping import clean, escape, fenced
from ..hub.cards.facts import MAX_FACTS_BYTES, valid_facts
from .card_text import read_card
from .endpoints import SAMPLES
from .explorer import Explorer

_RESULTS_FILE = "results.json"
_SHOWN_CONDITIONS = 8  # of a passport


def add_about(explorer: Explorer, folder: Path, calls: Mapping[str, Callable[..., dict[str, Any]]]):
    """Add the texts to the page that is being built. Gradio removes scripts and event handlers from them.

    Args:
        explorer: of the model.
        folder: of the model, with its card and its numbers.
        calls: the functions for programs, by name.
    """
    import gradio as gr

    numbers = describe_numbers(folder)
    if numbers:
        gr.Markdown(numbers, elem_classes=["gae-card", "gae-prose"])
    gr.Markdown(read_card(folder), elem_classes=["gae-card", "gae-prose"])
    gr.Markdown(describe_calls(explorer, calls), elem_classes=["gae-card", "gae-prose"])


def describe_numbers(folder: Path) -> str:
    """A table of the measured numbers of results.json, and how each was measured. Empty without any."""
    path = folder / _RESULTS_FILE
    if not path.is_file():
        return ""
    try:
        results = valid_facts({"results": read_json_object(path, MAX_FACTS_BYTES, any_depth=True)}).get("results")
    except ValueError:
        return ""
    if not results:
        return ""
    passports = results.get("passports") or {}
    rows = [
        f"| {escape(name)} | {value:.5g} | {_describe_passport(passports.get(name) or {})} |"
        for name, value in results["metrics"].items()
    ]
    split = f", split {escape(results['split'])}" if results.get("split") else ""
    return "\n".join(
        [f"## Measured on {escape(results['dataset'])}{split}", "", "| number | value | how |", "|:--|--:|:--|", *rows]
    )


def _describe_passport(passport: dict[str, Any]) -> str:
    parts = [
        f"{name.replace('_', ' ')} {value:.5g}" if isinstance(value, float) else f"{name.replace('_', ' ')} {value}"
        for name, value in clean(passport).items()
        if isinstance(value, (str, int, float)) and name != "metric"
    ]
    return escape(", ".join(parts[:_SHOWN_CONDITIONS]))


def describe_calls(explorer: Explorer, calls: Mapping[str, Callable[..., dict[str, Any]]]) -> str:
    """The functions that `gradio_client` calls: a code example, and for each its arguments and answer.

    Arguments that this model does not accept are left out.
    """
    sampler, classes = next(iter(explorer.samplers)), explorer.classes
    code = (
        "from gradio_client import Client, handle_file\n\n"
        'client = Client("ADDRESS OF THIS PAGE")\n'
        f'images = client.predict(sampler="{sampler}", seed=0, num_samples=16, api_name="/sample")["images"]\n'
        'found = client.predict(image=handle_file("digit.png"), api_name="/reconstruct")'
    )
    lines = ["## For programs", "", fenced(code, "python"), ""]
    for name, function in calls.items():
        arguments = ", ".join(
            parameter if about.default is about.empty else f"{parameter}={about.default!r}"
            for parameter, about in signature(function).parameters.items()
            if classes.accept(parameter, of_samples=name in SAMPLES)
        )
        lines.append(f"- `/{name}({arguments})`: {getdoc(function)}")
    if classes.of_model or classes.of_samplers:
        none = "; -1 is no class" if classes.of_model and classes.guides_model else ""
        examples = ", and each example keeps its class" if classes.of_model else ""
        lines += [
            "",
            f"`class_label` is the number of a class{none}. By default, each sample has a class of its own{examples}.",
        ]
    lines += [
        "",
        "An image argument is the number of an example, a data URI, or a file of `handle_file`. Data URIs of answers "
        'decode with `base64.b64decode(uri.partition(",")[2])`.',
    ]
    return "\n".join(lines)
