"""Compares the methods of a study on the same inputs: reconstructions, samples and interpolations of its models."""

__all__ = ["Comparison", "Inputs", "MethodRow"]

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import cast

import torch
from PIL import Image
from torch import Tensor, nn

from ..auto import AutoGAE, AutoSampler
from ..images.processing import GAEImageProcessor
from ..metrics.functional.reconstruction import squared_error
from ..models.base import GAEPreTrainedModel
from ..pipelines.generation import GenerationPipeline
from ..samplers.base import GAESampler
from ..study.selection import CRITERIA, Selection, Selector, Setup
from .example_sets import ExampleSet, load_examples
from .model_cache import ModelCache
from .study_record import SpaceModel, StudyRecord, examples_file, read_record

MAX_CACHE_BYTES = 1 << 30


@dataclass(frozen=True)
class Inputs:
    """Images that all methods get: (num, *input_shape) values of the models, and a name of each."""

    pixel_values: Tensor
    names: tuple[str, ...]


@dataclass(frozen=True)
class MethodRow:
    """What one method made.

    Args:
        method: name of the method.
        sampler: name of the sampler, for samples.
        configuration: number of the configuration; None if there is none.
        fields: what the configuration sets.
        images: the images.
        errors: mean squared error per value of each image, for reconstructions.
        missing: why there are no images; None if there are.
        seconds: duration, without that of loading the model.
    """

    method: str
    sampler: str | None
    configuration: int | None
    fields: dict[str, object]
    images: tuple[Image.Image, ...] = ()
    errors: tuple[float, ...] = ()
    missing: str | None = None
    seconds: float = 0.0


