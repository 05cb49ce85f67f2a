"""The options with which data are read: the same in Python, YAML files and on the command line."""

__all__ = ["DataOptions", "LoadingOptions", "OnError"]

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal, TypeAlias, TypedDict

from PIL import ImageColor

from ..core.argument_checks import check_count, check_seed, describe
from ..images.binarization import BINARIZATIONS, Binarization
from ..images.layouts import Layout, check_layout
from ..images.normalization import NORMALIZATIONS, Normalization

OnError: TypeAlias = Literal["raise", "skip"]
"""What to do with an example that cannot be read."""


class LoadingOptions(TypedDict, total=False):
    """Keyword arguments of `load_images` and `load_data`: the fields of `DataOptions`, and those of `load_dataset`."""

    column: str | Sequence[str] | None
    label_column: str | None
    layout: Layout | None
    channels: int | None
    image_size: int | Sequence[int] | None
    background: str
    normalize: Literal["unit", "standardize"] | Normalization | None
    binarize: Literal["threshold", "stochastic"] | Binarization | None
    validation_size: float | None
    test_size: float | None
    stratify: bool
    on_error: OnError
    seed: int
    # of datasets.load_dataset
    name: str | None
    data_dir: str | None
    data_files: Any
    cache_dir: str | None
    revision: str | None
    token: str | bool | None
    num_proc: int | None


