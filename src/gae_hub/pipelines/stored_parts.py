"""What a folder or repository holds beside its model: the processor and samplers."""

__all__ = ["explain_missing_sampler", "fetch_options", "load_processor", "load_sampler", "pinned_source"]

from pathlib import Path
from typing import Any

from ..core.hub_files import FETCH_OPTIONS, fetch_file
from ..images.processing import GAEImageProcessor
from ..models.base import GAEPreTrainedModel, LatentSampler


def fetch_options(kwargs: dict[str, Any]) -> dict[str, Any]:
    """The arguments of `from_pretrained` that say where files are."""
    return {key: kwargs[key] for key in FETCH_OPTIONS if key in kwargs}


def pinned_source(model: GAEPreTrainedModel) -> tuple[str, dict[str, Any]]:
    """Folder or repository that a model was loaded from, "" if none, and where in it, with the model's commit."""
    name, where = model.source
    commit = getattr(model.config, "_commit_hash", None)
    return name, {**where, "revision": commit} if commit else where


def load_processor(model: GAEPreTrainedModel, name: str | Path, where: dict[str, Any]) -> GAEImageProcessor:
    """The processor of a folder or repository; if it has none, one for the model's input_shape.

    Args:
        model: the model, for its input_shape.
        name: folder or repository; "" for none.
        where: arguments of [`fetch_file`].
    """
    if not str(name) or fetch_file(name, "preprocessor_config.json", **where) is None:
        return GAEImageProcessor.for_model(model)
    return GAEImageProcessor.from_pretrained(name, **where)


def load_sampler(name: str | Path, where: dict[str, Any], subfolder: str) -> LatentSampler | None:
    """The sampler in a subfolder of a folder or repository, or None if there is none.

    Args:
        name: folder or repository; "" for none.
        where: arguments of [`fetch_file`]; a subfolder in them holds the other one.
        subfolder: such as "sampler".
    """
    where = dict(where)
    place = "/".join(filter(None, (where.pop("subfolder", None), subfolder)))
    if not str(name) or fetch_file(name, "config.json", subfolder=place, **where) is None:
        return None
    from ..auto import AutoSampler

    return AutoSampler.from_pretrained(name, subfolder=place, **where)


def explain_missing_sampler(name: str | Path, subfolder: str) -> str:
    """The error about a repository without a sampler in a subfolder."""
    if not str(name):
        return (
            f"sampler must be a fitted sampler, got the text '{subfolder}': pass "
            "GaussianMixtureSampler().fit_to(model, images), or None for the model's own prior; a text names a "
            "subfolder of the repository that the model was loaded from, and this model was not loaded from one"
        )
    return (
        f"'{name}' has no sampler in its subfolder '{subfolder}': create it with "
        f"gae-hub fit-sampler {name} --sampler_name {subfolder}"
    )
