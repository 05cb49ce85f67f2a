"""How the pages of Spaces are served: one queue, and bounds of workers, threads, waiting requests and uploads."""

__all__ = ["LIMITS", "open_page", "serve_page"]

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

from .theme import launch_settings
from .uploads import MAX_UPLOAD_BYTES

if TYPE_CHECKING:
    from gradio import Blocks

LIMITS: dict[str, Any] = {"concurrency_id": "model", "concurrency_limit": max(1, os.cpu_count() or 1)}
"""Arguments of each event of a page that runs a model: all share one queue, with as many workers as cores."""

_MAX_WAITING = 200  # requests
_CLEANUP_SECONDS, _UPLOAD_SECONDS = 600, 3600


@contextmanager
def open_page(title: str, **options: Any) -> "Iterator[Blocks]":
    """A context in which components are added to a page. Uploads are deleted after an hour.

    Args:
        title: of the browser's window.
        **options: other arguments of `gradio.Blocks`.
    """
    import gradio as gr

    cleanup = _CLEANUP_SECONDS, _UPLOAD_SECONDS
    with gr.Blocks(title=title, analytics_enabled=False, delete_cache=cleanup, **options) as page:
        yield page
    page.queue(max_size=_MAX_WAITING, api_open=False)


def serve_page(page: "Blocks", **settings: Any) -> Any:
    """Serve a page of `open_page`, and return what Gradio's `launch` returns.

    This sets the number of threads of PyTorch for the process to 1, while as many requests are computed at the same
    time as there are cores: one small image is not decoded faster by several threads, which wait for each other.

    Args:
        page: the page.
        **settings: arguments of `launch`, in addition to those of `launch_settings` or instead of them.
    """
    torch.set_num_threads(1)
    return page.launch(**{**launch_settings(MAX_UPLOAD_BYTES), **settings})
