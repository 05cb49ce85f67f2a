"""Compares the methods of a study on the same inputs: reconstructions, samples and interpolations of its models."""

__all__ = ["Comparison", "Inputs", "MethodRow", "MissingClassError"]

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TypeAlias, cast

import torch
from PIL import Image
from torch import Tensor, nn

from ..auto import AutoGAE, AutoSampler
from ..images.processing import GAEImageProcessor
from ..metrics.functional.reconstruction import squared_error
from ..models.base import GAEPreTrainedModel
from ..pipelines.generation import GenerationPipeline
from ..samplers.base import GAESampler
from ..study.results import CellResult
from ..study.selection import CRITERIA, Selection, Selector, Setup
from .example_sets import ExampleSet, load_examples, split_batches
from .model_cache import ModelCache
from .study_record import SpaceModel, StudyRecord, examples_file, read_record

MAX_CACHE_BYTES = 1 << 30
_FAILURES = (OSError, ValueError, NotImplementedError)  # of one method: its repository is gone, or it has diverged

Compute: TypeAlias = Callable[[GAEPreTrainedModel, GAESampler | None], tuple[Tensor, list[float]]]


class MissingClassError(ValueError):
    """A model needs the class of an image that has none."""


@dataclass(frozen=True)
class Inputs:
    """Images that all methods get.

    Args:
        pixel_values: (num, *input_shape) values of the models.
        class_labels: (num,) integers, -1 for an image without a class.
        names: a name of each, for images that are named.
    """

    pixel_values: Tensor
    class_labels: Tensor
    names: tuple[str, ...] = ()

    @classmethod
    def pick(cls, examples: ExampleSet, indices: Sequence[int]) -> "Inputs":
        """Some test images, without names."""
        labels = [-1 if examples.labels is None else examples.labels[index] for index in indices]
        return cls(examples.pixel_values[list(indices)], torch.tensor(labels, dtype=torch.int64))

    def select_labels(self, model: GAEPreTrainedModel) -> Tensor | None:
        """The class_labels that a model gets; None for a model without conditions.

        Raises:
            MissingClassError: if an image has no class, and the model is not trained for that.
        """
        if not model.is_conditional:
            return None
        if bool((self.class_labels < 0).any()) and not model.config.condition_dropout:
            raise MissingClassError("this method needs the class of each image, and uploaded images have none")
        return self.class_labels


