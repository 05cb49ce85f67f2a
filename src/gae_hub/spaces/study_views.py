"""What a study's Space answers: comparisons as HTML for its page, and as plain values for programs."""

__all__ = ["MAX_SAMPLES", "MAX_SEED", "MAX_STEPS", "Selected", "StudyViews"]

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from PIL import Image

from ..study.selection import Setup
from ..study.table import format_entry
from ..study.tables import build_tables
from .comparison import Comparison, Inputs, MethodRow
from .encoding import as_data_uri, shrink
from .request_checks import check_choice, check_choices, check_integer
from .study_html import render_comparison, render_picker_style
from .uploads import read_upload

MAX_SAMPLES = 24
MAX_STEPS = 16
MAX_PICKED = 64  # test images of one request
MAX_UPLOADS = 8
MAX_SEED = 2**31 - 1
_TILE_EDGE = 128  # pixels of a picker: larger images are shown smaller


class Selected(NamedTuple):
    """What the rows of a grid are.

    Args:
        dataset, network, latent_dim: the setup.
        task: the task that chose the configuration of each method.
        methods: the methods.
    """

    dataset: str
    network: str
    latent_dim: int
    task: str
    methods: Sequence[str]

    @property
    def place(self) -> tuple[str, str, int]:
        """Data set, networks and latent dimensions."""
        return self.dataset, self.network, self.latent_dim


