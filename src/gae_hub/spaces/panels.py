"""A panel of a page: one HTML component that is its controls, and invisible ones that receive the answers."""

__all__ = ["add_panel", "call_checked"]

from collections.abc import Callable, Mapping
from inspect import signature
from typing import TYPE_CHECKING, Any

from ..core.argument_checks import describe
from ..core.visitor_errors import errors_for_visitors
from .serving import LIMITS
from .theme import read_static

if TYPE_CHECKING:
    from gradio import HTML


def add_panel(
    name: str,
    scripts: tuple[str, ...],
    config: dict[str, Any],
    requests: Mapping[str, Callable[..., dict[str, Any]]] | None = None,
) -> "HTML":
    """Add a panel to the page that is being built.

    A request that arrives while one of the same kind is computed waits in the browser, and only the newest waits.

    Args:
        name: of the panel; its element is `panel-<name>`.
        scripts: files of static/ that build it, after address.js and common.js.
        config: what the scripts read.
        requests: name of each request to the function that answers it.
    """
    import gradio as gr

    requests = requests or {}
    panel = gr.HTML(
        {},
        html_template="<div></div>",
        js_on_load="\n".join([*map(read_static, ("address.js", "common.js", *scripts)), _event_names(requests)]),
        apply_default_css=False,
        elem_id=f"panel-{name}",
        elem_classes=["gae-panel"],
        config={"name": name, **config},
    )
    for event, function in requests.items():
        mailbox = gr.HTML(
            None,
            html_template="<div></div>",
            js_on_load=read_static("mailbox.js"),
            elem_classes=["gae-mailbox"],
            channel=f"{name}:{event}",
        )
        getattr(panel, event)(
            answer_requests(event, function),
            panel,
            mailbox,
            trigger_mode="always_last",
            show_progress="hidden",
            api_visibility="private",
            **LIMITS,
        )
    return panel


def answer_requests(event: str, function: Callable[..., dict[str, Any]]) -> Callable[[Any], dict[str, Any]]:
    """The handler of one kind of request: calls a function with its arguments, and adds the request's number.

    Raises:
        gr.Error: for a request that is not one, and for every ValueError of the function.
    """
    names = set(signature(function).parameters)

    def handle(value: Any) -> dict[str, Any]:
        request = value.get(event) if isinstance(value, dict) else None
        answer = call_checked(function, names, request)
        return {**answer, "id": (request or {}).get("id")}

    return handle


def call_checked(function: Callable[..., dict[str, Any]], names: set[str], request: Any) -> dict[str, Any]:
    """The answer of a function to a request. A ValueError becomes a message of the page."""
    with errors_for_visitors(ValueError):
        if not isinstance(request, dict):
            raise ValueError(f"expected the arguments of {function.__name__} by name, got {describe(request)}")
        arguments = {name: value for name, value in request.items() if name in names}
        required = [
            name
            for name, parameter in signature(function).parameters.items()
            if parameter.default is parameter.empty and name not in arguments
        ]
        if required:
            raise ValueError(f"{function.__name__} needs {', '.join(required)}")
        return function(**arguments)


def _event_names(requests: Mapping[str, Any]) -> str:
    """Gradio finds the names of a component's own events in its script, in quotes."""
    return f"// events: {', '.join(repr(name) for name in requests)}"
