"""SamplingPipeline: base of the tasks that draw latents, from a sampler or the model's prior."""

__all__ = ["UNSET", "SamplingPipeline", "Unset"]

import shutil
from enum import Enum
from pathlib import Path
from typing import Any, Literal, Self, TypeAlias

import torch
from transformers.utils import logging

from ..images.processing import GAEImageProcessor
from ..models.base import GAEPreTrainedModel, LatentSampler, check_sampler
from .stored_parts import explain_missing_sampler, fetch_options, load_processor, load_sampler, pinned_source
from .task_pipeline import TaskPipeline

logger = logging.get_logger(__name__)


class Unset(Enum):
    """The default of an argument for which None has a meaning."""

    UNSET = "unset"

    def __repr__(self) -> str:
        return self.name


UNSET = Unset.UNSET
SamplerChoice: TypeAlias = LatentSampler | str | None | Literal[Unset.UNSET]


class SamplingPipeline(TaskPipeline):
    """Base of the pipelines that draw latents.

    Args:
        model: an autoencoder.
        sampler: a fitted sampler over its latents; the subfolder of one in the repository that the model was loaded
            from, such as "samplers/gmm"; or None for the model's own prior. By default the prior, and in a pipeline
            that `transformers.pipeline` creates the repository's `sampler/`, if it has one.
        processor, **options: as in [`TaskPipeline`].

    Raises:
        ValueError: also if the sampler draws other latents, or the repository has none there.
    """

    sampler: Any  # a GAESampler, another object with `sample`, or None

    parts = "model, sampler and processor"

    def __init__(
        self,
        model: GAEPreTrainedModel,
        sampler: SamplerChoice = UNSET,
        processor: GAEImageProcessor | None = None,
        **options: Any,
    ):
        super().__init__(model, processor, **options)
        self._loaded: dict[str, LatentSampler] = {}
        if sampler is not UNSET:
            self.sampler = self.choose_sampler(sampler)
        elif options.get("task") is not None and model.processor is None:  # a model that was trained has a processor
            self.sampler = load_sampler(*pinned_source(model), "sampler")
        else:
            self.sampler = None
        if isinstance(self.sampler, torch.nn.Module):
            self.sampler.to(self.device)

    def choose_sampler(self, sampler: SamplerChoice) -> LatentSampler | None:
        """The sampler of a call: the pipeline's if the argument is UNSET, None for the model's own prior.

        Raises:
            ValueError: if it is neither a sampler of the model's latents nor a subfolder of its repository with one.
        """
        if sampler is UNSET:
            return self.sampler
        if isinstance(sampler, str):
            if sampler not in self._loaded:
                name, where = pinned_source(self.model)
                found = load_sampler(name, where, sampler)
                if found is None:
                    raise ValueError(explain_missing_sampler(name, sampler))
                self._loaded[sampler] = found.to(self.device) if isinstance(found, torch.nn.Module) else found
            sampler = self._loaded[sampler]
        if sampler is not None:
            check_sampler(sampler, self.model.latent_shape)
        return sampler

    def to(self, device: str | torch.device) -> Self:
        """Move model and samplers to a device, and return the pipeline."""
        for sampler in (self.sampler, *self._loaded.values()):
            if isinstance(sampler, torch.nn.Module):
                sampler.to(device)
        return super().to(device)

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | Path, sampler: str | None = "sampler", **kwargs: Any
    ) -> Self:
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
        from ..auto import AutoGAE

        name, where = pretrained_model_name_or_path, fetch_options(kwargs)
        model = AutoGAE.from_pretrained(name, **kwargs)
        fitted = None
        if sampler is not None:
            fitted = load_sampler(name, where, sampler)
            if fitted is None and sampler != "sampler":
                raise ValueError(explain_missing_sampler(name, sampler))
        return cls(model, fitted, load_processor(model, name, where))

    def save_pretrained(self, save_directory: str | Path, repo_id: str | None = None):
        """Write model, sampler, processor, a card and a picture of samples into a folder.

        Without a sampler, one that an earlier call wrote there is deleted.

        Args:
            save_directory: the folder.
            repo_id: name of the repository on the Hub, for the card.
        """
        folder = Path(save_directory)
        self.processor.save_pretrained(folder)
        self.model.save_pretrained(folder)
        self.save_sampler(folder, repo_id)

    def save_sampler(self, folder: str | Path, repo_id: str | None = None):
        """Write the sampler and a new card into a folder that holds the model.

        Without a sampler, one in the folder is deleted: it was fitted to another model.
        """
        place = Path(folder) / "sampler"
        if self.sampler is not None:
            self.sampler.save_pretrained(place)
            (place / "README.md").unlink(missing_ok=True)  # the repository has one card
        elif place.is_dir():
            shutil.rmtree(place)
            logger.warning(
                f"deleted '{place}', which was fitted to another model: fit one to this model (gae-hub fit-sampler)"
            )
        self.model.write_card(Path(folder), repo_id=repo_id, show=True)

    @property
    def stale_files(self) -> str | None:
        """Without a sampler, one in the repository was fitted to another model."""
        return None if self.sampler is not None else "sampler/*"
