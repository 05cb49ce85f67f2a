"""The events of a study's Space: what changes when a visitor chooses, and how the address of the page follows."""

__all__ = ["PRIVATE", "add_events", "explained"]

import json
from typing import TYPE_CHECKING, Any

from ..core.hub_errors import HubError
from ..core.visitor_errors import errors_for_visitors
from .serving import LIMITS
from .study_choices import TABS
from .study_controls import StudyControls
from .study_views import Selected
from .theme import read_static

if TYPE_CHECKING:
    from gradio import Blocks, Dropdown, Tabs

explained = errors_for_visitors(ValueError, OSError, NotImplementedError, HubError)
"""Decorates functions whose errors visitors see as words."""

PRIVATE: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden", "trigger_mode": "always_last"}
"""Arguments of the events of controls, which programs do not call."""


def add_events(page: "Blocks", tabs: "Tabs", method: "Dropdown", controls: StudyControls):
    """Add the events to the page that is being built.

    Only the table of the tab that is shown is computed, by one event, once the controls have settled. So the last
    answer is of the choices that the controls show: Gradio changes controls one after the other and may send values
    before all have changed, and answers of different events may overtake each other.

    Args:
        page: the page.
        tabs: its tabs, in the order of `TABS`.
        method: the control of the method whose page is shown.
        controls: all other controls.
    """
    import gradio as gr

    views, first = controls.views, controls.first
    shared = [*controls.place, controls.task, controls.methods]
    tables = [
        ("reconstruct", views.show_reconstructions, [controls.picked, controls.files]),
        ("sample", views.show_samples, [controls.samplers, controls.num, controls.seed]),
        ("interpolate", views.show_interpolations, [controls.start, controls.end, controls.num_steps]),
    ]
    own_controls = [control for _, _, own in tables for control in own]
    shown = gr.Textbox(first.tab, visible=False)  # the browser writes it into the address

    def show(selected: str, *values: Any) -> list[Any]:
        """The table of the tab that is shown; the others stay."""
        found, rest = [], list(values[len(shared) :])
        for name, render, own in tables:
            given, rest = rest[: len(own)], rest[len(own) :]
            found.append(render(Selected(*values[: len(shared)]), *given) if name == selected else gr.skip())
        return found

    def remember(event: gr.SelectData) -> str:
        return TABS[event.index]

    def open_method(event: gr.EventData) -> list[Any]:
        return [gr.Tabs(selected="methods"), event.method]

    settled = gr.Textbox(visible=False)
    wait: dict[str, Any] = {"fn": None, "outputs": settled, "js": f"() => {{ {read_static('settled.js')} }}"}
    gr.on([control.change for control in (controls.task, controls.methods, *own_controls)], **wait)
    tabs.select(remember, None, shown, **PRIVATE).success(**wait)
    settled.change(explained(show), [shown, *shared, *own_controls], controls.grids, **PRIVATE, **LIMITS)
    for grid in controls.grids:
        grid.select(open_method, None, [tabs, method], **PRIVATE)
    controls.other_seed.click(lambda seed: int(seed or 0) + 1, controls.seed, controls.seed, **PRIVATE)
    pickers = [controls.picked, controls.start, controls.end]
    gr.on(
        [control.input for control in controls.place],
        explained(controls.change_place),
        controls.place,
        [controls.network, controls.latent_dim, *pickers, *controls.styles, *controls.grids],
        **PRIVATE,
    ).success(**wait)
    named = {**vars(controls), "method": method}
    linked = [shown, *(named[name] for name in first.to_dict() if name != "tab")]
    address = gr.Textbox(visible=False)
    read = {"js": "() => [window.location.search]", **PRIVATE}
    page.load(controls.restore, address, [tabs, *linked, *controls.styles], **read).success(**wait)
    write = f"(...values) => {{ {read_static('address.js')} {read_static('study_link.js')} }}"
    write = write.replace("FIRST", json.dumps(first.to_dict()))
    gr.on([control.change for control in linked], None, linked, js=write)
