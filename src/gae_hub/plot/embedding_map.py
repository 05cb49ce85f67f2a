"""Maps of embeddings: points of the plane, coloured by label."""

__all__ = ["plot_embedding_map", "plot_embeddings"]

from collections.abc import Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor

from ..core.argument_checks import check_count, check_seed, describe
from ..data.class_labels import with_conditions
from ..data.datasets import BatchedDataset, InMemoryDataset
from ..data.embeddings import embed_dataset
from ..data.loading import iterate_examples
from ..images.colours import INK, MUTED, PALETTE, PAPER, RULE, SCALE
from ..models.base import GAEPreTrainedModel
from .style import new_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Method: TypeAlias = Literal["pca", "tsne", "umap"]
_PACKAGES = {"pca": None, "tsne": ("sklearn", "scikit-learn"), "umap": ("umap", "umap-learn")}
_NAMES = {"pca": "PCA", "tsne": "t-SNE", "umap": "UMAP"}
_MARKERS = ("o", "^", "s")  # for classes beyond the first 10, which use the same colours again
_MAX_CLASSES = 30  # more are drawn on a scale of colours
_MAX_NAMED = 10  # classes whose names are written on the map, which does not rely on colours then


def plot_embeddings(
    model: GAEPreTrainedModel,
    data: Any,
    labels: Any = None,
    *,
    method: Method = "pca",
    label_names: Sequence[str] | None = None,
    num_examples: int = 10_000,
    seed: int = 0,
    title: str | None = "Embeddings",
) -> "Figure":
    """A map of the embeddings of a data set by `model.embed`, coloured by label.

    Args:
        model: an autoencoder.
        data: (num, *input_shape) examples as the model sees them, or any data set of [`load_data`].
        labels: (num,) classes as integers or strings, or floats for a scale of colours. By default those of the data
            set, if it has labels.
        method, label_names, seed, title: as in [`plot_embedding_map`].
        num_examples: of more examples, a random part is drawn; of a stream, the first ones are taken.
    """
    check_count("num_examples", num_examples)
    dataset = with_conditions(model, data)
    labels = getattr(dataset, "labels", None) if labels is None else labels
    names = getattr(dataset, "label_names", None) if label_names is None else label_names
    if not isinstance(dataset, BatchedDataset):  # a stream, or a data set of items
        dataset = with_conditions(model, _read_first(dataset, num_examples))
        labels = dataset.labels if labels is None else labels
    if labels is not None and len(labels) != len(dataset):
        raise ValueError(f"there are {len(dataset):,} examples, but {len(labels):,} labels")
    if len(dataset) > num_examples:
        order = np.random.default_rng(check_seed(seed)).permutation(len(dataset))
        chosen = np.sort(order[:num_examples])
        dataset = dataset.select_rows(chosen.tolist())
        labels = None if labels is None else np.asarray(labels)[chosen]
    embeddings = embed_dataset(model, dataset, progress=False, cache=False).cpu()
    return plot_embedding_map(embeddings, labels, method=method, label_names=names, seed=seed, title=title)


def _read_first(stream: Any, num_examples: int) -> InMemoryDataset:
    """The first examples of a stream, with their labels or conditions if it has them."""
    batches, num = [], 0
    for batch in iterate_examples(stream):
        batches.append(batch)
        num += len(batch["pixel_values"])
        if num >= num_examples:
            break
    rows = {name: torch.cat([batch[name] for batch in batches])[:num_examples] for name in batches[0]}
    found = rows.get("class_labels")
    is_vectors = found is not None and found.is_floating_point()
    labels, conditions = (None, found) if is_vectors else (found, None)
    return InMemoryDataset(rows["pixel_values"], labels, "stream", conditions=conditions)


