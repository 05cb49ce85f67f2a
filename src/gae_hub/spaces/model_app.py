"""The Space of one model: sample, reconstruct, interpolate, explore, map, about."""

__all__ = ["build_app", "launch_app"]

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ..core.argument_checks import require_extra
from ..hub.cards.papers import paper_of
from ..models.quantized import QuantizedModel
from .about import add_about
from .encoding import as_data_uri, as_sheet
from .endpoints import LARGEST_SEED, Endpoints
from .explorer import MAX_IMAGES, PRIOR, Explorer
from .explorer_loading import load_explorer, model_folder
from .panels import add_panel, call_checked
from .theme import launch_settings
from .uploads import MAX_UPLOAD_BYTES

if TYPE_CHECKING:
    from gradio import Blocks

TABS = {
    "sample": "Sample",
    "reconstruct": "Reconstruct",
    "interpolate": "Interpolate",
    "explore": "Explore",
    "map": "Map",
    "about": "About",
}
_NUM_PICKED = 24  # examples to pick from
_NUM_STEPS = 16  # images of an interpolation
_NUM_AXES = 8  # sliders at first
_QUEUE_LENGTH = 200
_CLEANUP_SECONDS = 600


def launch_app(
    model: str | Path, *, revision: str | None = None, folder: str | Path | None = None, **settings: Any
) -> Any:
    """Serve the Space of a model: what the `app.py` of a Space calls.

    This sets the number of threads of PyTorch for the process.

    Args:
        model: folder, or `user/name` on the Hub.
        revision: branch, tag or commit on the Hub.
        folder: folder of the Space, with the examples.
        **settings: other arguments of Gradio's `launch`.

    Raises:
        ValueError: if it is not a gae_hub model of images.
        HubError: if the Hub does not respond or denies access.
    """
    torch.set_num_threads(max(1, os.cpu_count() or 1))
    app = build_app(model, revision=revision, folder=folder)
    return app.launch(**{**launch_settings(MAX_UPLOAD_BYTES), **settings})


def build_app(model: str | Path, *, revision: str | None = None, folder: str | Path | None = None) -> "Blocks":
    """The page as Gradio Blocks, to be launched with `launch_settings`. Arguments and errors as in `launch_app`."""
    require_extra("gradio", "a Space")
    name, place = str(model), Path(folder) if folder is not None else None
    source = place / name if place is not None and (place / name).is_dir() else name
    local = model_folder(source, revision)
    examples = None if place is None else place / "examples.npz"
    explorer = load_explorer(local, examples if examples is not None and examples.is_file() else None)
    return build_page(explorer, _title(name, local), local, None if Path(source).is_dir() else name)


def build_page(explorer: Explorer, title: str, folder: Path, repo_id: str | None) -> "Blocks":
    """The page of an explorer.

    Args:
        explorer: of the model.
        title: heading.
        folder: of the model, whose card is shown.
        repo_id: repository of the model, or None for a folder.
    """
    import gradio as gr
    from gradio.utils import get_upload_folder

    endpoints = Endpoints(explorer, get_upload_folder())
    calls = endpoints.by_name()
    pick = _describe_examples(explorer)
    with gr.Blocks(
        title=title, analytics_enabled=False, delete_cache=(_CLEANUP_SECONDS, _CLEANUP_SECONDS), fill_width=True
    ) as app:
        add_panel("header", ("header.js",), _describe_model(explorer, title, repo_id))
        add_panel("sample", ("sample.js",), _describe_samplers(explorer), _choose(calls, "sample", "vary", "sample_latents"))
        add_panel(
            "reconstruct",
            ("picker.js", "reconstruct.js"),
            {**pick, "numCodes": getattr(explorer.model.config, "num_embeddings", None)},
            _choose(calls, "reconstruct", "image_latents"),
        )
        geometry = explorer.geometry
        paths = {"interpolate": calls["interpolate"]}
        if geometry is not None:
            paths["interpolate_geodesic"] = calls["interpolate"]
        add_panel(
            "interpolate",
            ("picker.js", "interpolate.js"),
            {**pick, "geometry": geometry, "numSteps": _NUM_STEPS},
            paths,
        )
        add_panel(
            "explore",
            ("explore.js",),
            {**pick, **_describe_axes(explorer)},
            _choose(calls, "explore", "traverse", "explored_latents"),
        )
        add_panel("map", ("map.js",), _describe_map(explorer), _choose(calls, "decode_point"))
        with gr.Column(elem_id="panel-about", elem_classes=["gae-panel"]):
            add_about(explorer, folder, repo_id, calls)
        for call_name, function in calls.items():
            gr.api(_typed(function), api_name=call_name, concurrency_id="model")
    app.queue(max_size=_QUEUE_LENGTH, api_open=False)
    return app


