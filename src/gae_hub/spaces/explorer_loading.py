"""Loads an explorer from a model's folder or Hub repository."""

__all__ = ["find_samplers", "load_explorer", "model_folder"]

from pathlib import Path

from huggingface_hub import snapshot_download

from ..auto import AutoGAE, AutoSampler
from ..core.hub_errors import explained
from ..core.hub_files import CONFIG
from ..images.processing import GAEImageProcessor
from ..samplers.base import GAESampler
from .example_sets import EXAMPLES_FILE, ExampleSet, generate_examples, load_examples
from .explorer import Explorer, check_model
from .pixel_range import check_pixels

MODEL_FILES = ["*.json", "*.safetensors", "README.md", EXAMPLES_FILE, "sampler/*", "samplers/*/*"]
"""Patterns of the files of a repository that a Space reads."""


def model_folder(name: str | Path, revision: str | None = None, token: str | bool | None = None) -> Path:
    """The folder of a model. A Hub repository is downloaded first; without a connection, the cache answers.

    Args:
        name: folder, or `user/name` on the Hub.
        revision: branch, tag or commit on the Hub.
        token: token of the Hub.

    Raises:
        HubError: if the Hub does not respond or denies access.
    """
    if Path(name).is_dir():
        return Path(name)
    with explained("load", name, token):
        return Path(snapshot_download(str(name), revision=revision, token=token, allow_patterns=MODEL_FILES))


def find_samplers(folder: Path) -> list[str]:
    """Subfolders that hold samplers: `sampler`, and those in `samplers`."""
    found = [folder / "sampler", *sorted((folder / "samplers").glob("*"))]
    return [path.relative_to(folder).as_posix() for path in found if (path / CONFIG).is_file()]


def load_explorer(folder: str | Path, examples: ExampleSet | str | Path | None = None) -> Explorer:
    """An explorer of the model in a folder, with its processor and samplers.

    Args:
        folder: of the model.
        examples: examples, or a file of them. By default those in the model's folder, or else the model generates
            its own.

    Raises:
        ValueError: if the folder holds no gae_hub model, or one whose examples are not images with values in [0, 1].
    """
    folder = Path(folder)
    model = AutoGAE.from_pretrained(folder).eval()
    has_processor = (folder / "preprocessor_config.json").is_file()
    processor = GAEImageProcessor.from_pretrained(folder) if has_processor else GAEImageProcessor.for_model(model)
    check_model(model, processor)
    samplers: dict[str, GAESampler] = {}
    for path in find_samplers(folder):
        name = path.rpartition("/")[2]
        samplers[path if name in samplers else name] = AutoSampler.from_pretrained(folder, subfolder=path).eval()
    if examples is None and (folder / EXAMPLES_FILE).is_file():
        examples = folder / EXAMPLES_FILE
    if isinstance(examples, (str, Path)):
        examples = load_examples(examples, tuple(model.config.input_shape))
    if examples is None:
        examples = generate_examples(model, next(iter(samplers.values()), None))
    else:
        check_pixels(processor, examples.pixel_values, examples.origin)
    return Explorer(model, processor, samplers, examples)
