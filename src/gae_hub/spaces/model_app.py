"""The Space of one model: sample, reconstruct, interpolate, explore, map, about."""

__all__ = ["build_app", "launch_app"]

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.argument_checks import require_extra
from .about import add_about
from .endpoints import Endpoints
from .example_sets import EXAMPLES_FILE
from .explorer import Explorer
from .explorer_loading import load_explorer, model_folder
from .panel_data import describe_axes, describe_examples, describe_map, describe_model, describe_samplers
from .panels import add_panel, call_checked
from .serving import LIMITS, open_page, serve_page

if TYPE_CHECKING:
    from gradio import Blocks

_NUM_STEPS = 16  # images of an interpolation


def launch_app(
    model: str | Path,
    *,
    revision: str | None = None,
    folder: str | Path | None = None,
    title: str | None = None,
    **settings: Any,
) -> Any:
    """Serve the Space of a model: what the `app.py` of a Space calls.

    This sets the number of threads of PyTorch for the process to 1, as `serve_page` says.

    Args:
        model: folder, or `user/name` on the Hub.
        revision: branch, tag or commit on the Hub.
        folder: folder of the Space, with the examples and, if `model` names a folder in it, the model.
        title: heading. By default the model's name.
        **settings: other arguments of Gradio's `launch`.

    Raises:
        ValueError: if it is not a gae_hub model of images.
        HubError: if the Hub does not respond or denies access.
    """
    return serve_page(build_app(model, revision=revision, folder=folder, title=title), **settings)


def build_app(
    model: str | Path, *, revision: str | None = None, folder: str | Path | None = None, title: str | None = None
) -> "Blocks":
    """The page as Gradio Blocks, to be served with `serve_page`. Arguments and errors as in `launch_app`."""
    require_extra("gradio", "a Space")
    name, place = str(model), Path(folder) if folder is not None else None
    source = place / name if place is not None and (place / name).is_dir() else name
    local = model_folder(source, revision)
    examples = None if place is None else place / EXAMPLES_FILE
    explorer = load_explorer(local, examples if examples is not None and examples.is_file() else None)
    title = title or Path(name).name or local.resolve().name
    return build_page(explorer, title, local, None if Path(source).is_dir() else name)


def build_page(explorer: Explorer, title: str, folder: Path, repo_id: str | None) -> "Blocks":
    """The page of an explorer.

    Args:
        explorer: of the model.
        title: heading.
        folder: of the model, whose card is shown.
        repo_id: repository of the model, or None for a folder.
    """
    import gradio as gr
    from gradio.events import api
    from gradio.utils import get_upload_folder

    endpoints = Endpoints(explorer, get_upload_folder())
    calls = endpoints.by_name()
    pick = describe_examples(explorer)
    with open_page(title, fill_width=True) as page:
        add_panel("header", ("header.js",), describe_model(explorer, title, repo_id))
        add_panel(
            "sample", ("sample.js",), describe_samplers(explorer), _choose(calls, "sample", "vary", "sample_latents")
        )
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
            describe_axes(explorer),
            _choose(calls, "explore", "traverse", "explored_latents"),
        )
        add_panel("map", ("map.js",), describe_map(explorer), _choose(calls, "decode_point"))
        with gr.Column(elem_id="panel-about", elem_classes=["gae-panel"]):
            add_about(explorer, folder, calls)
        for call_name, function in calls.items():
            api(_typed(function), api_name=call_name, **LIMITS)
    return page


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
