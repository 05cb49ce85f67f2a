"""One evaluation of a model: its data, and the images, features and embeddings that several metrics share."""

__all__ = ["EvaluationRun", "ImageSet"]

from collections.abc import Collection, Iterator, Mapping, Sequence
from copy import copy
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from tqdm.auto import tqdm
from transformers.utils import logging

from ..core.argument_checks import check_count, check_seed
from ..core.files import load_cached_tensors, save_tensors
from ..data.batches import move
from ..data.caches import cache_folder
from ..data.class_labels import repeat_conditions, with_conditions
from ..data.embeddings import embed_dataset
from ..data.factors import read_factors
from ..data.loading import as_dataset, iterate_batches, iterate_examples
from ..models.base import GAEPreTrainedModel
from ..pipelines.generation import GenerationPipeline
from ..samplers.base import GAESampler
from .functional.image_batches import as_uint8
from .functional.moments import Moments
from .measures import MEASURES, Measure, Rows
from .measures.fingerprint import Fingerprint
from .measures.rows import RowStore
from .networks.extractors import Extractor, ExtractorSource, load_extractor
from .networks.lpips import LPIPS

logger = logging.get_logger(__name__)

BATCH_SIZE = 100  # images per forward pass

ImageSet = Literal["data", "samples", "reconstructions"]


