"""Flags: their names, types, defaults and help texts. A flag of several commands is defined here, once."""

__all__ = [
    "BACKGROUND",
    "BATCH_SIZE",
    "BINARIZE",
    "CHANNELS",
    "COLUMN",
    "DATASET",
    "DATA_OPTIONS",
    "EVALUATION_SPLIT",
    "IMAGE_SIZE",
    "LABEL_COLUMN",
    "LAYOUT",
    "NORMALIZE",
    "NUM_SAMPLES",
    "ON_ERROR",
    "OUTPUT_DIR",
    "PUSH_TO_HUB",
    "SAMPLER_NAME",
    "SEED",
    "SPLIT",
    "STRATIFY",
    "TEST_SIZE",
    "VALIDATION_SIZE",
    "Flag",
    "sampler_subfolder",
]

from dataclasses import dataclass, replace
from typing import Any, Literal

from .values import read_value, type_name


@dataclass(frozen=True)
class Flag:
    """A flag `--name value`, which can also be a key of a YAML file.

    Args:
        name: in snake_case, without dashes.
        type: the annotation by which values are read.
        help: one line for `--help`.
        default: value of a flag that is not given.
        choices: the only values allowed, if the type does not name them.
        minimum: the smallest number allowed.
        bare: value of a flag that is given without a value; None if a value is required.
        many: whether the flag accepts several words, each of the flag's type; a list in a YAML file.
        max_words: largest number of words of a flag that accepts several; a single word is then not a list.
        required: whether the flag must be given.
    """

    name: str
    type: Any
    help: str
    default: Any = None
    choices: tuple[str, ...] = ()
    minimum: int | None = None
    bare: Any = None
    many: bool = False
    max_words: int | None = None
    required: bool = False

    @property
    def annotation(self) -> Any:
        """The type, or a Literal of the choices."""
        # choices are known at run time only
        return Literal[self.choices] if self.choices else self.type  # pyright: ignore[reportInvalidTypeForm]

    @property
    def metavar(self) -> str:
        """Name of the value in `--help`."""
        return type_name(self.annotation)

    @property
    def full_help(self) -> str:
        """Help text with the default, escaped for argparse."""
        default = self.default
        if isinstance(default, bool):
            default = str(default).lower()
        elif isinstance(default, (list, tuple)):
            default = " ".join(map(str, default))
        is_shown = default not in (None, "", {})
        return (self.help + (f" (default: {default})" if is_shown else "")).replace("%", "%%")

    def read(self, value: Any) -> Any:
        """A value of the flag's type, from text or from a value of a YAML file.

        Raises:
            ValueError: if the value does not have the type, is below the minimum, or has too many words.
        """
        if self.many and isinstance(value, list):
            return self.unwrap([self.read(word) for word in value])
        found = read_value(self.annotation, value)
        if self.minimum is not None and found is not None and not found >= self.minimum:
            raise ValueError(f"expected {self.minimum} or more, got {found}")
        return found

    def unwrap(self, words: list[Any]) -> Any:
        """The value of a flag that accepts several words: the list, or the word itself if there may be only few."""
        if self.max_words is None:
            return words
        if len(words) > self.max_words:
            raise ValueError(f"expected {self.max_words} values at most, got {len(words)}")
        return words[0] if len(words) == 1 else words


# Flags of several commands

DATASET = Flag("dataset", str, "Data set: digits, a folder, a file (.npy, .npz, .csv, .parquet), or a name on the Hub")
SPLIT = Flag("split", str, "Split of the data set")
EVALUATION_SPLIT = replace(
    SPLIT, help="Split of the data set; by default test or, without one, the run's validation split"
)
COLUMN = Flag("column", str, "Column of examples, or several columns of numbers", many=True, max_words=1000)
LABEL_COLUMN = Flag("label_column", str, "Column of labels, integers or strings")
LAYOUT = Flag(
    "layout",
    Literal["channels_first", "channels_last", "no_channels"] | None,
    "Order of the axes of arrays; by default their shape decides",
)
CHANNELS = Flag("channels", Literal[1, 3, 4] | None, "Number of channels to convert image files to")
IMAGE_SIZE = Flag(
    "image_size",
    int | None,
    "Edge length, or height and width, of the images; image files are cropped and resized to it",
    minimum=1,
    many=True,
    max_words=2,
)
BACKGROUND = Flag("background", str, "Colour behind transparent pixels, a name or #rrggbb", "white")
NORMALIZE = Flag(
    "normalize",
    Literal["unit", "standardize"] | None,
    "Map the training data to [0, 1], or to mean 0 and standard deviation 1, per column or channel",
)
BINARIZE = Flag(
    "binarize",
    Literal["threshold", "stochastic"] | None,
    "Map grey values in [0, 1] to 0 or 1: at 0.5, or drawn once with the grey value as the probability of 1",
)
VALIDATION_SIZE = Flag(
    "validation_size", float | int | None, "Number (or share, below 1) of examples held out for validation", minimum=0
)
TEST_SIZE = Flag(
    "test_size", float | int | None, "Number (or share, below 1) of examples held out for the test split", minimum=0
)
STRATIFY = Flag("stratify", bool, "Whether to hold out the same share of each class", True)
ON_ERROR = Flag(
    "on_error",
    Literal["raise", "skip"],
    "Whether an example that cannot be read ends the command, or is skipped and named in a warning",
    "raise",
)
SEED = Flag("seed", int, "Seed of all random numbers", 0)
NUM_SAMPLES = Flag("num_samples", int, "Number of images to generate", 64, minimum=1)
BATCH_SIZE = Flag("batch_size", int, "Number of images per batch", 128, minimum=1)
SAMPLER_NAME = Flag("sampler_name", str, "Subfolder of the sampler; prior is the model's own prior", "sampler")
OUTPUT_DIR = Flag("output_dir", str, "Folder to write to")
DATA_OPTIONS = (
    COLUMN,
    LABEL_COLUMN,
    LAYOUT,
    CHANNELS,
    IMAGE_SIZE,
    BACKGROUND,
    NORMALIZE,
    BINARIZE,
    VALIDATION_SIZE,
    TEST_SIZE,
    STRATIFY,
    ON_ERROR,
)
"""The options with which data are read, besides the seed: the fields of `DataOptions`."""
PUSH_TO_HUB = Flag("push_to_hub", bool, "Publish the result to the model's Hub repository")


def sampler_subfolder(sampler_name: str) -> str | None:
    """The subfolder that `--sampler_name` names, or None for the model's own prior."""
    return None if sampler_name == "prior" else sampler_name
