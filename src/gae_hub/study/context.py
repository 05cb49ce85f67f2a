"""A trained model of a study and its data, as tasks see them."""

__all__ = ["CellContext"]

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..data.batches import move
from ..data.class_labels import with_conditions
from ..data.embeddings import embed_dataset
from ..data.loading import iterate_examples
from ..images.grids import save_tiles
from ..metrics.evaluation_run import BATCH_SIZE, EvaluationRun
from ..models.base import GAEPreTrainedModel
from ..samplers.base import GAESampler
from .study_data import StudyData

SAMPLING_SEEDS = {"train": 0, "validation": 1}  # of the samples of the posteriors, by split
PAIRS_SEED = 0  # of the pairs of images to interpolate between, which are the same in all cells


class CellContext:
    """A model, its data, and what several tasks need of both.

    Args:
        model: the trained model.
        data: the data set.
        evaluations: an evaluation of each split, whose data are shared by all cells.
        folder: the cell's folder, for pictures.
        seed: seed of everything random.
        has_extractor: whether there is an extractor that accepts the data.
    """

    def __init__(
        self,
        model: GAEPreTrainedModel,
        data: StudyData,
        evaluations: dict[str, EvaluationRun],
        folder: Path,
        seed: int,
        has_extractor: bool = True,
    ):
        self.model, self.data, self.folder, self.seed = model, data, folder, seed
        self.has_extractor = has_extractor
        self._evaluations = evaluations
        self._embeddings: dict[tuple[Any, ...], Tensor] = {}

    def evaluation(
        self, split: str, sampler: GAESampler | None = None, num_samples: int | None = None
    ) -> EvaluationRun:
        """An evaluation of the model on a split."""
        run = self._evaluations[split].with_model(self.model, sampler)
        run.seed, run.num_samples = self.seed, num_samples or run.num_samples
        return run

    def latents(self, split: str) -> Tensor:
        """(num, *latent_shape) embeddings of a split, on the model's device, computed once."""
        return self._embed(split)

    def posterior_samples(self, split: str) -> Tensor:
        """(num, *latent_shape): a sample of the posterior of each example of a split, to which samplers are fitted."""
        return self._embed(split, sample=True, seed=SAMPLING_SEEDS[split])

    def codes(self, split: str) -> Tensor:
        """(num, *code_shape) codes of a split by a model with a quantizer, on the model's device."""
        return self._embed(split, output="codes")

    def _embed(self, split: str, **options: Any) -> Tensor:
        """`embed_dataset` of a split, computed once for these options."""
        key = split, *options.items()
        if key not in self._embeddings:
            dataset = self.data.splits[split]
            self._embeddings[key] = embed_dataset(self.model, dataset, progress=False, cache=False, **options)
        return self._embeddings[key]

    def embeddings(self, split: str) -> Tensor:
        """(num, dim) embeddings of a split, on the CPU."""
        return self.latents(split).flatten(1).float().cpu()

    def labels(self, split: str) -> Tensor:
        """(num,) class labels of a split."""
        return self.data.splits[split].labels

    # Images and pictures

    def iterate_first(self, split: str, num: int) -> Iterator[dict[str, Any]]:
        """Batches of at most 100 of the first `num` examples of a split, on the model's device.

        A batch has the arguments of the model's methods: pixel_values and, for a conditional model, class_labels.
        """
        dataset = with_conditions(self.model, self.data.splits[split])
        for batch in iterate_examples(dataset, BATCH_SIZE, stop=min(num, len(dataset))):
            yield move(batch, self.model.device)

    def draw_pairs(self, num: int) -> tuple[dict[str, Any], dict[str, Any]]:
        """Two batches of `num` random test examples: pairs of different classes where there are labels.

        Batches are as in `iterate_first`.
        """
        dataset = with_conditions(self.model, self.data.splits["test"])
        generator = torch.Generator().manual_seed(PAIRS_SEED)
        order = torch.randperm(len(dataset), generator=generator).tolist()
        labels = None if dataset.labels is None else dataset.labels.tolist()
        pairs: list[tuple[int, int]] = []
        while len(pairs) < num and len(order) > 1:
            start = order.pop(0)
            other = next((i for i in order if labels is None or labels[i] != labels[start]), order[0])
            order.remove(other)
            pairs.append((start, other))
        if not pairs:
            raise NotImplementedError("a pair needs two test examples, but there is one")
        starts, ends = (move(dataset.read_examples(rows), self.model.device) for rows in zip(*pairs, strict=True))
        return starts, ends

    def save_tiles(self, name: str, images: Tensor, columns: int):
        """Write a picture of images (num, *input_shape) into `pictures/`; nothing for data that are no images."""
        if self.data.is_images:
            restored: Any = self._evaluations["test"].restore(images)
            save_tiles(restored.clamp(0, 1), columns, self.folder / "pictures" / f"{name}.png")