class EvaluationRun:
    """A model, its data, and what metrics compute from both.

    Images stream: each metric generates or reconstructs them again, in batches, and none are stored. Features are
    stored only for the image sets in `keep_features`, or where a measure stores all rows; otherwise only their moments
    are stored. Embeddings are computed once.

    For the other arguments, see [`evaluate_model`].

    Args:
        keep_features: image sets whose features are needed all at once.
    """

    def __init__(
        self,
        model: GAEPreTrainedModel,
        dataset: Any,
        sampler: GAESampler | None = None,
        num_samples: int = 1000,
        seed: int = 0,
        *,
        extractor: ExtractorSource = "inception",
        weights: str | Path | None = None,
        train_dataset: Any = None,
        lpips: LPIPS | None = None,
        options: Mapping[str, Mapping[str, Any]] | None = None,
        factors: Sequence[str] | None = None,
        progress: bool = False,
        keep_features: Collection[ImageSet] = (),
    ):
        check_count("num_samples", num_samples)
        check_seed(seed)
        self.model, self.sampler = model, sampler
        shape = model.config.input_shape
        self.dataset: Any = with_conditions(model, dataset)
        self.train_dataset: Any = None if train_dataset is None else as_dataset(train_dataset, shape)
        self.num_samples, self.seed, self.progress = num_samples, seed, progress
        self.lpips, self.options = lpips, dict(options or {})
        self.keep_features = frozenset(keep_features)
        self._extractor_source, self._factor_names = (extractor, weights), factors
        self._features: dict[ImageSet, Tensor] = {}

    def with_model(self, model: GAEPreTrainedModel, sampler: GAESampler | None = None) -> "EvaluationRun":
        """An evaluation of another model on the same data. Both share the extractor, and the features of the data."""
        other = copy(self)
        other.model, other.sampler, other.dataset = model, sampler, with_conditions(model, self.dataset)
        other._features = {name: rows for name, rows in self._features.items() if name == "data"}
        other.__dict__.pop("embeddings", None)
        return other

    def share_samples(self, other: "EvaluationRun"):
        """Use the features of the samples of another evaluation of the same model, sampler, number and seed."""
        self._features["samples"] = other.all_features("samples")

    def new_generator(self) -> torch.Generator:
        """A generator with the run's seed. Each metric uses its own, so values do not depend on the other metrics."""
        return torch.Generator().manual_seed(self.seed)

    def new_measure(self, name: str, **kwargs: Any) -> Measure:
        """The measure `name` with the run's seed and the options for it."""
        measure_class = MEASURES[name]
        seed = {"seed": self.seed} if "seed" in measure_class.default_options() else {}
        measure = measure_class(**kwargs, **{**seed, **self.options.get(name, {})})
        measure.seed = self.seed
        return measure

    # Images

    def iterate_examples(self, desc: str | None = None) -> Iterator[dict[str, Any]]:
        """Batches of the data set as the model sees it, with a progress bar if `desc` names it."""
        return iterate_examples(self.dataset, BATCH_SIZE, desc if self.progress else None)

    def iterate_inputs(self) -> Iterator[Tensor]:
        """Batches of images as the model sees them."""
        return iterate_batches(self.dataset, BATCH_SIZE)

    def restore(self, pixel_values: Tensor) -> Tensor:
        """The model's values in the data's own units, on the CPU."""
        values = pixel_values.float().cpu()
        normalization = getattr(self.dataset, "normalization", None)
        return values if normalization is None else normalization.invert(values)

    def iterate_data(self) -> Iterator[Tensor]:
        """Batches of the data set's images, in their own units."""
        return map(self.restore, self.iterate_inputs())

    def iterate_samples(self) -> Iterator[Tensor]:
        """Batches of generated images, in the data's units. `gae-hub generate` with this seed writes the same ones."""
        pipe = GenerationPipeline(self.model, self.sampler)
        conditions = repeat_conditions(self.model, getattr(self.dataset, "conditions", None), self.num_samples)
        for images in pipe.generate_batches(self.num_samples, self.seed, BATCH_SIZE, class_labels=conditions):
            yield from self.restore(images).split(BATCH_SIZE)

    def num_classes(self, metric: str) -> int:
        """Number of classes that samples can be of.

        Raises:
            ValueError: if neither the model nor the sampler has classes. `metric` names the metric in the message.
        """
        of_sampler = None if self.sampler is None else self.sampler.num_classes
        found = self.model.config.num_classes or of_sampler
        if found is None:
            raise ValueError(
                f"the metric '{metric}' needs samples of chosen classes: a model with num_classes, or a sampler with "
                "classes, such as PerClassSampler"
            )
        return found

    def iterate_class_samples(self, num_classes: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Batches of generated images in 8 bits and their classes, which take turns."""
        pipe, labels = GenerationPipeline(self.model, self.sampler), torch.arange(self.num_samples) % num_classes
        row = 0
        for images in pipe.generate_batches(self.num_samples, self.seed, BATCH_SIZE, class_labels=labels):
            for part in self.restore(images).clamp(0, 1).split(BATCH_SIZE):
                yield as_uint8(part, "samples of the evaluation", row), labels[row : row + len(part)]
                row += len(part)

    def iterate_pairs(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Batches of (reconstructions, images), in the data's units."""
        for batch in self.iterate_examples("reconstructing"):
            reconstructions = self.model.reconstruct(**move(batch, self.model.device))
            yield self.restore(reconstructions), self.restore(batch["pixel_values"])

    def iterate_uint8(self, image_set: ImageSet) -> Iterator[Tensor]:
        """Batches of an image set in 8 bits. Values of a model beyond [0, 1] are clamped, as in image files."""
        if image_set == "data":
            batches = self.iterate_data()
        elif image_set == "samples":
            batches = (images.clamp(0, 1) for images in self.iterate_samples())
        else:
            batches = (images.clamp(0, 1) for images, _ in self.iterate_pairs())
        row = 0
        for images in batches:
            yield as_uint8(images, f"{image_set} of the evaluation", row)
            row += len(images)

    # Features

    @cached_property
    def extractor(self) -> Extractor:
        """The extractor, on the model's device."""
        return load_extractor(*self._extractor_source).to(self.model.device)

    def iterate_features(self, image_set: ImageSet) -> Iterator[Tensor]:
        """(batch, dim) features of an image set, on the CPU."""
        desc = f"features of {image_set}"
        for images in tqdm(self.iterate_uint8(image_set), desc=desc, disable=not self.progress, leave=False):
            yield self.extractor(images).cpu()

    def all_features(self, image_set: ImageSet) -> Tensor:
        """(num, dim) features of an image set, on the CPU, computed once."""
        if image_set not in self._features:
            self._features[image_set] = torch.cat(list(self.iterate_features(image_set)))
        return self._features[image_set]

    def add_features(self, store: RowStore, image_set: ImageSet):
        """Add the features of an image set to one side of a measure."""
        if image_set in self.keep_features or isinstance(store, Rows):
            store.add(self.all_features(image_set))
        else:
            for rows in self.iterate_features(image_set):
                store.add(rows)

    @cached_property
    def fingerprint(self) -> Fingerprint:
        """Fingerprint of the data set's 8-bit images."""
        found = Fingerprint()
        for images in self.iterate_uint8("data"):
            found.add(images)
        return found

    def load_data_moments(self) -> Moments:
        """Moments of the features of the data set, from the cache if they were computed before.

        The file's name consists of the data set's fingerprint and the extractor's cache key. For a custom extractor,
        which has no key, they are computed each time.
        """
        key = self.extractor.cache_key
        if key is None:
            return self._compute_data_moments()
        path = cache_folder("statistics") / f"{self.fingerprint.hex()}-{key[:16]}.safetensors"
        cached = load_cached_tensors(path)
        if cached is not None:
            try:
                moments = Moments.from_state_dict(cached)
                if hasattr(self.dataset, "__len__") and moments.count != len(self.dataset):
                    raise ValueError(f"it has {moments.count} images, expected {len(self.dataset)}")
                return moments
            except ValueError as error:
                logger.warning(f"ignoring the cache file '{path}', which is damaged ({error})")
        moments = self._compute_data_moments()
        save_tensors(path, moments.state_dict())
        return moments

    def _compute_data_moments(self) -> Moments:
        moments = Moments()
        self.add_features(moments, "data")
        return moments

    # Latents, labels, factors

    @cached_property
    def embeddings(self) -> Tensor:
        """(num, latent_dim) embeddings of the data set, on the CPU."""
        return self.embed(self.dataset)

    def embed(self, dataset: Any) -> Tensor:
        """(num, latent_dim) embeddings of a data set by `model.embed`, on the CPU."""
        return embed_dataset(self.model, dataset, progress=self.progress).flatten(1).float().cpu()

    def labelled_embeddings(self, metric: str, dataset: Any = None) -> tuple[Tensor, Tensor]:
        """Embeddings (num, latent_dim) and labels (num,) of the examples of a data set that have a label.

        Args:
            metric: name of the metric, for the error.
            dataset: the data set; the evaluated one by default.

        Raises:
            ValueError: if it has no labels.
        """
        embeddings = self.embeddings if dataset is None else self.embed(dataset)
        dataset = self.dataset if dataset is None else dataset
        labels = getattr(dataset, "labels", None)
        if labels is None or not (labels >= 0).any():
            raise ValueError(
                f"'{getattr(dataset, 'name', 'the data set')}' has no labels, which the metric '{metric}' needs: name "
                "their column (label_column), sort image files into one folder for each class, or leave the metric out"
            )
        is_labelled = labels >= 0
        return embeddings[is_labelled], labels[is_labelled]

    def read_factors(self, metric: str) -> tuple[Tensor, list[str]]:
        """(num, num_factors) factors of variation of the data set, and their names.

        Raises:
            ValueError: if it has none.
        """
        try:
            return read_factors(self.dataset, self._factor_names)
        except ValueError as error:
            raise ValueError(f"cannot compute the metric '{metric}': {error}") from error