class StudyViews:
    """Answers to requests. Each checks its arguments and raises ValueError with what it expected.

    Args:
        root: folder of the Space.
    """

    def __init__(self, root: str | Path):
        self.compared = Comparison(root)

    # For the page

    def show_reconstructions(
        self, selected: Selected, picked: Sequence[int] | None, files: Sequence[str] | None
    ) -> str:
        """A table: the picked test images and uploaded files, and each method's reconstructions."""
        setup = self.find_setup(*selected.place)
        processor = self.compared.processor(setup)
        # Gradio's component accepts files of its own upload folder only
        own = [read_upload({"path": file}, processor, Path(file).parent) for file in _limit(files or [], MAX_UPLOADS)]
        inputs = self._inputs(setup, picked or [], own)
        if not len(inputs.pixel_values):
            return '<p class="empty">Pick one or more images.</p>'
        rows = self.compared.reconstruct(setup, self._task(selected.task), self._methods(selected.methods), inputs)
        images = processor.postprocess(inputs.pixel_values)
        columns = list(zip(inputs.names, images, strict=True))
        return _table("Reconstructions", "input", columns, rows, "reconstruction of {column}")

    def show_samples(self, selected: Selected, samplers: Sequence[str], num: int, seed: int) -> str:
        """A table: samples of each method with each sampler, with one seed."""
        setup = self.find_setup(*selected.place)
        if not samplers:
            return '<p class="empty">Pick one or more samplers.</p>'
        num = check_integer("the number of images", num, 1, MAX_SAMPLES)
        rows = self._sample(setup, selected.task, selected.methods, samplers, num, seed)
        columns: list[tuple[str, Image.Image | None]] = [(str(index), None) for index in range(1, num + 1)]
        return _table("Samples", f"seed {int(seed)}, image", columns, rows, "sample {column}")

    def show_interpolations(self, selected: Selected, start: int, end: int, num_steps: int) -> str:
        """A table: the path of each method from one test image to another."""
        setup = self.find_setup(*selected.place)
        rows = self._interpolate(setup, selected.task, selected.methods, start, end, num_steps)
        examples, processor = self.compared.examples(setup), self.compared.processor(setup)
        names = [f"{step / (num_steps - 1):.2g}" for step in range(int(num_steps))]
        first, last = processor.postprocess(examples.pixel_values[[int(start), int(end)]])
        images = [first, *[None] * (len(names) - 2), last]
        return _table("Interpolations", "from, to", list(zip(names, images, strict=True)), rows, "path at {column}")

    def example_names(self, setup: Setup) -> list[str]:
        """A name for each test image, with its class."""
        examples = self.compared.examples(setup)
        return [_name(index, examples.label_of(index)) for index in range(len(examples))]

    def picker_style(self, picker: str, setup: Setup) -> str:
        """A style element with the test images for a group of choices."""
        images = self.compared.processor(setup).postprocess(self.compared.examples(setup).pixel_values)
        return render_picker_style(picker, [shrink(image, _TILE_EDGE) for image in images])

    def find_setup(self, dataset: str, network: str, latent_dim: int) -> Setup:
        """The setup of these names.

        Raises:
            ValueError: if the Space does not have it.
        """
        for setup in self.compared.setups:
            if setup == (network, dataset, latent_dim):
                return setup
        known = "; ".join(f"{s.dataset}, {s.network}, {s.latent_dim}" for s in self.compared.setups)
        raise ValueError(f"this Space has no models for {dataset}, {network}, {latent_dim}; it has: {known}")

    # For programs

    @property
    def endpoints(self) -> list[Callable[..., Any]]:
        """Functions for `gradio_client`, each under its name."""
        return [self.setups, self.reconstruct, self.sample, self.interpolate, self.tables]

    def setups(self) -> list[dict[str, Any]]:
        """Data sets, networks and latent dimensions of the Space, with the methods of the study."""
        methods = list(self.compared.results.methods)
        return [
            {**setup._asdict(), "methods": methods, "tasks": self.compared.tasks} for setup in self.compared.setups
        ]

    def reconstruct(
        self,
        images: list[Any],
        dataset: str = "",
        network: str = "",
        latent_dim: int = 0,
        task: str = "",
        methods: list[str] | None = None,
    ) -> list[dict[str, Any]]:
        """Reconstructions by each method, of test images by their indices, ordered and each once, and of data URIs."""
        setup = self._setup(dataset, network, latent_dim)
        if not isinstance(images, list) or not images:
            raise ValueError("images must be a list of one or more indices of test images or data URIs")
        indices = [image for image in images if isinstance(image, (int, float))]
        uploads = _limit([image for image in images if not isinstance(image, (int, float))], MAX_UPLOADS)
        processor = self.compared.processor(setup)
        inputs = self._inputs(setup, indices, [read_upload(upload, processor) for upload in uploads])
        rows = self.compared.reconstruct(setup, self._task(task), self._methods(methods), inputs)
        return [_plain(row) for row in rows]

    def sample(
        self,
        samplers: list[str],
        num: int = 8,
        seed: int = 0,
        dataset: str = "",
        network: str = "",
        latent_dim: int = 0,
        task: str = "",
        methods: list[str] | None = None,
    ) -> list[dict[str, Any]]:
        """Samples of each method with each of these samplers, with one seed."""
        setup = self._setup(dataset, network, latent_dim)
        return [_plain(row) for row in self._sample(setup, task, methods, samplers, num, seed)]

    def interpolate(
        self,
        start: int,
        end: int,
        num_steps: int = 10,
        dataset: str = "",
        network: str = "",
        latent_dim: int = 0,
        task: str = "",
        methods: list[str] | None = None,
    ) -> list[dict[str, Any]]:
        """Each method's path between two test images, by their indices."""
        setup = self._setup(dataset, network, latent_dim)
        return [_plain(row) for row in self._interpolate(setup, task, methods, start, end, num_steps)]

    def tables(self) -> list[dict[str, Any]]:
        """The study's tables: headings of the columns, and the printed numbers of each row."""
        return [
            {
                "name": table.name,
                "title": table.title,
                "columns": [*table.labels, *(column.key for column in table.columns)],
                "rows": [[*row.labels, *map(format_entry, row.entries, table.columns)] for row in table.rows],
            }
            for table in build_tables(self.compared.results)
        ]

    # Requests

    def _setup(self, dataset: str, network: str, latent_dim: int) -> Setup:
        """The setup of these names; where a name is empty, that of the first setup that has the others."""
        for setup in self.compared.setups:
            wanted = (network or setup.network, dataset or setup.dataset, latent_dim or setup.latent_dim)
            if setup == wanted:
                return setup
        return self.find_setup(dataset, network, latent_dim)

    def _task(self, task: str) -> str:
        return check_choice("task", task or self.compared.tasks[0], self.compared.tasks)

    def _methods(self, methods: Sequence[str] | None) -> list[str]:
        known = self.compared.results.methods
        wanted = known if methods is None else check_choices("a method", methods, known)
        return [name for name in known if name in wanted]

    def _sample(
        self, setup: Setup, task: str, methods: Sequence[str] | None, samplers: Sequence[str], num: Any, seed: Any
    ) -> list[MethodRow]:
        names = check_choices("a sampler", samplers, self.compared.samplers)
        num = check_integer("the number of images", num, 1, MAX_SAMPLES)
        seed = check_integer("the seed", seed, 0, MAX_SEED)
        return self.compared.sample(setup, self._task(task), self._methods(methods), names, num, seed)

    def _interpolate(
        self, setup: Setup, task: str, methods: Sequence[str] | None, start: Any, end: Any, num_steps: Any
    ) -> list[MethodRow]:
        examples = self.compared.examples(setup)
        first, last = (
            check_integer(name, value, 0, len(examples) - 1) for name, value in (("start", start), ("end", end))
        )
        num_steps = check_integer("the number of steps", num_steps, 2, MAX_STEPS)
        a, b = Inputs.pick(examples, [first]), Inputs.pick(examples, [last])
        return self.compared.interpolate(setup, self._task(task), self._methods(methods), a, b, num_steps)

    def _inputs(self, setup: Setup, picked: Sequence[Any], own: Sequence[torch.Tensor]) -> Inputs:
        """Test images by their indices, each once, and the images of a visitor, (1, *input_shape) each."""
        examples = self.compared.examples(setup)
        last = len(examples) - 1
        chosen = {check_integer("an index of a test image", index, 0, last) for index in picked}
        indices = _limit(sorted(chosen), MAX_PICKED)
        names = [_name(index, examples.label_of(index)) for index in indices]
        names += [f"image {number} of yours" for number in range(1, len(own) + 1)]
        found = Inputs.pick(examples, indices)
        labels = torch.cat([found.class_labels, torch.full((len(own),), -1)])
        return Inputs(torch.cat([found.pixel_values, *own]), labels, tuple(names))


