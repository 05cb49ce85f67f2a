"""GenerationPipeline: generates images or other data with the model, sampler and processor of one repository."""

__all__ = ["GenerationPipeline"]

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from tqdm.auto import tqdm

from ..core.argument_checks import check_count, check_seed
from ..models.conditional import ClassLabels
from .call_options import choose_options
from .sampling_pipeline import UNSET, SamplerChoice, SamplingPipeline

# latents per call of the sampler; the images of a seed depend on it, so it is fixed
_LATENTS_PER_DRAW = 1000
_BATCH_SIZE = 500


class GenerationPipeline(SamplingPipeline):
    """Generates examples with a model and a sampler, and saves and publishes both as one repository.

    Examples are PIL images if the model's input_shape is one of images, and otherwise arrays in the units of the data.

    A repository holds the model at its root, the sampler in `sampler/`, `preprocessor_config.json`, a card and
    `assets/`.

    Args:
        model: an autoencoder.
        sampler: a fitted sampler over its latents, or the subfolder of one, as in [`SamplingPipeline`]. The model's
            own prior by default.
        processor: converts tensors to PIL images, or to the units of the data. By default that of the model's training
            in this session, that of its repository, or one for its input_shape.
        **options: as in [`TaskPipeline`].

    Raises:
        ValueError: if model or sampler is not an object of its kind, or their latents differ in shape.

    Example:

    ```python
    pipe = GenerationPipeline.from_pretrained("user/betavae-mnist")
    images = pipe(num_samples=16, seed=0)  # a list of PIL images; an array for data other than images
    ```
    """

    default_task = "unconditional-image-generation"

    def _sanitize_parameters(self, **options: Any) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        (chosen,) = choose_options(type(self).__name__, options, type(self).generate_batches)
        return {}, chosen, {}

    # Generation

    def __call__(
        self,
        num_samples: int | None = None,
        seed: int | None = None,
        batch_size: int | None = None,
        sampler: SamplerChoice = UNSET,
        class_labels: ClassLabels = None,
        guidance_scale: float = 1.0,
        *,
        num_images: int | None = None,
    ) -> list[Image.Image] | np.ndarray:
        """Generate a list of PIL images, or an array (num_samples, *input_shape).

        Args:
            num_samples: number of examples, 1 by default. `num_images` is the same.
            seed, batch_size, sampler, class_labels, guidance_scale: as in `stream`.
        """
        if num_images is not None:
            if num_samples is not None:
                raise ValueError("num_samples and num_images are the same: pass one of them")
            check_count("num_images", num_images)
        num_samples = num_images or num_samples
        options = (batch_size, sampler, class_labels, guidance_scale)
        examples: list[Any] = list(self.stream(num_samples, seed, *options))
        return examples if self.returns_images else np.stack(examples)

    def stream(
        self,
        num_samples: int | None = None,
        seed: int | None = None,
        batch_size: int | None = None,
        sampler: SamplerChoice = UNSET,
        class_labels: ClassLabels = None,
        guidance_scale: float = 1.0,
    ) -> Iterator[Image.Image | np.ndarray]:
        """Generate examples one by one, with at most 1000 in memory: the same examples as a call returns.

        Args:
            num_samples: number of examples, 1 by default.
            seed: seed of the latents, which do not depend on batch size or device. Random by default.
            batch_size: examples decoded at a time, 500 by default.
            sampler: used instead of the pipeline's; None for the model's own prior.
            class_labels, guidance_scale: as in `model.generate`: one class for all examples or one for each, for a
                conditional model or a sampler with classes.

        Raises:
            ValueError: if num_samples or batch_size is not an integer of at least 1, the seed is not an integer, or
                there is no such sampler.
            NotImplementedError: if there is no sampler and the model has no prior.
        """
        options = (batch_size, sampler, class_labels, guidance_scale)
        for pixel_values in self.generate_batches(num_samples, seed, *options):
            yield from self.to_data(pixel_values)

    def generate_batches(
        self,
        num_samples: int | None = None,
        seed: int | None = None,
        batch_size: int | None = None,
        sampler: SamplerChoice = UNSET,
        class_labels: ClassLabels = None,
        guidance_scale: float = 1.0,
    ) -> Iterator[Tensor]:
        """Generate (num, *input_shape) tensors of the model's values on its device, each of at most 1000 examples.

        Arguments and errors as in `stream`.
        """
        defaults = self._forward_params
        num_samples = defaults.get("num_samples", 1) if num_samples is None else num_samples
        seed = defaults.get("seed") if seed is None else seed
        batch_size = (self._batch_size or _BATCH_SIZE) if batch_size is None else batch_size
        check_count("num_samples", num_samples)
        check_count("batch_size", batch_size)
        chosen = self.choose_sampler(sampler)
        generator = None if seed is None else torch.Generator().manual_seed(check_seed(seed))
        labels = defaults.get("class_labels") if class_labels is None else class_labels
        scale = defaults.get("guidance_scale", 1.0) if guidance_scale == 1 else guidance_scale
        if labels is not None:
            labels = torch.as_tensor(labels)
            if labels.dim() and len(labels) not in (1, num_samples):
                raise ValueError(f"class_labels must be one or one for each of {num_samples}, got {len(labels)}")
        for start in range(0, num_samples, _LATENTS_PER_DRAW):
            num = min(_LATENTS_PER_DRAW, num_samples - start)
            own = labels if labels is None or not labels.dim() or len(labels) == 1 else labels[start : start + num]
            options = {"batch_size": batch_size, "class_labels": own, "guidance_scale": scale}
            yield self.model.generate(num, sampler=chosen, generator=generator, **options)

    def write(
        self,
        output: str | Path,
        num_samples: int,
        seed: int | None = None,
        format: str | None = None,
        batch_size: int | None = None,
        progress: bool = True,
        **conditions: Any,
    ):
        """Generate examples and write them to disk as they are generated, in the units of the data.

        Args:
            output, format: as in [`write_examples`].
            num_samples, seed, batch_size: as in `stream`.
            progress: whether to show a progress bar.
            **conditions: class_labels and guidance_scale, as in `stream`.
        """
        from ..images.writing import write_examples

        batches = self.generate_batches(num_samples, seed, batch_size, **conditions)
        counted = _show_progress(batches, num_samples) if progress else batches
        write_examples(counted, num_samples, output, self.processor, format)

    def draw(
        self,
        num_samples: int = 64,
        seed: int | None = None,
        title: str | None = None,
        batch_size: int | None = None,
        **conditions: Any,
    ) -> Image.Image:
        """Generate examples and draw one picture of them, as [`draw_samples`] does.

        Args:
            num_samples, seed, batch_size: as in `stream`.
            title: a line of text above the picture.
            **conditions: class_labels and guidance_scale, as in `stream`.
        """
        from ..images.examples import draw_samples

        restore, names, examples = self.processor.restore, self.processor.column_names, self.model.examples
        batches = self.generate_batches(num_samples, seed, batch_size, **conditions)
        samples = torch.cat([batch.cpu() for batch in batches])
        return draw_samples(restore(samples), title, None if examples is None else restore(examples), names)

    # Saving

    def save_sampler(self, folder: str | Path, repo_id: str | None = None):
        """Write the sampler, a picture of samples and a new card into a folder that holds the model."""
        from ..images.examples import can_draw, kind_of
        from ..images.grids import save_picture

        shape = self.model.config.input_shape
        if can_draw(shape) and (self.sampler is not None or self.model.has_prior):
            num_samples = 500 if kind_of(shape) == "rows" else 64
            picture = self.draw(num_samples, seed=0, title=f"New {kind_of(shape)}")
            save_picture(picture, Path(folder) / "assets" / "samples.png")
        super().save_sampler(folder, repo_id)


def _show_progress(batches: Iterable[Tensor], num_samples: int) -> Iterator[Tensor]:
    """The same batches, with a progress bar that counts their examples."""
    with tqdm(desc="generating", total=num_samples, unit=" examples") as bar:
        for batch in batches:
            yield batch
            bar.update(len(batch))
