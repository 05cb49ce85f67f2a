"""GenerationPipeline: generates PIL images with the model, sampler and image processor of one repository."""

__all__ = ["GenerationPipeline"]

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from huggingface_hub import upload_folder
from PIL import Image
from torch import Tensor
from tqdm.auto import tqdm

from ..auto import AutoGAE, AutoSampler
from ..core.argument_checks import check_count, check_seed, describe
from ..core.hub_errors import explained
from ..core.hub_files import FETCH_OPTIONS, fetch_card, fetch_file, open_repository
from ..images.grids import save_samples
from ..images.processing import GAEImageProcessor, is_image_shape
from ..images.writing import write_images
from ..models.base import GAEPreTrainedModel, check_sampler
from ..samplers.base import GAESampler

# latents per call of the sampler; the images of a seed depend on it, so it is fixed
_LATENTS_PER_DRAW = 1000


class GenerationPipeline:
    """Generates images with a model and a sampler, and saves and publishes both as one repository.

    A repository holds the model at its root, the sampler in `sampler/`, `preprocessor_config.json`, a card and
    `assets/`.

    Args:
        model: an autoencoder.
        sampler: a fitted sampler over its latents. The model's own prior by default.
        processor: converts tensors to PIL images. By default that of the model's training in this session, or one
            for its input_shape.

    Raises:
        ValueError: if model or sampler is not an object of its kind, or their latents differ in shape.

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

    def __call__(self, num_samples: int = 1, seed: int | None = None, batch_size: int = 500) -> list[Image.Image]:
        """Generate images, as a list. Arguments as in `stream`."""
        return list(self.stream(num_samples, seed, batch_size))

    def stream(self, num_samples: int = 1, seed: int | None = None, batch_size: int = 500) -> Iterator[Image.Image]:
        """Generate images one by one, with at most 1000 in memory: the same images as a call returns.

        Args:
            num_samples: number of images.
            seed: seed of the latents, which do not depend on batch size or device. Random by default.
            batch_size: images decoded at a time.

        Raises:
            ValueError: if num_samples or batch_size is not an integer of at least 1, or the seed is not an integer.
            NotImplementedError: if there is no sampler and the model has no prior.
        """
        for images in self.generate_batches(num_samples, seed, batch_size):
            yield from self.processor.postprocess(images)

    def generate_batches(
        self, num_samples: int = 1, seed: int | None = None, batch_size: int = 500
    ) -> Iterator[Tensor]:
        """Generate (num, *input_shape) tensors in [0, 1] on the model's device, each of at most 1000 images.

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
        format: str = "folder",
        batch_size: int = 500,
        progress: bool = True,
    ):
        """Generate images and write them to disk as they are generated.

        Args:
            output, format: as in [`write_images`].
            num_samples, seed, batch_size: as in `stream`.
            progress: whether to show a progress bar.
        """
        images = self.stream(num_samples, seed, batch_size)
        with tqdm(images, desc="generating", total=num_samples, unit=" images", disable=not progress) as bar:
            write_images(bar, num_samples, output, format)

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
        """Write model, sampler, processor, a card and a picture of 64 samples into a folder.

        Args:
            save_directory: the folder.
            repo_id: name of the repository on the Hub, for the card.
        """
        folder = Path(save_directory)
        self.processor.save_pretrained(folder)
        self.model.save_pretrained(folder)
        self.save_sampler(folder, repo_id)

    def save_sampler(self, folder: str | Path, repo_id: str | None = None):
        """Write the sampler, a picture of 64 samples and a new card into a folder that holds the model."""
        folder = Path(folder)
        if self.sampler is not None:
            self.sampler.save_pretrained(folder / "sampler")
            (folder / "sampler" / "README.md").unlink(missing_ok=True)  # the repository has one card
        if is_image_shape(self.model.config.input_shape) and (self.sampler is not None or self.model.has_prior):
            (folder / "assets").mkdir(parents=True, exist_ok=True)
            save_samples(self(64, seed=0), folder / "assets" / "samples.png")
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
