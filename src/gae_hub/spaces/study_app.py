"""The Gradio app that compares the methods of a study: reconstructions, samples, interpolations, tables, methods."""

__all__ = ["build_study_app", "launch_study_app"]

import json
from collections.abc import Callable, Iterable
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.hub_errors import HubError
from ..core.visitor_errors import errors_for_visitors
from ..study.selection import Setup
from ..study.table_metrics import display
from .study_choices import TABS, Choices, first_choices, read_choices
from .study_html import StudyPages, page_head, render_header
from .study_views import MAX_SAMPLES, MAX_SEED, MAX_STEPS, Selected, StudyViews
from .theme import launch_settings, read_static
from .uploads import MAX_UPLOAD_BYTES

if TYPE_CHECKING:
    from gradio import HTML, Blocks

_explained = errors_for_visitors(ValueError, OSError, NotImplementedError, HubError)
_OPEN_METHOD = """
element.addEventListener("click", (event) => {
  const button = event.target.closest(".open-method");
  if (button) trigger("select", { method: button.dataset.method });
});
"""


def launch_study_app(root: str | Path, **options: Any):
    """Serve the Space in a folder.

    Args:
        root: folder that `write_study_space` wrote.
        **options: of Gradio's `launch`, such as `server_port`.
    """
    build_study_app(root).launch(**{**launch_options(), **options})


def launch_options() -> dict[str, Any]:
    """Options of Gradio's `launch` for the app: its style, and how large uploads may be."""
    options = launch_settings(MAX_UPLOAD_BYTES)
    return {**options, "head": page_head(), "footer_links": ["api", "settings"]}


def build_study_app(root: str | Path) -> "Blocks":
    """The app of a study's Space.

    Args:
        root: folder that `write_study_space` wrote.

    Raises:
        ValueError: if the folder is not that of a study's Space.
        ImportError: if Gradio is not installed.
    """
    return _App(StudyViews(root)).build()