def _typed(function: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    """The function with the same signature, whose errors are words and not tracebacks."""
    from functools import wraps
    from inspect import signature

    names = set(signature(function).parameters)

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> dict[str, Any]:
        bound = signature(function).bind_partial(*args, **kwargs).arguments
        return call_checked(function, names, dict(bound))

    return call


def _choose(calls: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: calls[name] for name in names}


def _title(name: str, folder: Path) -> str:
    """Name of the model without its owner or path."""
    return (Path(name).name if name not in (".", "model") else "") or folder.resolve().name


# What the scripts read


def _describe_model(explorer: Explorer, title: str, repo_id: str | None) -> dict[str, Any]:
    model = explorer.model
    paper = paper_of(type(model))
    channels, height, width = model.config.input_shape
    latents = " × ".join(map(str, model.latent_shape))
    return {
        "title": title,
        "method": paper.name if paper else type(model).__name__,
        "facts": [
            f"{height} × {width} {'grey' if channels == 1 else 'colour'} images",
            f"latents of shape {latents}" if len(model.latent_shape) > 1 else f"{latents} latent dimensions",
            f"{model.num_parameters():,} parameters",
        ],
        "url": f"https://huggingface.co/{repo_id}" if repo_id else None,
        "tabs": list(TABS.items()),
    }


def _describe_samplers(explorer: Explorer) -> dict[str, Any]:
    names = []
    for name, sampler in explorer.samplers.items():
        paper = None if sampler is None else paper_of(type(sampler))
        label = "The model's own prior" if sampler is None else paper.name if paper else type(sampler).__name__
        names.append([name, label if name in (PRIOR, "sampler") else f"{label} ({name})"])
    return {"samplers": names, "maxSeed": LARGEST_SEED, "maxImages": MAX_IMAGES}


def _describe_examples(explorer: Explorer) -> dict[str, Any]:
    examples = explorer.examples
    num = min(_NUM_PICKED, len(examples))
    images = explorer.to_images(examples.pixel_values[:num])
    is_dark = float(examples.pixel_values[:num].mean()) < 0.5
    return {
        "examples": [
            {"image": as_data_uri(image), "label": examples.label_of(index)} for index, image in enumerate(images)
        ],
        "examplesFrom": f"Examples: {examples.origin}.",
        "maxBytes": MAX_UPLOAD_BYTES,
        "channels": explorer.model.config.input_shape[0],
        "ink": "#ffffff" if is_dark else "#000000",
        "paper": "#000000" if is_dark else "#ffffff",
    }


def _describe_axes(explorer: Explorer) -> dict[str, Any]:
    axes = explorer.axes
    units = {"kl": "KL to the prior, in nats", "variance": "variance of the embeddings"}
    means = explorer.axes.coordinates(explorer.base_latents(None))[0].tolist()
    coordinates = axes.coordinates(explorer.embeddings[:_NUM_PICKED])
    unit = units.get(axes.by, "share of the embeddings' variance")
    score = {"kl": "{:.2f} nats", "variance": "{:.3g}"}.get(axes.by, "{:.1%}")
    return {
        "axes": [
            {
                "name": axes.names[index],
                "score": score.format(axes.scores[index]),
                "low": axes.low[index],
                "high": axes.high[index],
                "mean": means[index],
            }
            for index in range(len(axes))
        ],
        "coordinates": coordinates.tolist(),
        "numShown": min(_NUM_AXES, axes.num_active, len(axes)),
        "scoreTitle": unit,
        "orderedBy": f"{len(axes)} directions, ordered by {unit}; {axes.num_active} are active. Names are kept in the link.",
    }


def _describe_map(explorer: Explorer) -> dict[str, Any]:
    examples, plane = explorer.examples, explorer.plane
    images = explorer.to_images(examples.pixel_values)
    columns = max(1, round(len(images) ** 0.5))
    axes = "the two latent dimensions" if explorer.embeddings[0].numel() == 2 else "the first two principal components"
    return {
        "points": [[round(value, 4) for value in point] for point in explorer.points.tolist()],
        "labels": [examples.label_of(index) for index in range(len(examples))],
        "sheet": as_data_uri(as_sheet(images, columns)),
        "sheetSize": [columns, -(-len(images) // columns)],
        "note": (
            f"{len(images)} embeddings on {axes} ({plane.shares[0]:.0%} and {plane.shares[1]:.0%} of their variance). "
            f"Examples: {examples.origin}. Click, drag or use the arrow keys."
        ),
    }