class Comparison:
    """The models of a study's Space, side by side.

    Args:
        root: folder of the Space.
        max_cache_bytes: largest size of the models that stay loaded.
        device: where the models run; by default a GPU if there is one.

    Raises:
        ValueError: if the folder is not that of a study's Space.
    """

    def __init__(self, root: str | Path, max_cache_bytes: int = MAX_CACHE_BYTES, device: str | None = None):
        self.root = Path(root)
        self.record: StudyRecord = read_record(self.root)
        self.results = self.record.results
        self.selector = Selector(self.results)
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.cache: ModelCache[nn.Module] = ModelCache(max_cache_bytes, self.device)
        self._examples: dict[tuple[str, tuple[int, ...]], ExampleSet] = {}
        self._processors: dict[str, GAEImageProcessor] = {}

    # What can be compared

    @cached_property
    def setups(self) -> list[Setup]:
        """Setups with models of images, in the order of the study."""
        return [setup for setup in self.selector.setups if self._first_model(setup) is not None and self._has(setup)]

    @cached_property
    def tasks(self) -> list[str]:
        """Tasks that choose a configuration of each method."""
        return [task for task in CRITERIA if task in self.results.tasks]

    @cached_property
    def samplers(self) -> list[str]:
        """Samplers that a model of the Space has, in the order of the study."""
        found = {name for model in self.record.models.values() for name in model.samplers}
        return [name for name in self.results.samplers if name in found]

    def select(self, task: str, method: str, setup: Setup) -> Selection:
        """The configuration of a method that is best on validation; for generation, with its best sampler."""
        if task == "generation":
            return self.selector.best_sampler(method, setup)
        return self.selector.select(task, method, setup)

    def examples(self, setup: Setup) -> ExampleSet:
        """Test images of a data set."""
        shape = tuple(self.processor(setup).input_shape)
        key = setup.dataset, shape
        if key not in self._examples:
            self._examples[key] = load_examples(examples_file(self.root, setup.dataset), shape)
        return self._examples[key]

    def processor(self, setup: Setup) -> GAEImageProcessor:
        """The processor of the models of a setup, which read their data in the same way."""
        if setup.dataset not in self._processors:
            model = self._first_model(setup)
            assert model is not None  # else `setups` would not have it
            found = GAEImageProcessor.from_pretrained(model.locate(self.root))
            self._processors[setup.dataset] = cast(GAEImageProcessor, found)
        return self._processors[setup.dataset]

    # What methods make

    def reconstruct(self, setup: Setup, task: str, methods: Sequence[str], pixel_values: Tensor) -> list[MethodRow]:
        """Reconstructions of (num, *input_shape) inputs, with the mean squared error of each."""
        return [self._reconstruct(self.select(task, method, setup), pixel_values) for method in methods]

    def sample(
        self, setup: Setup, task: str, methods: Sequence[str], samplers: Sequence[str], num: int, seed: int
    ) -> list[MethodRow]:
        """Generated images of each method with each of these samplers, all with the same seed."""
        rows = []
        for method in methods:
            selection = self.select(task, method, setup)
            own = self.selector.method_samplers(method)
            for sampler in samplers:
                if sampler in own:
                    rows.append(self._sample(selection, sampler, num, seed))
        return rows

    def interpolate(
        self, setup: Setup, task: str, methods: Sequence[str], start: Tensor, end: Tensor, num_steps: int
    ) -> list[MethodRow]:
        """Images on each model's path from one input (1, *input_shape) to another."""
        rows = []
        for method in methods:
            selection = self.select(task, method, setup)
            model, row = self._open(selection)
            if model is None:
                rows.append(row)
                continue
            began = time.perf_counter()
            path = model.interpolate(start.to(self.device), end.to(self.device), num_steps)[0]
            rows.append(self._finish(row, setup, path, began))
        return rows

    def _reconstruct(self, selection: Selection, pixel_values: Tensor) -> MethodRow:
        model, row = self._open(selection)
        if model is None:
            return row
        began = time.perf_counter()
        inputs = pixel_values.to(self.device)
        output = model.reconstruct(inputs)
        errors = squared_error(output, inputs).tolist()
        return self._finish(row, selection.setup, output, began, tuple(errors))

    def _sample(self, selection: Selection, sampler: str, num: int, seed: int) -> MethodRow:
        model, row = self._open(selection, sampler)
        if model is None:
            return row
        stored = self._model(selection)
        if stored is None or sampler not in stored.samplers:
            return _without_images(row, f"not fitted: {self._reason(selection, sampler)}")
        fitted = self._load_sampler(stored, sampler)
        began = time.perf_counter()
        pipe = GenerationPipeline(model, fitted, self.processor(selection.setup))
        output = torch.cat(list(pipe.generate_batches(num, seed)))
        return self._finish(row, selection.setup, output, began)

    def _finish(
        self, row: MethodRow, setup: Setup, output: Tensor, began: float, errors: tuple[float, ...] = ()
    ) -> MethodRow:
        images = tuple(self.processor(setup).postprocess(output))
        seconds = time.perf_counter() - began
        return MethodRow(row.method, row.sampler, row.configuration, row.fields, images, errors, None, seconds)

    # Models

    def _open(self, selection: Selection, sampler: str | None = None) -> tuple[GAEPreTrainedModel | None, MethodRow]:
        """The chosen model and a row without images, which says why if there is no model."""
        configuration = selection.configuration
        if configuration is None:
            return None, MethodRow(selection.method, sampler, None, {}, missing=selection.missing)
        row = MethodRow(selection.method, sampler, configuration.number, configuration.fields)
        stored = self._model(selection)
        if stored is None:
            return None, _without_images(row, "this Space does not have the model")
        model = self.cache.get(stored.source, lambda: AutoGAE.from_pretrained(stored.locate(self.root)))
        return cast(GAEPreTrainedModel, model), row

    def _load_sampler(self, stored: SpaceModel, sampler: str) -> GAESampler:
        folder = stored.samplers[sampler]
        return cast(
            GAESampler,
            self.cache.get(
                f"{stored.source}/{folder}",
                lambda: AutoSampler.from_pretrained(stored.locate(self.root), subfolder=folder),
            ),
        )

    def _model(self, selection: Selection) -> SpaceModel | None:
        configuration = selection.configuration
        return None if configuration is None else self.record.model_of(configuration.cells[0])

    def _reason(self, selection: Selection, sampler: str) -> str:
        assert selection.configuration is not None  # a model is open
        skipped = selection.configuration.cells[0].facts.get("skipped_steps", {})
        return str(skipped.get(f"sampler/{sampler}") or "this Space does not have the sampler")

    def _first_model(self, setup: Setup) -> SpaceModel | None:
        return next(self._models(setup), None)

    def _models(self, setup: Setup) -> Iterator[SpaceModel]:
        for method in self.results.methods:
            for task in self.tasks:
                found = self._model(self.select(task, method, setup))
                if found is not None:
                    yield found

    def _has(self, setup: Setup) -> bool:
        return examples_file(self.root, setup.dataset).is_file()


def _without_images(row: MethodRow, missing: str) -> MethodRow:
    return MethodRow(row.method, row.sampler, row.configuration, row.fields, missing=missing)