@dataclass(frozen=True)
class MethodRow:
    """What one method made.

    Args:
        method: name of the method.
        sampler: name of the sampler, for samples.
        configuration: number of the configuration; None if there is none.
        fields: what the configuration sets.
        images: the images.
        errors: mean squared error per value of each image in the units of the data, for reconstructions.
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
        return [setup for setup in self.selector.setups if self._is_shown(setup)]

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
        """The processor of the models of a setup, which read their data in the same way.

        Raises:
            OSError, ValueError: if that of none of the models can be loaded.
        """
        if setup.dataset not in self._processors:
            self._processors[setup.dataset] = self._load_processor(setup)
        return self._processors[setup.dataset]

    # What methods make

    def reconstruct(self, setup: Setup, task: str, methods: Sequence[str], inputs: Inputs) -> list[MethodRow]:
        """Reconstructions of inputs, with the mean squared error of each in the data's units."""
        restore = self.processor(setup).restore

        def compute(model: GAEPreTrainedModel, sampler: GAESampler | None) -> tuple[Tensor, list[float]]:
            outputs, errors = [], []
            parts = [part.to(self.device) for part in split_batches(inputs.pixel_values)]
            for part, given in zip(parts, model.given_parts(parts, inputs.select_labels(model)), strict=True):
                output = given.reconstruct(part)
                outputs.append(output)
                errors += squared_error(restore(output), restore(part)).tolist()
            return torch.cat(outputs), errors

        return [self._make_row(self.select(task, method, setup), compute) for method in methods]

    def sample(
        self, setup: Setup, task: str, methods: Sequence[str], samplers: Sequence[str], num: int, seed: int
    ) -> list[MethodRow]:
        """Generated images of each method with each of these samplers, all with the same seed."""

        def compute(model: GAEPreTrainedModel, sampler: GAESampler | None) -> tuple[Tensor, list[float]]:
            pipe = GenerationPipeline(model, sampler, self.processor(setup))
            return torch.cat(list(pipe.generate_batches(num, seed))), []

        rows = []
        for method in methods:
            selection, own = self.select(task, method, setup), self.selector.method_samplers(method)
            rows += [self._make_row(selection, compute, sampler) for sampler in samplers if sampler in own]
        return rows

    def interpolate(
        self, setup: Setup, task: str, methods: Sequence[str], start: Inputs, end: Inputs, num_steps: int
    ) -> list[MethodRow]:
        """Images on each model's path from one input to another."""

        def compute(model: GAEPreTrainedModel, sampler: GAESampler | None) -> tuple[Tensor, list[float]]:
            first, last = (inputs.pixel_values.to(self.device) for inputs in (start, end))
            return model.interpolate(first, last, num_steps, start.select_labels(model), end.select_labels(model))[
                0
            ], []

        return [self._make_row(self.select(task, method, setup), compute) for method in methods]

    def _make_row(self, selection: Selection, compute: Compute, sampler: str | None = None) -> MethodRow:
        """The row of one method. A method that fails has no images, and the row says why: the others are shown.

        Args:
            selection: the method and its configuration.
            compute: makes images of its model and its sampler, with the error of each image if they have one.
            sampler: name of the sampler, for samples.
        """
        configuration, stored = selection.configuration, self._model(selection)
        if configuration is None:
            return MethodRow(selection.method, sampler, None, {}, missing=selection.missing)
        row = MethodRow(selection.method, sampler, configuration.number, configuration.fields)
        if stored is None:
            return replace(row, missing="this Space does not have the model")
        if sampler is not None and sampler not in stored.samplers:
            return replace(row, missing=f"not fitted: {_reason(configuration.cells[0], sampler)}")
        try:
            model = self._load_model(stored)
            fitted = None if sampler is None else self._load_sampler(stored, sampler)
            began = time.perf_counter()
            output, errors = compute(model, fitted)
            if not output.isfinite().all():
                raise ValueError("the model returns values that are nan or infinite")
            images = tuple(self.processor(selection.setup).postprocess(output))
        except MissingClassError as error:
            return replace(row, missing=str(error))
        except _FAILURES as error:
            return replace(row, missing=f"failed: {error}")
        return replace(row, images=images, errors=tuple(errors), seconds=time.perf_counter() - began)

    # Models

    def _load_model(self, stored: SpaceModel) -> GAEPreTrainedModel:
        model = self.cache.get(stored.source, lambda: AutoGAE.from_pretrained(stored.locate(self.root)))
        return cast(GAEPreTrainedModel, model)

    def _load_sampler(self, stored: SpaceModel, sampler: str) -> GAESampler:
        folder = stored.samplers[sampler]
        return cast(
            GAESampler,
            self.cache.get(
                f"{stored.source}/{folder}",
                lambda: AutoSampler.from_pretrained(stored.locate(self.root), subfolder=folder),
            ),
        )

    def _load_processor(self, setup: Setup) -> GAEImageProcessor:
        failure: Exception = ValueError(f"this Space has no models for {setup}")
        for place in dict.fromkeys(model.locate(self.root) for model in self._models(setup)):
            try:
                return cast(GAEImageProcessor, GAEImageProcessor.from_pretrained(place))
            except _FAILURES as error:
                failure = error
        raise failure

    def _model(self, selection: Selection) -> SpaceModel | None:
        configuration = selection.configuration
        return None if configuration is None else self.record.model_of(configuration.cells[0])

    def _models(self, setup: Setup) -> Iterator[SpaceModel]:
        for method in self.results.methods:
            for task in self.tasks:
                found = self._model(self.select(task, method, setup))
                if found is not None:
                    yield found

    def _is_shown(self, setup: Setup) -> bool:
        """Whether the Space has models and test images of a setup."""
        return any(True for _ in self._models(setup)) and examples_file(self.root, setup.dataset).is_file()


def _reason(cell: CellResult, sampler: str) -> str:
    """Why a cell does not have a sampler."""
    skipped = cell.facts.get("skipped_steps", {})
    return str(skipped.get(f"sampler/{sampler}") or "this Space does not have the sampler")
