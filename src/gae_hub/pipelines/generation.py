"""GenerationPipeline: model, image processor and sampler of one repository, from a number to PIL images."""

__all__ = ["GenerationPipeline"]

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from huggingface_hub import upload_folder
from PIL import Image
from torch import Tensor
from tqdm.auto import tqdm

from ..auto import AutoGAE, AutoSampler
from ..core.hub_errors import explained
from ..core.hub_files import fetch_card, fetch_file, open_repository
from ..images.grids import save_samples
from ..images.processing import GAEImageProcessor, is_image_shape
from ..images.writing import write_images
from ..models.base import GAEPreTrainedModel
from ..samplers.base import GAESampler

_DRAWN = 1000  # latents drawn at a time: another number would give other images


class GenerationPipeline:
    """Generates images from a model and a sampler; loads, saves and publishes both as one repository.

    A repository holds the model at its root, the sampler in `sampler/`, `preprocessor_config.json`, a card and
    `assets/`.

    Args:
        model: an autoencoder.
        sampler: a fitted sampler over its latents; the model's own prior without one.
        processor: turns tensors into PIL images; made for the model's shape if not given.

    Raises:
        ValueError: if the sampler's latents are not of the model's size.

    Example:

    ```python
    pipe = GenerationPipeline.from_pretrained("user/betavae-mnist")
    images = pipe(num_samples=16, seed=0)  # a list of PIL images
    ```
    """

    def __init__(
        self,
        model: GAEPreTrainedModel,
        sampler: GAESampler | None = None,
        processor: GAEImageProcessor | None = None,
    ):
        if sampler is not None and tuple(sampler.config.latent_shape or ()) != model.latent_shape:
            raise ValueError(
                f"the sampler draws latents of shape {sampler.config.latent_shape}, "
                f"but those of the model have {model.latent_shape}"
            )
        self.model, self.sampler, self.processor = model, sampler, processor or GAEImageProcessor.for_model(model)

    def __call__(self, num_samples: int = 1, seed: int | None = None, batch_size: int = 500) -> list[Image.Image]:
        """`num_samples` new images. The same seed gives the same latents, whatever the batch size and the device."""
        return list(self.stream(num_samples, seed, batch_size))

    def stream(self, num_samples: int = 1, seed: int | None = None, batch_size: int = 500) -> Iterator[Image.Image]:
        """New images one by one, with at most a thousand of them in memory; those that a call would give.

        Args:
            num_samples: how many.
            seed: the same seed gives the same latents, whatever the batch size and the device.
            batch_size: images decoded at a time.
        """
        for images in self.generate_batches(num_samples, seed, batch_size):
            yield from self.processor.postprocess(images)

    def generate_batches(
        self, num_samples: int = 1, seed: int | None = None, batch_size: int = 500
    ) -> Iterator[Tensor]:
        """As `stream`, but (num, *input_shape) tensors in [0, 1] on the model's device, a thousand images at most.

        Latents are drawn a thousand at a time, which is no choice: a generator gives other numbers in other parts.
        """
        if num_samples < 1:
            raise ValueError(f"num_samples must be 1 or more, got {num_samples}")
        generator = None if seed is None else torch.Generator().manual_seed(seed)
        for first in range(0, num_samples, _DRAWN):
            size = min(_DRAWN, num_samples - first)
            yield self.model.generate(size, sampler=self.sampler, generator=generator, batch_size=batch_size)

    def write(
        self,
        output: str | Path,
        num_samples: int,
        seed: int | None = None,
        format: str = "folder",
        batch_size: int = 500,
        progress: bool = True,
    ):
        """Generate images to disk, any number of them: see [`write_images`] for the formats, `stream` for the rest."""
        images = self.stream(num_samples, seed, batch_size)
        with tqdm(images, desc="generating", total=num_samples, unit=" images", disable=not progress) as bar:
            write_images(bar, num_samples, output, format)

    def to(self, device) -> "GenerationPipeline":
        """Move model and sampler to a device."""
        self.model.to(device)
        if self.sampler is not None:
            self.sampler.to(device)
        return self

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path, sampler: str | None = "sampler", **kwargs
    ) -> "GenerationPipeline":
        """Load model, processor and sampler of one folder or Hub repository.

        Args:
            pretrained_model_name_or_path: a folder or `user/name`.
            sampler: the sampler's subfolder; None for the model's own prior.
            **kwargs: `revision`, `token`, `cache_dir` and others of `AutoGAE.from_pretrained`.
        """
        name = pretrained_model_name_or_path
        hub = {
            key: kwargs[key]
            for key in ("cache_dir", "force_download", "local_files_only", "token", "revision")
            if key in kwargs
        }
        model = AutoGAE.from_pretrained(name, **kwargs)

        def has(file: str, **where) -> bool:
            return fetch_file(name, file, **where, **hub) is not None

        if sampler is not None and has("config.json", subfolder=sampler):
            sampler = AutoSampler.from_pretrained(name, subfolder=sampler, **hub)
        elif sampler not in (None, "sampler"):
            raise ValueError(
                f"'{name}' has no sampler in its subfolder '{sampler}': create it with "
                f"gae-hub fit-sampler {name} --sampler_name {sampler}"
            )
        else:
            sampler = None
        processor = GAEImageProcessor.from_pretrained(name, **hub) if has("preprocessor_config.json") else None
        return cls(model, sampler, processor)

    def save_pretrained(self, save_directory, repo_id: str | None = None):
        """Write model, sampler, processor, a card, and a picture of 64 samples into a folder."""
        folder = Path(save_directory)
        self.processor.save_pretrained(folder)
        self.model.save_pretrained(folder)
        self.save_sampler(folder, repo_id)

    def save_sampler(self, folder: str | Path, repo_id: str | None = None):
        """Write the sampler, a picture of 64 samples, and the card anew, beside a model that is there already."""
        folder = Path(folder)
        if self.sampler is not None:
            self.sampler.save_pretrained(folder / "sampler")
            (folder / "sampler" / "README.md").unlink(missing_ok=True)  # the repository has one card
        if is_image_shape(self.model.config.input_shape) and (self.sampler is not None or self._has_prior()):
            (folder / "assets").mkdir(parents=True, exist_ok=True)
            save_samples(self(64, seed=0), folder / "assets" / "samples.png")
        self.model.write_card(folder, repo_id=repo_id, show=True)

    def _has_prior(self) -> bool:
        try:
            self.model.sample_prior(1)
        except NotImplementedError:
            return False
        return True

    def push_to_hub(
        self,
        repo_id: str,
        *,
        private: bool | None = None,
        token: str | bool | None = None,
        revision: str | None = None,
        commit_message: str = "Upload model, sampler and processor",
    ) -> str:
        """Publish everything in one commit, and return its URL. A card that a person has edited keeps the edits."""
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
                delete_patterns=None if self.sampler is not None else "sampler/*",  # fitted on another model
            ).commit_url
