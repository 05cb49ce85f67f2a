"""The folder of a Space: card, app.py, requirements.txt, examples, and a copy of a model that is not on the Hub."""

__all__ = ["MODEL_FOLDER", "write_space"]

import json
import shutil
from dataclasses import fields
from pathlib import Path
from typing import Any

from ..core.argument_checks import require_extra
from ..core.checkpoint_checks import read_config
from ..core.configuration import StrictConfig
from ..core.files import write_text
from ..hub.cards.escaping import clean, escape
from ..hub.cards.front_matter import read_metadata
from ..hub.cards.license import DEFAULT_LICENSE
from ..hub.cards.papers import paper_of
from ..study.digests import digest
from .example_sets import EXAMPLES_FILE, ExampleSet
from .explorer import Explorer
from .explorer_loading import MODEL_FILES, load_explorer, model_folder
from .requirements import pin_requirements
from .space_card import space_metadata, write_card
from .space_manifest import replace_space, write_manifest
from .thumbnail import NUM_TILES, write_thumbnail

MODEL_FOLDER = "model"
"""Folder in a Space with a copy of the model, if the model is not on the Hub."""


def write_space(
    model: str | Path,
    folder: str | Path,
    *,
    examples: ExampleSet | None = None,
    repo_id: str | None = None,
    revision: str | None = None,
    license: str | None = None,
    title: str | None = None,
) -> Explorer:
    """Write the Space of a model into a folder. `python app.py` serves it, here and on the Hub.

    Args:
        model: folder, which is copied, or `user/name` on the Hub, whose present commit is pinned.
        folder: new, empty, or the folder of an earlier Space. Files of the earlier Space are replaced; other files,
            and text that was added to its card, stay.
        examples: images to pick and to place on the map. By default those in the model's folder, or else the model
            generates its own when it starts.
        repo_id: `user/name` of the Space, if it is published.
        revision: branch, tag or commit of the model on the Hub.
        license: license for the card. By default that of the model's card, or apache-2.0.
        title: heading. By default the model's name.

    Returns:
        The explorer of the model.

    Raises:
        ValueError: if it is not a gae_hub model of images, or the folder holds anything but a Space or overlaps with
            that of the model.
        HubError: if the Hub does not respond or denies access.
        ImportError: if Gradio is not installed.
    """
    require_extra("gradio", "a Space")
    source, on_hub = model_folder(model, revision), None if Path(model).is_dir() else str(model)
    with replace_space(folder, source) as place:
        explorer = load_explorer(source, examples)
        name = title or (source.resolve().name if on_hub is None else on_hub.rpartition("/")[2])
        if on_hub is None:
            _copy_model(source, place / MODEL_FOLDER, with_examples=examples is None)
        if examples is not None:
            examples.write(place / EXAMPLES_FILE)
        commit = None if on_hub is None else source.name
        write_text(place / "app.py", _render_app(on_hub or MODEL_FOLDER, commit, name))
        write_text(place / "requirements.txt", pin_requirements())
        drawn = explorer.draw_latents(next(iter(explorer.samplers)), 0, NUM_TILES)
        write_thumbnail(place, _method_name(explorer), name, explorer.to_images(explorer.decode(*drawn)))
        write_card(place, _metadata(explorer, name, on_hub, commit, source, repo_id, license), _describe(name, on_hub))
        write_manifest(place, f"model {on_hub or _identify(source, explorer)}")
    return explorer


def _copy_model(source: Path, target: Path, with_examples: bool):
    """Copy what a Space reads of a model, without checkpoints of its training."""
    for pattern in MODEL_FILES:
        for path in source.glob(pattern):
            if path.is_file() and (with_examples or path.name != EXAMPLES_FILE):
                copied = target / path.relative_to(source)
                copied.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, copied)


def _identify(source: Path, explorer: Explorer) -> str:
    """A model in a folder, by the folder's name and the model's config, which more training does not change."""
    return f"{source.resolve().name}, config {digest(_own_settings(explorer.model.config))[:12]}"


def _own_settings(config: Any) -> dict[str, Any]:
    """The fields of a config that differ from the defaults of gae_hub: those of other versions are the same."""
    found: dict[str, Any] = {"model_type": config.model_type}
    if not isinstance(config, StrictConfig):
        return found
    own = set(config.own_fields()) - {"dataset_size"}  # a fact about the training data
    for field in fields(config):
        value = getattr(config, field.name)
        if field.name in own and value != field.default:
            found[field.name] = _own_settings(value) if hasattr(value, "model_type") else value
    return found


def _render_app(model: str, revision: str | None, title: str) -> str:
    pinned = f", revision={json.dumps(revision)}" if revision is not None else ""
    return (
        '"""The Space of a generative autoencoder, written by `gae-hub space`."""\n\n'
        "from pathlib import Path\n\nfrom gae_hub.spaces.model_app import launch_app\n\n"
        'if __name__ == "__main__":\n'
        f"    launch_app({json.dumps(model)}{pinned}, folder=Path(__file__).parent, title={json.dumps(title)})\n"
    )


def _metadata(
    explorer: Explorer,
    title: str,
    model: str | None,
    commit: str | None,
    source: Path,
    repo_id: str | None,
    license: str | None,
) -> dict[str, Any]:
    """The metadata of the Space's card, as the Hub reads it."""
    metadata = space_metadata(
        title,
        f"Sample and explore {clean(title)}, a {_method_name(explorer)}",
        repo_id=repo_id,
        license=license or _license_of(source),
        emoji="🎛️",
        colorFrom="green",
        colorTo="gray",
        tags=["gae-hub", "generative-autoencoder", read_config(source)["model_type"].removeprefix("gae_")],
    )
    if model is not None:
        files = sorted(path.relative_to(source).as_posix() for path in source.rglob("*") if path.is_file())
        metadata |= {"models": [model], "preload_from_hub": [f"{model} {','.join(files)} {commit}"]}
    return metadata


def _describe(title: str, model: str | None) -> str:
    """The text of the card."""
    about = f"[{model}](https://huggingface.co/{model})" if model is not None else f"the model in `{MODEL_FOLDER}/`"
    return (
        f"# {escape(title)}\n\nSample, reconstruct, interpolate and explore {about}, a generative autoencoder of "
        "[gae_hub](https://github.com/gae-hub/gae_hub).\n\n"
        "Locally: `pip install -r requirements.txt`, then `python app.py`.\n"
    )


def _method_name(explorer: Explorer) -> str:
    paper = paper_of(type(explorer.model))
    return paper.name if paper else type(explorer.model).__name__


def _license_of(source: Path) -> Any:
    card = source / "README.md"
    try:
        found = read_metadata(card.read_text(encoding="utf-8")).get("license") if card.is_file() else None
    except (OSError, ValueError):
        found = None
    return found if isinstance(found, str) and found else DEFAULT_LICENSE
