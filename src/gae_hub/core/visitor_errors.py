"""Errors that visitors of a Space can do something about, shown as messages of its page."""

__all__ = ["errors_for_visitors"]

from collections.abc import Iterator
from contextlib import contextmanager
from html import escape


@contextmanager
def errors_for_visitors(*kinds: type[Exception]) -> Iterator[None]:
    """A block, or a decorated function, whose errors of these kinds reach the page of a Space as plain words.

    All other errors stay in the Space's log. The text is escaped, since Gradio shows messages as HTML.

    Raises:
        gradio.Error: for an error of these kinds.
    """
    try:
        yield
    except kinds as error:
        import gradio as gr

        raise gr.Error(escape(str(error), quote=False), print_exception=False, title="Not possible") from error