class _App:
    """Components of the app and what they do."""

    def __init__(self, views: StudyViews):
        self.views, self.compared = views, views.compared
        self.results = views.compared.results
        self.pages = StudyPages(views.compared.record, views.compared.root)

    def build(self) -> "Blocks":
        import gradio as gr
        from gradio.events import api

        setups = self.compared.setups
        first = first_choices(self.views, setups[0]) if setups else None
        with gr.Blocks(title=self.results.title, analytics_enabled=False) as app:
            _html(render_header(self.results))
            if first is not None:
                self._add_controls(first)
            with gr.Tabs(overflow_behavior="wrap") as self.tabs:
                if first is not None:
                    self._add_reconstructions(first)
                    self._add_samples(first)
                    self._add_interpolations(first)
                with gr.Tab("Tables", id="tables"):
                    _html(self.pages.tables, "tables")
                with gr.Tab("Methods", id="methods"):
                    names = list(self.results.methods)
                    self.method = gr.Dropdown(names, value=names[0], label="Method", elem_id="method")
                    self.about_method = _html(self.pages.method(names[0]), "about")
                with gr.Tab("Study", id="study"):
                    _html(self.pages.study, "facts")
            _html(self.pages.overlays())
            self._add_events(app, first)
            for function in self.views.endpoints:
                api(_explained(function), api_name=function.__name__)
        return app

    # Components

    def _add_controls(self, first: Choices):
        import gradio as gr

        compared, dims = self.compared, self.results.latent_dims
        datasets = _distinct(setup.dataset for setup in compared.setups)
        networks = _distinct(setup.network for setup in compared.setups)
        with gr.Row(elem_classes="controls"):
            self.dataset = gr.Dropdown(
                _named(datasets), value=first.dataset, label="Data", visible=len(datasets) > 1, elem_id="dataset"
            )
            self.network = gr.Dropdown(
                _named(networks), value=first.network, label="Networks", visible=len(networks) > 1, elem_id="network"
            )
            self.latent_dim = gr.Dropdown(
                dims[first.dataset],
                value=first.latent_dim,
                label="Latent dimensions",
                visible=any(len(found) > 1 for found in dims.values()),
                elem_id="latent_dim",
            )
            self.task = gr.Dropdown(
                compared.tasks,
                value=first.task,
                label="Configurations chosen for",
                elem_id="task",
            )
        names = list(self.results.methods)
        with gr.Accordion(f"Methods ({len(names)})", open=False, elem_classes="methods"):
            self.methods = gr.CheckboxGroup(
                names, value=first.methods, label="Methods", show_label=False, show_select_all=True, elem_id="methods"
            )

    def _add_reconstructions(self, first: Choices):
        import gradio as gr

        with gr.Tab("Reconstruct", id="reconstruct"):
            setup = self._setup(first)
            with gr.Row():
                self.picked = gr.CheckboxGroup(
                    self._examples(setup),
                    value=first.picked,
                    label="Test images",
                    elem_classes="picker",
                    scale=3,
                    elem_id="picked",
                )
                self.files = gr.File(
                    label="Your own images",
                    file_count="multiple",
                    file_types=["image"],
                    height=150,
                    scale=1,
                    elem_id="files",
                )
            self.picked_style = gr.HTML(self.views.picker_style("picked", setup), elem_classes="invisible")
            self.reconstructions = _html("", "reconstructions", js_on_load=_OPEN_METHOD)

    def _add_samples(self, first: Choices):
        import gradio as gr

        with gr.Tab("Sample", id="sample"):
            with gr.Row(elem_classes="sampling"):
                self.samplers = gr.CheckboxGroup(
                    _named(self.compared.samplers),
                    value=first.samplers,
                    label="Samplers",
                    scale=3,
                    elem_id="samplers",
                )
                self.num = gr.Slider(1, MAX_SAMPLES, value=first.num, step=1, label="Images", elem_id="num")
                self.seed = gr.Number(
                    first.seed, precision=0, minimum=0, maximum=MAX_SEED, label="Seed", elem_id="seed"
                )
                self.other_seed = gr.Button("Next seed", elem_id="next-seed", min_width=80)
            self.samples = _html("", "samples", js_on_load=_OPEN_METHOD)

    def _add_interpolations(self, first: Choices):
        import gradio as gr

        with gr.Tab("Interpolate", id="interpolate"):
            setup = self._setup(first)
            choices = self._examples(setup)
            with gr.Row():
                self.start = gr.Radio(choices, value=first.start, label="From", elem_classes="picker", elem_id="start")
                self.end = gr.Radio(choices, value=first.end, label="To", elem_classes="picker", elem_id="end")
            self.num_steps = gr.Slider(3, MAX_STEPS, value=first.num_steps, step=1, label="Steps", elem_id="num_steps")
            self.start_style = gr.HTML(self.views.picker_style("start", setup), elem_classes="invisible")
            self.end_style = gr.HTML(self.views.picker_style("end", setup), elem_classes="invisible")
            self.interpolations = _html("", "interpolations", js_on_load=_OPEN_METHOD)

    # Events

    def _add_events(self, app: "Blocks", first: Choices | None):
        import gradio as gr

        private: dict[str, Any] = {
            "api_visibility": "private",
            "show_progress": "hidden",
            "trigger_mode": "always_last",
        }
        self.method.change(self.pages.method, self.method, self.about_method, **private)
        if first is None:
            return
        place = [self.dataset, self.network, self.latent_dim]
        shared = [*place, self.task, self.methods]
        grids = [
            ("reconstruct", self.views.show_reconstructions, [self.picked, self.files], self.reconstructions),
            ("sample", self.views.show_samples, [self.samplers, self.num, self.seed], self.samples),
            (
                "interpolate",
                self.views.show_interpolations,
                [self.start, self.end, self.num_steps],
                self.interpolations,
            ),
        ]
        shown = gr.Textbox(first.tab, visible=False)  # the browser writes it into the address
        own = [component for _, _, components, _ in grids for component in components]

        def show(selected: str, *values: Any) -> list[Any]:
            """The grid of the tab that is shown; the others stay."""
            found, rest = [], list(values[len(shared) :])
            for name, render, components, _ in grids:
                given, rest = rest[: len(components)], rest[len(components) :]
                found.append(render(Selected(*values[: len(shared)]), *given) if name == selected else gr.skip())
            return found

        def render_one(render: Callable[..., str]) -> Callable[..., str]:
            return lambda *values: render(Selected(*values[: len(shared)]), *values[len(shared) :])

        def remember(event: gr.SelectData) -> str:
            return TABS[event.index]

        everything: dict[str, Any] = {
            "fn": _explained(show),
            "inputs": [shown, *shared, *own],
            "outputs": [grid for *_, grid in grids],
        }

        def open_method(event: gr.EventData) -> list[Any]:
            return [gr.Tabs(selected="methods"), event.method]

        self.tabs.select(remember, None, shown, **private).then(**everything, **private)
        gr.on([self.task.change, self.methods.change], **everything, **private)
        for _, render, components, grid in grids:
            events = [component.change for component in components]
            gr.on(events, _explained(render_one(render)), [*shared, *components], grid, **private)
            grid.select(open_method, None, [self.tabs, self.method], **private)
        self.other_seed.click(lambda seed: int(seed or 0) + 1, self.seed, self.seed, **private)
        pickers = [self.picked, self.start, self.end, self.picked_style, self.start_style, self.end_style]
        gr.on(
            [component.input for component in place],
            _explained(self._change_place),
            place,
            [self.latent_dim, *pickers],
            **private,
        ).then(**everything, **private)
        # the controls have the names of the choices
        linked = [shown, *(getattr(self, name) for name in first.to_dict() if name != "tab")]
        address = gr.Textbox(visible=False)
        outputs = [self.tabs, *linked, *pickers[3:]]
        read = {"js": "() => [window.location.search]", **private}
        app.load(self._restore, address, outputs, **read).then(**everything, **private)
        write = f"(...values) => {{ {read_static('address.js')} {read_static('study_link.js')} }}"
        write = write.replace("FIRST", json.dumps(first.to_dict()))
        gr.on([component.change for component in linked], None, linked, js=write)

    def _restore(self, query: str) -> list[Any]:
        """The values of an address for the tabs, the controls in the order of `Choices`, and the pickers' images."""
        import gradio as gr

        choices, errors = read_choices(self.views, query)
        if errors:
            gr.Warning(escape(f"The link has values that this Space does not have: {'; '.join(errors)}", quote=False))
        setup, values = self._setup(choices), choices.to_dict()
        examples = self._examples(setup)
        for name in ("picked", "start", "end"):
            values[name] = gr.update(choices=examples, value=values[name])
        values["latent_dim"] = gr.update(choices=self.results.latent_dims[setup.dataset], value=setup.latent_dim)
        return [gr.Tabs(selected=choices.tab), *values.values(), *self._picker_styles(setup)]

    def _change_place(self, dataset: str, network: str, latent_dim: int) -> list[Any]:
        """The choices that another data set has."""
        import gradio as gr

        dims = self.results.latent_dims[dataset]
        setup = self.views.find_setup(dataset, network, latent_dim if latent_dim in dims else dims[0])
        first, examples = first_choices(self.views, setup), self._examples(setup)
        return [
            gr.update(choices=dims, value=setup.latent_dim),
            *(gr.update(choices=examples, value=value) for value in (first.picked, first.start, first.end)),
            *self._picker_styles(setup),
        ]

    def _setup(self, choices: Choices) -> Setup:
        return self.views.find_setup(choices.dataset, choices.network, choices.latent_dim)

    def _examples(self, setup: Setup) -> list[tuple[str, int]]:
        """Test images as choices, by their names."""
        return [(name, index) for index, name in enumerate(self.views.example_names(setup))]

    def _picker_styles(self, setup: Setup) -> list[str]:
        return [self.views.picker_style(name, setup) for name in ("picked", "start", "end")]


def _html(value: str, name: str | None = None, **options: Any) -> "HTML":
    """HTML in the style of the study's page."""
    import gradio as gr

    return gr.HTML(value, elem_classes="study", elem_id=name, apply_default_css=False, **options)


def _distinct(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))


def _named(names: Iterable[str]) -> list[tuple[str, str]]:
    """Choices with names for people."""
    return [(display(name), name) for name in names]
