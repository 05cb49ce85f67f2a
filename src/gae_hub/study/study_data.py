"""A data set of a study, with what its cells share: features of its images, their moments, and the extractor."""

__all__ = ["StudyData"]

import re
from functools import cached_property
from typing import Any, Literal, cast

from ..core.class_labels import check_class_labels
from ..data.datasets import InMemoryDataset
from ..data.fingerprints import fingerprint_data
from ..data.loading import load_data
from ..data.options import DataOptions
from .digests import digest
from .settings import DataSettings

Split = Literal["train", "validation", "test"]


DEFAULT_TEST_SIZE = 0.1  # share of the training examples, if there is no test split


class StudyData:
    """The three splits of a data set. What is missing is held out from the training split: see `DataOptions`.

    Args:
        settings: what the study declares.

    Raises:
        ValueError: if the data cannot be loaded, have no training split, or cannot be fingerprinted.
    """

    def __init__(self, settings: DataSettings):
        self.settings = settings
        options = {"test_size": DEFAULT_TEST_SIZE, **settings.options}
        try:
            splits: tuple[Any, ...] = load_data(
                settings.dataset, ("train", "validation", "test"), **cast(Any, options)
            )
        except ValueError as error:
            raise ValueError(f"data.{settings.name}: {error}{_in_the_study_file(str(error))}") from error
        numbers = settings.num_train, settings.num_validation, settings.num_test
        self.splits: dict[str, Any] = {
            name: _first(split, number, name)
            for name, split, number in zip(("train", "validation", "test"), splits, numbers, strict=True)
        }
        self.input_shape: tuple[int, ...] = tuple(self.splits["train"].input_shape)

    @cached_property
    def fingerprints(self) -> dict[str, str]:
        """Fingerprint of each split, with its labels."""
        found = {}
        for name, split in self.splits.items():
            examples = fingerprint_data(split)
            if examples is None:
                raise ValueError(
                    f"the data set '{self.settings.dataset}' cannot be fingerprinted, so cells could not be told "
                    "apart: save it in a folder or a file"
                )
            labels = None if split.labels is None else split.labels.tolist()
            found[name] = digest([examples, labels])
        return found

    @property
    def has_labels(self) -> bool:
        """Whether the examples of all splits have labels."""
        return all(split.labels is not None and bool((split.labels >= 0).all()) for split in self.splits.values())

    @property
    def has_classes(self) -> bool:
        """Whether the training examples have labels of two or more classes."""
        return self.has_labels and len(self.splits["train"].labels.unique()) > 1

    def check_labels(self, num_classes: int, allow_missing: bool = False):
        """Raise ValueError unless the examples of all splits have labels in [0, num_classes).

        Args:
            num_classes: number of classes of a model or a sampler.
            allow_missing: whether an example may have the label -1, which stands for no label.
        """
        for name, split in self.splits.items():
            where = f"the {name} split of '{self.settings.dataset}'"
            if split.labels is None:
                raise ValueError(
                    f"num_classes = {num_classes} needs labels, but {where} has none: name their column by "
                    f"`label_column` below data.{self.settings.name}, or remove num_classes"
                )
            try:
                check_class_labels(
                    split.labels, num_classes, len(split), allow_missing=allow_missing, name=f"labels of {where}"
                )
            except ValueError as error:
                largest = int(split.labels.max())
                remedy = f"set num_classes to {largest + 1} or more"
                if largest < num_classes:
                    remedy = "leave examples without a label out, or set condition_dropout of a model above 0"
                raise ValueError(f"num_classes = {num_classes}: {error}; {remedy}") from error

    @property
    def is_images(self) -> bool:
        """Whether examples are (channels, height, width) with 1 or 3 channels, which an extractor accepts."""
        return len(self.input_shape) == 3 and self.input_shape[0] in (1, 3)

    @property
    def sizes(self) -> dict[str, int]:
        """Number of examples of each split."""
        return {name: len(split) for name, split in self.splits.items()}


def _in_the_study_file(message: str) -> str:
    """How options that an error proposes are written in a study file."""
    options = re.findall(r"\b(\w+)='(\w+)'", message)
    lines = dict.fromkeys(f"`{name}: {value}`" for name, value in options if name in DataOptions.names())
    return f" (in a study file, below the name of the data: {' or '.join(lines)})" if lines else ""


def _first(split: Any, number: int | None, name: str) -> Any:
    """The first examples of a split."""
    if number is None or number == len(split):
        return split
    if number > len(split):
        raise ValueError(
            f"num_{name} is {number:,}, but '{split.name}' has {len(split):,} examples in its {name} split"
        )
    if not isinstance(split, InMemoryDataset):
        raise ValueError(f"num_{name} needs data that fit in memory; '{split.name}' is read from disk")
    return split.select(0, number)
