"""The license that a card states."""

__all__ = ["DEFAULT_LICENSE", "choose_license"]

from pathlib import Path

from transformers.utils import logging

from ...core.hub_files import fetch_file
from ...core.hub_model import HubModel
from .front_matter import read_metadata

logger = logging.get_logger(__name__)

DEFAULT_LICENSE = "apache-2.0"

License = str | list[str] | None


def choose_license(model: HubModel, folder: Path) -> License:
    """Identifier of the license, as in the Hub's list of licenses, or None if it is not known.

    The first of these that exists: `model.license`; the license in the card that is in the folder, which may have been
    edited; the license in the card of the checkpoint that the model was loaded from. A model that was made here,
    neither loaded nor converted, has the license of gae_hub, Apache 2.0.

    Args:
        model: a model, a sampler or an extractor.
        folder: where its card is written.

    Raises:
        ValueError: if `model.license` is not text.
    """
    if model.license is not None:
        if not isinstance(model.license, str) or not model.license.strip():
            raise ValueError(
                f'license must be the identifier of a license, such as "mit" or "cc-by-4.0", got {model.license!r}'
            )
        return model.license
    edited = _license_in(folder / "README.md")
    if edited is not None:
        return edited
    source, where = model.source
    if not source:
        return None if (getattr(model, "facts", None) or {}).get("imported") else DEFAULT_LICENSE
    if model.source_license is None:  # read once: the card may be on the Hub
        model.source_license = [_license_of(source, where)]
    return model.source_license[0]


def _license_of(source: str, where: dict) -> License:
    """The license in the card of a folder or Hub repository."""
    if not Path(source).is_dir() and Path(source).is_absolute():  # a folder that was deleted
        return None
    try:
        path = fetch_file(source, "README.md", **{key: value for key, value in where.items() if key != "subfolder"})
    except (OSError, ValueError) as error:
        logger.warning(f"the card of '{source}' could not be loaded, so its license is not stated ({error})")
        return None
    return None if path is None else _license_in(path)


def _license_in(card: Path) -> License:
    """The license in a card's metadata, or None if there is none."""
    try:
        found = read_metadata(card.read_text(encoding="utf-8")).get("license")
    except (OSError, ValueError):
        return None
    is_license = isinstance(found, str) or (isinstance(found, list) and all(isinstance(name, str) for name in found))
    return found if found and is_license else None