def plot_embedding_map(
    embeddings: Tensor | np.ndarray,
    labels: Any = None,
    *,
    method: Method = "pca",
    label_names: Sequence[str] | None = None,
    seed: int = 0,
    title: str | None = "Embeddings",
) -> "Figure":
    """A map of embeddings that are at hand, such as those of [`embed_dataset`] or `GAETransformer.transform`.

    Embeddings of two dimensions are drawn as they are.

    Args:
        embeddings: (num, *latent_shape); maps are flattened.
        labels: (num,) classes as integers or strings, -1 for examples without a label; floats, or more than 30
            classes, for a scale of colours; or None.
        method: "pca" for the first two principal components, whose axes name their share of the variance; "tsne", by
            scikit-learn; or "umap", by umap-learn, which must be installed.
        label_names: names of the classes 0, 1, ...
        seed: seed of t-SNE and UMAP, and of the order in which points are drawn.
        title: a line of text above the picture.

    Raises:
        ValueError: if there are fewer than 3 embeddings, another number of labels, or an unknown method.
        ImportError: if the package of the method is not installed.
    """
    points = torch.as_tensor(embeddings).detach().cpu().double().flatten(1).numpy()
    if len(points) < 3:
        raise ValueError(f"a map needs 3 or more embeddings, got {len(points)}")
    if not np.isfinite(points).all():
        raise ValueError("embeddings hold nan or infinite values: check whether the training of the model diverged")
    if labels is not None and len(labels) != len(points):
        raise ValueError(f"there are {len(points):,} embeddings, but {len(labels):,} labels")
    places, names = _project(points, method, check_seed(seed))
    reduced = f", {_NAMES[method]} of {points.shape[1]} dimensions" if points.shape[1] > 2 else ""
    figure, axes = new_axes(5.2, 4.2, title, f"{len(points):,} examples{reduced}")
    order = np.random.default_rng(seed).permutation(len(points))  # no class hides the others
    size = float(np.clip(20_000 / len(points), 3, 20))
    options = {"s": size, "linewidths": 0, "alpha": 0.75, "rasterized": True}
    if labels is None:
        axes.scatter(*places[order].T, color=PALETTE["blue"], **options)
    else:
        _colour(figure, axes, places, np.asarray(labels), order, label_names, options)
    axes.set(xlabel=names[0], ylabel=names[1])
    axes.spines[:].set_visible(False)
    if method != "pca" and points.shape[1] > 2:  # distances have no unit
        axes.set(xticks=[], yticks=[])
    axes.grid(color=RULE, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.set_aspect("equal", adjustable="datalim")
    return figure


# Projection


def _project(points: np.ndarray, method: str, seed: int) -> tuple[np.ndarray, tuple[str, str]]:
    """(num, 2) places of points (num, dim), and the names of the two axes."""
    if method not in _PACKAGES:
        raise ValueError(f"method must be one of {', '.join(_PACKAGES)}, got {describe(method)}")
    package = _PACKAGES[method]
    if package is not None and find_spec(package[0]) is None:
        raise ImportError(f"method '{method}' needs {package[1]}: pip install {package[1]}")
    if points.shape[1] == 1:  # spread over the other axis, where it has no meaning
        height = np.random.default_rng(seed).uniform(-0.5, 0.5, len(points)) * np.ptp(points)
        return np.column_stack([points[:, 0], height]), ("z[0]", "")
    if points.shape[1] == 2:
        return points, ("z[0]", "z[1]")
    if method == "pca":
        return _principal_components(points)
    if method == "tsne":
        from sklearn.manifold import TSNE

        reducer = TSNE(random_state=seed, init="pca", perplexity=min(30.0, (len(points) - 1) / 3))
    else:
        from umap import UMAP  # pyright: ignore[reportMissingImports]  # optional

        reducer = UMAP(random_state=seed, n_jobs=1)
    return np.asarray(reducer.fit_transform(points)), ("", "")


def _principal_components(points: np.ndarray) -> tuple[np.ndarray, tuple[str, str]]:
    """The first two components; of each, the direction with the largest coordinate positive."""
    from sklearn.decomposition import PCA

    found = PCA(2, random_state=0).fit(points)
    directions = np.asarray(found.components_)
    signs = np.sign(np.take_along_axis(directions, np.abs(directions).argmax(1)[:, None], 1))
    shares = np.nan_to_num(found.explained_variance_ratio_)  # nan if all points are equal
    first, second = (f"component {k + 1} ({share:.0%} of the variance)" for k, share in enumerate(shares))
    return (points - points.mean(0)) @ (directions * signs).T, (first, second)


# Colours


def _colour(
    figure: "Figure",
    axes: "Axes",
    places: np.ndarray,
    labels: np.ndarray,
    order: np.ndarray,
    names: Sequence[str] | None,
    options: dict[str, Any],
):
    """Draw the points: classes with a legend, numbers with a scale."""
    from matplotlib import color_sequences
    from matplotlib.patheffects import withStroke

    classes = np.unique(labels)
    if np.issubdtype(labels.dtype, np.floating) or len(classes) > _MAX_CLASSES:
        values = labels if np.issubdtype(labels.dtype, np.number) else np.searchsorted(classes, labels)
        drawn = axes.scatter(*places[order].T, c=values[order], cmap=SCALE, **options)
        bar = figure.colorbar(drawn, ax=axes, shrink=0.8, pad=0.02)
        if bar.solids is not None:
            bar.solids.set_alpha(1)
        bar.outline.set_visible(False)
        bar.ax.tick_params(length=0, labelsize=8, labelcolor=MUTED)
        return
    palette = color_sequences["petroff10"]
    known = [label for label in classes if not (np.issubdtype(labels.dtype, np.integer) and label < 0)]
    for marker_index, marker in enumerate(_MARKERS):
        group = known[10 * marker_index : 10 * marker_index + 10]
        colours = dict(zip(group, palette, strict=False))
        chosen = order[np.isin(labels[order], group)]
        if len(chosen):
            axes.scatter(*places[chosen].T, c=[colours[label] for label in labels[chosen]], marker=marker, **options)
        for label in group:
            name = str(names[label]) if names is not None and np.issubdtype(labels.dtype, np.integer) else str(label)
            axes.scatter([], [], s=24, marker=marker, color=colours[label], label=name)
            if len(known) <= _MAX_NAMED:
                x, y = np.median(places[labels == label], 0)
                text = axes.text(x, y, name, ha="center", va="center", fontsize=9, weight="bold", color=INK)
                text.set_path_effects([withStroke(linewidth=2.5, foreground=PAPER)])
    unlabelled = order[~np.isin(labels[order], known)]
    if len(unlabelled):
        axes.scatter(*places[unlabelled].T, color="#b8bec6", zorder=0.9, **options)
        axes.scatter([], [], s=24, color="#b8bec6", label="no label")
    figure.legend(
        loc="outside right center",
        frameon=False,
        fontsize=8,
        labelcolor=INK,
        ncols=1 + (len(known) > 15),
        handletextpad=0.1,
        facecolor=PAPER,
    )
