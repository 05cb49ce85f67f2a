"""The controls of a study's Space, the values that they can have, and the tables that show the answers."""

__all__ = ["StudyControls", "html_block"]

from collections.abc import Iterable
from html import escape
from typing import TYPE_CHECKING, Any

from ..study.selection import Setup
from ..study.table_metrics import display
from .setup_choices import latent_dims_of, nearest_setup, networks_of
from .study_choices import Choices, first_choices, read_choices
from .study_views import MAX_SAMPLES, MAX_SEED, MAX_STEPS, StudyViews

if TYPE_CHECKING:
    from gradio import HTML

_OPEN_METHOD = """
element.addEventListener("click", (event) => {
  const button = event.target.closest(".open-method");
  if (button) trigger("select", { method: button.dataset.method });
});
"""


class StudyControls:
    """Components that choose, and those that show what methods make of it.

    Each `add_...` method adds components to the page that is being built, as attributes. A control has the name of
    the field of `Choices` that it sets.

    Args:
        views: of the Space.
        first: the values at first.
    """

    def __init__(self, views: StudyViews, first: Choices):
        self.views, self.first = views, first
        self.setups, self.results = views.compared.setups, views.compared.results
        self.examples = self._examples(self._setup(first))

    # Components

    def add_setup(self):
        """Add what applies to all tabs: data, networks, latent dimensions, task and methods."""
        import gradio as gr

        first, setups = self.first, self.setups
        datasets, networks = _distinct(s.dataset for s in setups), _distinct(s.network for s in setups)
        dims = _distinct(setup.latent_dim for setup in setups)
        with gr.Row(elem_classes="controls"):
            self.dataset = gr.Dropdown(
                _named(datasets), value=first.dataset, label="Data", visible=len(datasets) > 1, elem_id="dataset"
            )
            self.network = gr.Dropdown(
                _named(networks_of(setups, first.dataset)),
                value=first.network,
                label="Networks",
                visible=len(networks) > 1,
                elem_id="network",
            )
            self.latent_dim = gr.Dropdown(
                latent_dims_of(setups, first.dataset, first.network),
                value=first.latent_dim,
                label="Latent dimensions",
                visible=len(dims) > 1,
                elem_id="latent_dim",
            )
            self.task = gr.Dropdown(
                self.views.compared.tasks, value=first.task, label="Configurations chosen for", elem_id="task"
            )
        names = list(self.results.methods)
        with gr.Accordion(f"Methods ({len(names)})", open=False, elem_classes="methods"):
            self.methods = gr.CheckboxGroup(
                names, value=first.methods, label="Methods", show_label=False, show_select_all=True, elem_id="methods"
            )

    def add_reconstructions(self):
        """Add the tab in which images are picked and uploaded."""
        import gradio as gr

        with gr.Tab("Reconstruct", id="reconstruct"):
            with gr.Row():
                self.picked = gr.CheckboxGroup(
                    self.examples,
                    value=self.first.picked,
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
            self.picked_style = self._add_style("picked")
            self.reconstructions = html_block("", "reconstructions", js_on_load=_OPEN_METHOD)

    def add_samples(self):
        """Add the tab of samplers."""
        import gradio as gr

        first = self.first
        with gr.Tab("Sample", id="sample"):
            with gr.Row(elem_classes="sampling"):
                self.samplers = gr.CheckboxGroup(
                    _named(self.views.compared.samplers),
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
            self.samples = html_block("", "samples", js_on_load=_OPEN_METHOD)

    def add_interpolations(self):
        """Add the tab of paths between two test images."""
        import gradio as gr

        first = self.first
        with gr.Tab("Interpolate", id="interpolate"):
            with gr.Row():
                self.start = gr.Radio(
                    self.examples, value=first.start, label="From", elem_classes="picker", elem_id="start"
                )
                self.end = gr.Radio(self.examples, value=first.end, label="To", elem_classes="picker", elem_id="end")
            self.num_steps = gr.Slider(3, MAX_STEPS, value=first.num_steps, step=1, label="Steps", elem_id="num_steps")
            self.start_style, self.end_style = self._add_style("start"), self._add_style("end")
            self.interpolations = html_block("", "interpolations", js_on_load=_OPEN_METHOD)

    def _add_style(self, picker: str) -> "HTML":
        import gradio as gr

        return gr.HTML(self.views.picker_style(picker, self._setup(self.first)), elem_classes="invisible")

    @property
    def place(self) -> list[Any]:
        """The controls of data set, networks and latent dimensions."""
        return [self.dataset, self.network, self.latent_dim]

    @property
    def styles(self) -> list["HTML"]:
        """The images of the pickers."""
        return [self.picked_style, self.start_style, self.end_style]

    @property
    def grids(self) -> list["HTML"]:
        """The tables of images."""
        return [self.reconstructions, self.samples, self.interpolations]

    # Values

    def restore(self, query: str) -> list[Any]:
        """The values of an address for the tabs, the controls in the order of `Choices`, and `styles`."""
        import gradio as gr

        choices, errors = read_choices(self.views, query)
        if errors:
            gr.Warning(escape(f"The link has values that this Space does not have: {'; '.join(errors)}", quote=False))
        setup, values = self._setup(choices), choices.to_dict()
        examples = self._examples(setup)
        for name in ("picked", "start", "end"):
            values[name] = gr.update(choices=examples, value=values[name])
        values["network"], values["latent_dim"] = self._update_place(setup)
        return [gr.Tabs(selected=choices.tab), *values.values(), *self._styles_of(setup)]

    def change_place(self, dataset: str, network: str, latent_dim: int) -> list[Any]:
        """What another data set, networks or latent dimensions change.

        Returns:
            values for the networks, the latent dimensions, the three pickers, `styles`, and `grids`, which show images
            of the models before and are emptied.
        """
        import gradio as gr

        setup = nearest_setup(self.setups, dataset, network, latent_dim)
        first, examples = first_choices(self.views, setup), self._examples(setup)
        return [
            *self._update_place(setup),
            *(gr.update(choices=examples, value=value) for value in (first.picked, first.start, first.end)),
            *self._styles_of(setup),
            *("" for _ in self.grids),
        ]

    def _update_place(self, setup: Setup) -> tuple[Any, Any]:
        """Choices and values of networks and latent dimensions."""
        import gradio as gr

        networks = networks_of(self.setups, setup.dataset)
        dims = latent_dims_of(self.setups, setup.dataset, setup.network)
        return (
            gr.update(choices=_named(networks), value=setup.network),
            gr.update(choices=dims, value=setup.latent_dim),
        )

    def _setup(self, choices: Choices) -> Setup:
        return self.views.find_setup(choices.dataset, choices.network, choices.latent_dim)

    def _examples(self, setup: Setup) -> list[tuple[str, int]]:
        """Test images as choices, by their names."""
        return [(name, index) for index, name in enumerate(self.views.example_names(setup))]

    def _styles_of(self, setup: Setup) -> list[str]:
        return [self.views.picker_style(name, setup) for name in ("picked", "start", "end")]


def html_block(value: str, name: str | None = None, **options: Any) -> "HTML":
    """HTML in the style of the study's page."""
    import gradio as gr

    return gr.HTML(value, elem_classes="study", elem_id=name, apply_default_css=False, **options)


def _distinct(values: Iterable[Any]) -> list[Any]:
    return list(dict.fromkeys(values))


def _named(names: Iterable[str]) -> list[tuple[str, str]]:
    """Choices with names for people."""
    return [(display(name), name) for name in names]
