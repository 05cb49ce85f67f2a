"""The Gradio app that compares the methods of a study: reconstructions, samples, interpolations, tables, methods."""

__all__ = ["build_study_app", "launch_study_app"]

from pathlib import Path
from typing import TYPE_CHECKING, Any

from .serving import LIMITS, open_page, serve_page
from .study_choices import first_choices
from .study_controls import StudyControls, html_block
from .study_events import PRIVATE, add_events, explained
from .study_html import StudyPages, page_head, render_header
from .study_views import StudyViews

if TYPE_CHECKING:
    from gradio import Blocks


def launch_study_app(root: str | Path, **options: Any) -> Any:
    """Serve the Space in a folder.

    This sets the number of threads of PyTorch for the process to 1, as `serve_page` says.

    Args:
        root: folder that `write_study_space` wrote.
        **options: of Gradio's `launch`, such as `server_port`.
    """
    page = build_study_app(root)
    return serve_page(page, **{"head": page_head(), "footer_links": ["api", "settings"], **options})


def build_study_app(root: str | Path) -> "Blocks":
    """The page of a study's Space, to be served with `serve_page`.

    Args:
        root: folder that `write_study_space` wrote.

    Raises:
        ValueError: if the folder is not that of a study's Space.
        ImportError: if Gradio is not installed.
    """
    import gradio as gr
    from gradio.events import api

    views = StudyViews(root)
    results, setups = views.compared.results, views.compared.setups
    pages = StudyPages(views.compared.record, views.compared.root)
    names = list(results.methods)
    with open_page(results.title) as page:
        html_block(render_header(results))
        controls = StudyControls(views, first_choices(views, setups[0])) if setups else None
        if controls is not None:
            controls.add_setup()
        with gr.Tabs(overflow_behavior="wrap") as tabs:
            if controls is not None:
                controls.add_reconstructions()
                controls.add_samples()
                controls.add_interpolations()
            with gr.Tab("Tables", id="tables"):
                html_block(pages.tables, "tables")
            with gr.Tab("Methods", id="methods"):
                method = gr.Dropdown(names, value=names[0], label="Method", elem_id="method")
                about = html_block(pages.method(names[0]), "about")
            with gr.Tab("Study", id="study"):
                html_block(pages.study, "facts")
        html_block(pages.overlays())
        method.change(pages.method, method, about, **PRIVATE)
        if controls is not None:
            add_events(page, tabs, method, controls)
        for function in views.endpoints:
            api(explained(function), api_name=function.__name__, **LIMITS)
    return page
