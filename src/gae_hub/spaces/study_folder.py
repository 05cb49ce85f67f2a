"""Writes the Space of a study into a folder: numbers, pictures, test images, and models or their names on the Hub."""

__all__ = ["write_study_space"]

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from shutil import copyfile, copytree
from typing import cast

from PIL import Image
from transformers.utils import logging

from ..core.argument_checks import require_extra
from ..core.files import write_text
from ..hub.cards.escaping import clean, escape
from ..images.processing import GAEImageProcessor
from ..pipelines import ReconstructionPipeline
from ..study.collect import load_results
from ..study.figures import write_figures
from ..study.folder import StudyFolder
from ..study.publish_models import StudyModel, choose_models, describe_study
from ..study.results import StudyResults
from ..study.study_data import StudyData
from .comparison import Inputs
from .example_sets import bake_examples, load_examples
from .pixel_range import check_normalization, check_pixels
from .requirements import pin_requirements
from .space_card import space_metadata, write_card
from .space_manifest import replace_space, write_manifest
from .study_record import MODELS, SpaceModel, StudyRecord, examples_file, write_record
from .thumbnail import NUM_TILES, write_thumbnail

logger = logging.get_logger(__name__)

MAX_MODEL_BYTES = 500 << 20
NUM_EXAMPLES = 24
_APP = '''"""Compares the methods of a study. Written by gae-hub space."""

from pathlib import Path

from gae_hub.spaces.study_app import launch_study_app

if __name__ == "__main__":
    launch_study_app(Path(__file__).parent)
'''


def write_study_space(
    study: StudyFolder,
    folder: str | Path,
    *,
    published: str | None = None,
    repo_id: str | None = None,
    license: str | None = None,
    max_model_bytes: int = MAX_MODEL_BYTES,
    num_examples: int = NUM_EXAMPLES,
) -> Path:
    """Write the Space of a study. It starts without a connection, unless its models are on the Hub.

    Images of a data set with values outside [0, 1] are left out with a warning; its numbers are shown.

    Args:
        study: folder of the study, which does not change.
        folder: new, empty, or the folder of an earlier Space. Files of the earlier Space are replaced; other files,
            and text that was added to its card, stay.
        published: `user/name` that the study was published as with `gae-hub study publish`. The Space then loads the
            models from there; by default it contains them.
        repo_id: `user/name` of the Space, if it is published.
        license: license for the card.
        max_model_bytes: largest size of the models that the folder may contain.
        num_examples: number of test images of each data set.

    Returns:
        the folder.

    Raises:
        ValueError: if no cell of the study is done, the models are too large, or the folder holds anything but a Space
            or overlaps with that of the study.
        ImportError: if Gradio is not installed.
    """
    require_extra("gradio", "a Space")
    results = load_results(study)
    models = choose_models(results, "chosen", published or f"local/{results.name}")
    if not models:
        raise ValueError(f"no configuration of the study '{results.name}' is chosen yet: run the study first")
    if published is None:
        _check_size(models, max_model_bytes)
    with replace_space(folder, study.root) as root:
        stored = {model.folder.name: _store_model(model, results, root, published) for model in models}
        write_figures(results, root / "figures")
        for picture in (root / "figures").glob("*.png"):  # the app shows the SVG files
            picture.unlink()
        write_record(StudyRecord(_keep_folders(results, models), stored), root)
        _write_examples(study, models, root, num_examples)
        write_text(root / "app.py", _APP)
        write_text(root / "requirements.txt", pin_requirements())
        has_thumbnail = _write_thumbnail(results, models, root)
        _write_card(results, models, root, published, repo_id if has_thumbnail else None, license)
        write_manifest(root, f"study {results.name}")
    return Path(folder)


def _check_size(models: Iterable[StudyModel], max_bytes: int):
    size = sum(file.stat().st_size for model in models for file in model.folder.rglob("*.safetensors"))
    if size > max_bytes:
        raise ValueError(
            f"the chosen models have {size / 2**20:.0f} MB, more than the {max_bytes / 2**20:.0f} MB that the folder "
            "of a Space may contain: publish them with gae-hub study publish, and name them with "
            "--published user/name"
        )


