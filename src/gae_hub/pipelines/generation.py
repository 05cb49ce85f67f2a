"""GenerationPipeline: generates images or other data with the model, sampler and processor of one repository."""

__all__ = ["GenerationPipeline"]

from collections.abc import Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from huggingface_hub import upload_folder
from PIL import Image
from torch import Tensor
from tqdm.auto import tqdm

from ..auto import AutoGAE, AutoSampler
from ..core.argument_checks import check_count, check_seed, describe
from ..core.hub_errors import explained
from ..core.hub_files import FETCH_OPTIONS, fetch_card, fetch_file, open_repository
from ..images.array_files import to_array
from ..images.examples import can_draw, draw_samples, kind_of
from ..images.grids import save_picture
from ..images.processing import GAEImageProcessor, is_image_shape
from ..images.writing import write_examples
from ..models.base import GAEPreTrainedModel, check_sampler
from ..samplers.base import GAESampler

# latents per call of the sampler; the images of a seed depend on it, so it is fixed
_LATENTS_PER_DRAW = 1000


class GenerationPipeline:
    """Generates examples with a model and a sampler, and saves and publishes both as one repository.

    Examples are PIL images if the model's input_shape is one of images, and otherwise arrays in the units of the data.

    A repository holds the model at its root, the sampler in `sampler/`, `preprocessor_config.json`, a card and
    `assets/`.

    Args:
        model: an autoencoder.
        sampler: a fitted sampler over its latents. The model's own prior by default.
        processor: converts tensors to PIL images, or to the units of the data. By default that of the model's training
            in this session, or one for its input_shape.

    Raises:
        ValueError: if model or sampler is not an object of its kind, or their latents differ in shape.

    Example:

    ```python
    pipe = GenerationPipeline.from_pretrained("user/betavae-mnist")
    images = pipe(num_samples=16, seed=0)  # a list of PIL images; an array for data other than images
    ```
    """

    def __init__(
        self,
        model: GAEPreTrainedModel,
        sampler: GAESampler | None = None,
        processor: GAEImageProcessor | None = None,
    ):
        if not hasattr(model, "latent_shape"):
            raise ValueError(
                f"GenerationPipeline needs a model, got {describe(model)}: "
                "GenerationPipeline.from_pretrained loads one from a folder or the Hub"
            )
        if sampler is not None:
            check_sampler(sampler, model.latent_shape)
        self.model, self.sampler = model, sampler
        self.processor = processor or model.processor or GAEImageProcessor.for_model(model)

    # Generation

    def __call__(
        self, num_samples: int = 1, seed: int | None = None, batch_size: int = 500
    ) -> list[Image.Image] | np.ndarray:
        """Generate a list of PIL images, or an array (num_samples, *input_shape). Arguments as in `stream`."""
        examples: list[Any] = list(self.stream(num_samples, seed, batch_size))
        return examples if self.generates_images else np.stack(examples)

    @property
    def generates_images(self) -> bool:
        """Whether the model's input_shape is (channels, height, width) with 1, 3 or 4 channels."""
        return is_image_shape(self.processor.input_shape)

    def stream(
        self, num_samples: int = 1, seed: int | None = None, batch_size: int = 500
    ) -> Iterator[Image.Image | np.ndarray]:
        """Generate examples one by one, with at most 1000 in memory: the same examples as a call returns.

        Args:
            num_samples: number of examples.
            seed: seed of the latents, which do not depend on batch size or device. Random by default.
            batch_size: examples decoded at a time.

        Raises:
            ValueError: if num_samples or batch_size is not an integer of at least 1, or the seed is not an integer.
            NotImplementedError: if there is no sampler and the model has no prior.
        """
        for pixel_values in self.generate_batches(num_samples, seed, batch_size):
            if self.generates_images:
                yield from self.processor.postprocess(pixel_values)
            else:
                yield from to_array(self.processor.restore(pixel_values))

    def generate_batches(
        self, num_samples: int = 1, seed: int | None = None, batch_size: int = 500
    ) -> Iterator[Tensor]:
        """Generate (num, *input_shape) tensors of the model's values on its device, each of at most 1000 examples.

        Arguments and errors as in `stream`.
        """
        check_count("num_samples", num_samples)
        check_count("batch_size", batch_size)
        generator = None if seed is None else torch.Generator().manual_seed(check_seed(seed))
        for start in range(0, num_samples, _LATENTS_PER_DRAW):
            num = min(_LATENTS_PER_DRAW, num_samples - start)
            yield self.model.generate(num, sampler=self.sampler, generator=generator, batch_size=batch_size)

    def write(
        self,
        output: str | Path,
        num_samples: int,
        seed: int | None = None,
        format: str | None = None,
        batch_size: int = 500,
        progress: bool = True,
    ):
        """Generate examples and write them to disk as they are generated, in the units of the data.

        Args:
            output, format: as in [`write_examples`].
            num_samples, seed, batch_size: as in `stream`.
            progress: whether to show a progress bar.
        """
        batches = self.generate_batches(num_samples, seed, batch_size)
        counted = _show_progress(batches, num_samples) if progress else batches
        write_examples(counted, num_samples, output, self.processor, format)

    def draw(
        self, num_samples: int = 64, seed: int | None = None, title: str | None = None, batch_size: int = 500
    ) -> Image.Image:
        """Generate examples and draw one picture of them, as [`draw_samples`] does.

        Args:
            num_samples, seed, batch_size: as in `stream`.
            title: a line of text above the picture.
        """
        restore, names, examples = self.processor.restore, self.processor.column_names, self.model.examples
        samples = torch.cat([batch.cpu() for batch in self.generate_batches(num_samples, seed, batch_size)])
        return draw_samples(restore(samples), title, None if examples is None else restore(examples), names)

    def to(self, device: str | torch.device) -> "GenerationPipeline":
        """Move model and sampler to a device, and return the pipeline."""
        modules: list[torch.nn.Module | None] = [self.model, self.sampler]
        for module in modules:
            if module is not None:
                module.to(device)
        return self

    # Loading, saving and publishing

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | Path, sampler: str | None = "sampler", **kwargs: Any
    ) -> "GenerationPipeline":
        """Load model, processor and sampler from a folder or Hub repository.

        Args:
            pretrained_model_name_or_path: folder, or `user/name` on the Hub.
            sampler: subfolder of the sampler, or None for the model's own prior. The default "sampler" may be missing.
            **kwargs: arguments of `AutoGAE.from_pretrained`, such as `revision`, `token`, `cache_dir` and
                `subfolder`, which holds all three parts.

        Raises:
            ValueError: if a subfolder other than "sampler" holds no sampler, or there is no gae_hub model.
            OSError: if the model does not exist, or the Hub does not respond.
        """
        name = pretrained_model_name_or_path
        hub = {key: kwargs[key] for key in FETCH_OPTIONS if key in kwargs}
        folder = hub.pop("subfolder", None) or ""
        model = AutoGAE.from_pretrained(name, **kwargs)
        fitted = processor = None
        if sampler is not None:
            place = f"{folder}/{sampler}" if folder else sampler
            if fetch_file(name, "config.json", subfolder=place, **hub) is not None:
                fitted = AutoSampler.from_pretrained(name, subfolder=place, **hub)
            elif sampler != "sampler":
                raise ValueError(
                    f"'{name}' has no sampler in its subfolder '{sampler}': create it with "
                    f"gae-hub fit-sampler {name} --sampler_name {sampler}"
                )
        if fetch_file(name, "preprocessor_config.json", subfolder=folder, **hub) is not None:
            processor = GAEImageProcessor.from_pretrained(name, subfolder=folder, **hub)
        return cls(model, fitted, processor)

    def save_pretrained(self, save_directory: str | Path, repo_id: str | None = None):
        """Write model, sampler, processor, a card and a picture of samples into a folder.

        Args:
            save_directory: the folder.
            repo_id: name of the repository on the Hub, for the card.
        """
        folder = Path(save_directory)
        self.processor.save_pretrained(folder)
        self.model.save_pretrained(folder)
        self.save_sampler(folder, repo_id)

    def save_sampler(self, folder: str | Path, repo_id: str | None = None):
        """Write the sampler, a picture of samples and a new card into a folder that holds the model."""
        folder = Path(folder)
        if self.sampler is not None:
            self.sampler.save_pretrained(folder / "sampler")
            (folder / "sampler" / "README.md").unlink(missing_ok=True)  # the repository has one card
        shape = self.model.config.input_shape
        if can_draw(shape) and (self.sampler is not None or self.model.has_prior):
            num_samples = 500 if kind_of(shape) == "rows" else 64
            save_picture(
                self.draw(num_samples, seed=0, title=f"New {kind_of(shape)}"), folder / "assets" / "samples.png"
            )
        self.model.write_card(folder, repo_id=repo_id, show=True)

    def push_to_hub(
        self,
        repo_id: str,
        *,
        private: bool | None = None,
        token: str | bool | None = None,
        revision: str | None = None,
        commit_message: str = "Upload model, sampler and processor",
        license: str | None = None,
    ) -> str:
        """Publish everything in one commit, and return its URL. Text that users added to the card is kept.

        Args:
            repo_id: `user/name`.
            private, token: as in `huggingface_hub.create_repo`.
            revision: branch to commit to, created if it does not exist. The main branch by default.
            commit_message: first line of the commit.
            license: as in `model.push_to_hub`.

        Raises:
            HubError: if the network or the Hub fails, or the token has no write access.
        """
        self.model.license = license or self.model.license
        with explained("publish to", repo_id, token), TemporaryDirectory() as folder:
            repo_id = open_repository(repo_id, private, token, revision)
            fetch_card(repo_id, folder, token=token, revision=revision)
            self.save_pretrained(folder, repo_id=repo_id)
            return upload_folder(
                repo_id=repo_id,
                folder_path=folder,
                commit_message=commit_message,
                token=token,
                revision=revision,
                # a sampler in the repository was fitted on another model
                delete_patterns=None if self.sampler is not None else "sampler/*",
            ).commit_url


def _show_progress(batches: Iterable[Tensor], num_samples: int) -> Iterator[Tensor]:
    """The same batches, with a progress bar that counts their examples."""
    with tqdm(desc="generating", total=num_samples, unit=" examples") as bar:
        for batch in batches:
            yield batch
            bar.update(len(batch))
