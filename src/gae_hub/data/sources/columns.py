"""Chooses the columns of Hugging Face `datasets` that hold the examples and their labels."""

__all__ = ["EXAMPLE_NAMES", "check_columns", "choose_reader", "find_label_column"]

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from transformers.utils import logging

from ..options import DataOptions
from .readers import ArrayReader, ColumnReader, ImageReader, TableReader

if TYPE_CHECKING:
    import datasets

logger = logging.get_logger(__name__)

EXAMPLE_NAMES = ("pixel_values", "image", "images", "img", "x")
"""Names of columns of arrays that are preferred over other columns of numbers."""
_LABEL_NAMES = ("label", "labels", "class", "target")
_INDEX_NAMES = {"__index_level_0__"}


def choose_reader(
    features: "datasets.Features | None", name: str, options: DataOptions, images_only: bool
) -> ColumnReader:
    """A reader for the columns that the options name, or else for those of images, of arrays, or of numbers.

    Args:
        features: the columns and their types.
        name: name of the data, for errors.
        options: `column` and `label_column` are used.
        images_only: whether columns of numbers are an error.

    Raises:
        ValueError: if there is no such column, or several could be meant.
    """
    features_by_name = dict(features or {})
    named = _listed(options.column)
    label = find_label_column(features_by_name, options)
    candidates = {column: features_by_name[column] for column in named or features_by_name if column != label or named}
    images = [column for column, feature in candidates.items() if _is_image(feature, is_named=bool(named))]
    arrays = [column for column, feature in candidates.items() if _is_array(feature)]
    numbers = [column for column, feature in candidates.items() if _is_number(feature) and column not in _INDEX_NAMES]
    if len(images) > 1:
        raise ValueError(f"'{name}' has several columns of images, {', '.join(images)}: pass column= with one of them")
    if images:
        return ImageReader(images[0], name, options)
    preferred = [column for column in arrays if column in EXAMPLE_NAMES] or arrays
    if len(preferred) > 1:
        raise ValueError(f"'{name}' has several columns of arrays, {', '.join(preferred)}: pass column= with one")
    if preferred:
        return ArrayReader(preferred[0], _element_type(features_by_name[preferred[0]]), name, options, images_only)
    if numbers and not images_only:
        if len(named) > len(numbers):
            other = next(column for column in named if column not in numbers)
            raise ValueError(f"column: column '{other}' of '{name}' holds no numbers")
        left_out = [column for column in candidates if column not in numbers]
        if left_out:
            logger.warning(f"columns of '{name}' that hold no numbers are left out: {', '.join(left_out)}")
        return TableReader(numbers, name, options)
    remedy = f"; load_data reads its columns of numbers, {_list_names(numbers)}" if numbers else ""
    raise ValueError(
        f"'{name}' has no column of {'images' if images_only else 'images or numbers'}; its columns are "
        f"{_list_names(features_by_name)}{remedy}"
    )


def check_columns(features: Mapping[str, Any] | None, name: str, options: DataOptions):
    """Raise ValueError if the options name a column that the table does not have."""
    for option in (options.label_column, *_listed(options.column)):
        if option is not None and option not in (features or {}):
            which = "label_column" if option == options.label_column else "column"
            raise ValueError(f"{which}: '{name}' has no column '{option}'; it has {_list_names(features or {})}")


def find_label_column(features: Mapping[str, Any] | None, options: DataOptions) -> str | None:
    """The column of labels: the one that the options name, the first of classes, or one with a usual name."""
    import datasets

    if options.label_column is not None:
        return options.label_column
    named = _listed(options.column)
    found = {column: feature for column, feature in (features or {}).items() if column not in named}
    for column, feature in found.items():
        if isinstance(feature, datasets.ClassLabel):
            return column
    for column in _LABEL_NAMES:
        if column in found and getattr(found[column], "dtype", "").startswith(
            ("int", "uint", "bool", "string", "large_string")
        ):
            return column
    return None


def _listed(column: str | Sequence[str] | None) -> tuple[str, ...]:
    if column is None:
        return ()
    return (column,) if isinstance(column, str) else tuple(column)


def _list_names(names: Any) -> str:
    return ", ".join(names) or "unknown"


def _is_image(feature: Any, is_named: bool) -> bool:
    """Whether a column holds image files. A column of paths or bytes does if the options name it."""
    import datasets

    if isinstance(feature, datasets.Image):
        return True
    if isinstance(feature, dict):  # a parquet file without the metadata of `datasets`
        return set(feature) == {"bytes", "path"}
    return is_named and isinstance(feature, datasets.Value) and feature.dtype in ("binary", "large_binary", "string")


def _is_array(feature: Any) -> bool:
    """Whether a column holds arrays, or lists of numbers."""
    import datasets

    if isinstance(feature, (datasets.Array2D, datasets.Array3D, datasets.Array4D, datasets.Array5D)):
        return True
    return isinstance(feature, (list, datasets.List, datasets.LargeList)) and _is_number(
        datasets.Value(_element_type(feature))
    )


def _element_type(feature: Any) -> str:
    """Type of the elements of arrays or nested lists; "string" for anything else."""
    while isinstance(feature, list) or hasattr(feature, "feature"):
        feature = feature[0] if isinstance(feature, list) else feature.feature
    return getattr(feature, "dtype", None) or "string"


def _is_number(feature: Any) -> bool:
    import datasets

    is_value = isinstance(feature, datasets.Value)
    return is_value and feature.dtype.startswith(("int", "uint", "float", "bool", "decimal", "double"))