def _limit(images: Sequence[Any], maximum: int) -> Sequence[Any]:
    if len(images) > maximum:
        raise ValueError(f"expected at most {maximum} images at a time, got {len(images)}")
    return images


def _name(index: int, label: str | None) -> str:
    return f"test image {index + 1}" + (f", class {label}" if label is not None else "")


def _table(
    title: str,
    heading: str,
    columns: Sequence[tuple[str, Image.Image | None]],
    rows: Sequence[MethodRow],
    tile_name: str,
) -> str:
    """A comparison, and how long the models took."""
    if not rows:
        return '<p class="empty">Pick one or more methods.</p>'
    drawn = [row.seconds for row in rows if row.missing is None]
    seconds = sum(drawn)
    status = f"{len(drawn)} rows in {1000 * seconds:,.0f} ms, without loading" if drawn else ""
    return render_comparison(title, heading, columns, rows, tile_name) + f'<p class="status">{status}</p>'


def _plain(row: MethodRow) -> dict[str, Any]:
    """A row as JSON values."""
    return {
        "method": row.method,
        "sampler": row.sampler,
        "configuration": row.configuration,
        "fields": row.fields,
        "images": [as_data_uri(image) for image in row.images],
        "errors": list(row.errors),
        "missing": row.missing,
        "seconds": row.seconds,
    }