def _store_model(model: StudyModel, results: StudyResults, root: Path, published: str | None) -> SpaceModel:
    """Copy a model's pictures, and the model unless it is published."""
    place = root / MODELS / model.folder.name
    _copy(model.folder / "pictures", place / "pictures", "*.png")
    if published is not None:
        subfolders = describe_study(results, model, f"{published}-results", published)["samplers"]
        return SpaceModel(model.repo_id, True, {name: subfolder for subfolder, name in subfolders.items()})
    for pattern in ("config.json", "preprocessor_config.json", "*.safetensors"):
        _copy(model.folder, place, pattern)
    for name in model.samplers:
        copytree(model.folder / "samplers" / name, place / "samplers" / name, dirs_exist_ok=True)
    return SpaceModel(f"{MODELS}/{model.folder.name}", False, {name: f"samplers/{name}" for name in model.samplers})


def _copy(source: Path, target: Path, pattern: str):
    for path in source.glob(pattern):
        target.mkdir(parents=True, exist_ok=True)
        copyfile(path, target / path.name)


def _keep_folders(results: StudyResults, models: Iterable[StudyModel]) -> StudyResults:
    """The results without the folders of cells that the Space does not have."""
    kept = {model.folder for model in models}
    return replace(
        results, cells=[cell if cell.folder in kept else replace(cell, folder=None) for cell in results.cells]
    )


def _write_examples(study: StudyFolder, models: Iterable[StudyModel], root: Path, num: int):
    """Write test images of each data set of images with models, the classes in turn."""
    declared = study.load_study().data
    folders = {model.cell.dataset: model.folder for model in models}  # all read their data in the same way
    for name, folder in folders.items():
        data = StudyData(declared[name])
        if not data.is_images:
            continue
        examples = bake_examples(data.splits["test"], f"test split of {name}", num)
        processor = cast(GAEImageProcessor, GAEImageProcessor.from_pretrained(folder))
        try:
            check_normalization(processor)
            check_pixels(processor, examples.pixel_values, examples.origin)
        except ValueError as error:
            logger.warning(f"the Space shows no images of the data set '{name}': {error}")
            continue
        examples.write(examples_file(root, name))


def _write_thumbnail(results: StudyResults, models: Iterable[StudyModel], root: Path) -> bool:
    """Write a picture of each method's reconstruction of a test image. False if the study has no images."""
    by_method: dict[str, StudyModel] = {}
    for model in models:
        if examples_file(root, model.cell.dataset).is_file():
            by_method.setdefault(model.cell.method, model)
    images: list[Image.Image] = []
    for index, model in enumerate(list(by_method.values())[:NUM_TILES]):
        pipe = ReconstructionPipeline.from_pretrained(model.folder)
        examples = load_examples(examples_file(root, model.cell.dataset), tuple(pipe.model.config.input_shape))
        inputs = Inputs.pick(examples, [index % len(examples)])
        output = pipe.model.reconstruct(inputs.pixel_values, class_labels=inputs.select_labels(pipe.model))
        images += pipe.processor.postprocess(output)
    if images:
        write_thumbnail(root, f"{len(results.methods)} generative autoencoders", clean(results.title), images)
    return bool(images)


def _write_card(
    results: StudyResults,
    models: list[StudyModel],
    root: Path,
    published: str | None,
    repo_id: str | None,
    license: str | None,
):
    metadata = space_metadata(
        results.title,
        f"{len(results.methods)} generative autoencoders side by side",
        repo_id=repo_id,
        license=license,
        emoji="🔬",
        colorFrom="indigo",
        colorTo="blue",
        tags=["gae-hub", "gae-hub-study"],
    )
    if published is not None:
        repos = [model.repo_id for model in models]
        metadata |= {"models": repos, "datasets": [f"{published}-results"], "preload_from_hub": repos}
    text = (
        f"# {escape(clean(results.title))}\n\nThe methods of a study of generative autoencoders side by side: "
        "reconstructions, samples and interpolations of the same inputs, and the study's tables. Made with "
        "[gae_hub](https://github.com/gae-hub/gae_hub).\n\n"
        "```\npip install -r requirements.txt\npython app.py\n```\n"
    )
    write_card(root, metadata, text)