@dataclass(frozen=True)
class DataOptions:
    """How examples, labels and a validation split are read from a source.

    Args:
        column: the column of examples, or several numeric columns of a table. By default the only column of images or
            arrays, or else all columns of numbers except the label.
        label_column: the column of labels, integers or strings. By default the first column of classes, or else the
            one of integers or strings named "label", "labels", "class" or "target".
        layout: order of the axes of arrays: "channels_first", "channels_last" or "no_channels". By default the
            channels are first, unless the last axis has 1, 3 or 4 entries and the first has not; a shape that allows
            both is an error.
        channels: 1, 3 or 4, to convert image files to. By default the first image decides between 1 and 3.
        image_size: edge length, or (height, width), to crop and resize image files to.
        background: colour behind transparent pixels of image files, as a name or "#rrggbb".
        normalize: "unit" to map the training data to [0, 1] per column or channel, "standardize" to give them mean 0
            and standard deviation 1, or a [`Normalization`] to use again.
        binarize: "threshold" to map values of 0.5 and more to 1 and others to 0, "stochastic" to draw 1 with the grey
            value as its probability, or a `Binarization` to use again. Each image is drawn once, with the seed. Values
            must lie in [0, 1], where `normalize="unit"` maps them.
        validation_size: number of examples (int), or share of the training split (float), to hold out at random if the
            source has no validation split. By default 10,000, or 10 % of fewer than 50,000 examples. MNIST and
            CIFAR-10 hold out their last 10,000 images, as the paper does.
        test_size: number or share of the training examples to hold out at random as a test split if the source has
            none. By default none: asking for the test split then raises.
        stratify: whether the held-out examples have the same shares of classes as the others.
        on_error: "raise" for an error that names the first example that cannot be read or is missing; "skip" to leave
            such examples out, with their labels, and to log one warning that counts and names them.
        seed: seed of the held-out examples, and of stochastic binarisation.

    Raises:
        ValueError: for a value outside these, or `binarize` together with `normalize="standardize"`.
    """

    column: str | Sequence[str] | None = None
    label_column: str | None = None
    layout: Layout | None = None
    channels: int | None = None
    image_size: int | Sequence[int] | None = None
    background: str = "white"
    normalize: Literal["unit", "standardize"] | Normalization | None = None
    binarize: Literal["threshold", "stochastic"] | Binarization | None = None
    validation_size: float | None = None
    test_size: float | None = None
    stratify: bool = True
    on_error: OnError = "raise"
    seed: int = 0
    size: tuple[int, int] | None = field(init=False, repr=False, compare=False)

    def __post_init__(self):
        if self.column is not None and not isinstance(self.column, str):
            is_list = isinstance(self.column, (list, tuple)) and bool(self.column)
            if not is_list or not all(isinstance(name, str) for name in self.column):
                raise ValueError(f"column must be a name or a list of names, got {describe(self.column)}")
            object.__setattr__(self, "column", tuple(self.column))
        if self.label_column is not None and not isinstance(self.label_column, str):
            raise ValueError(f"label_column must be a name, got {describe(self.label_column)}")
        check_layout(self.layout)
        if self.channels is not None and (isinstance(self.channels, bool) or self.channels not in (1, 3, 4)):
            raise ValueError(f"channels must be 1, 3 or 4, got {describe(self.channels)}")
        object.__setattr__(self, "size", None if self.image_size is None else _read_size(self.image_size))
        try:
            ImageColor.getrgb(self.background)
        except (ValueError, AttributeError, TypeError) as error:
            raise ValueError(
                f"background must be the name of a colour or '#rrggbb', got {describe(self.background)}"
            ) from error
        if not isinstance(self.normalize, Normalization) and self.normalize not in (None, *NORMALIZATIONS):
            raise ValueError(f"normalize must be one of {', '.join(NORMALIZATIONS)}, got {describe(self.normalize)}")
        if not isinstance(self.binarize, Binarization) and self.binarize not in (None, *BINARIZATIONS):
            raise ValueError(f"binarize must be one of {', '.join(BINARIZATIONS)}, got {describe(self.binarize)}")
        if self.binarize is not None and "standardize" in (self.normalize, getattr(self.normalize, "kind", None)):
            raise ValueError(
                "binarize needs values in [0, 1], but normalize='standardize' gives them mean 0: pass normalize='unit'"
            )
        for name in ("validation_size", "test_size"):
            size = getattr(self, name)
            if size is not None and (isinstance(size, bool) or not isinstance(size, (int, float))):
                raise ValueError(f"{name} must be a number of examples or a share of them, got {describe(size)}")
        if not isinstance(self.stratify, bool):
            raise ValueError(f"stratify must be True or False, got {describe(self.stratify)}")
        if self.on_error not in ("raise", "skip"):
            raise ValueError(f"on_error must be 'raise' or 'skip', got {describe(self.on_error)}")
        check_seed(self.seed)

    @property
    def binarization(self) -> Binarization | None:
        """What makes grey values binary, or None."""
        if self.binarize is None or isinstance(self.binarize, Binarization):
            return self.binarize
        return Binarization(self.binarize, self.seed)

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Names of the options."""
        return tuple(option.name for option in fields(cls) if option.init)

    @classmethod
    def take_from(cls, arguments: dict[str, Any]) -> "DataOptions":
        """Options from keyword arguments, which are removed from the dict."""
        return cls(**{name: arguments.pop(name) for name in cls.names() if name in arguments})

    @classmethod
    def from_dict(cls, values: Any) -> "DataOptions":
        """The options of a dict from `to_dict`, which may come from anyone.

        Raises:
            ValueError: if it is not a dict, or has an unknown option or a bad value.
        """
        if not isinstance(values, Mapping):
            raise ValueError(f"data options must be a dict, got {describe(values)}")
        unknown = [name for name in values if name not in cls.names()]
        if unknown:
            raise ValueError(f"there is no data option {describe(unknown[0])}; expected {', '.join(cls.names())}")
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        """The options that differ from their defaults, as JSON values.

        A [`Normalization`] and a `Binarization` are named only: see processors.
        """
        found = {
            option.name: getattr(self, option.name)
            for option in fields(self)
            if option.init and getattr(self, option.name) != option.default
        }
        if isinstance(self.normalize, Normalization):
            found["normalize"] = self.normalize.kind
        if isinstance(self.binarize, Binarization):
            found["binarize"] = self.binarize.kind
        return {name: list(value) if isinstance(value, tuple) else value for name, value in found.items()}


def _read_size(image_size: Any) -> tuple[int, int]:
    """(height, width) from one edge length or both."""
    if not isinstance(image_size, (list, tuple)):
        check_count("image_size", image_size)
        return int(image_size), int(image_size)
    if len(image_size) != 2:
        raise ValueError(f"image_size must be an edge length, or (height, width), got {len(image_size)} numbers")
    for edge in image_size:
        check_count("image_size", edge)
    return int(image_size[0]), int(image_size[1])
