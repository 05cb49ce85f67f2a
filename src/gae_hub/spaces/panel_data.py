"""What the scripts of the panels read: texts, images and numbers of one model, as JSON values."""

__all__ = ["describe_axes", "describe_examples", "describe_map", "describe_model", "describe_samplers"]

from typing import Any

from PIL import Image, ImageStat

from ..hub.cards.papers import paper_of
from .class_choice import LARGEST_GUIDANCE, NO_CLASS
from .encoding import as_data_uri, as_sheet, shrink
from .endpoints import LARGEST_SEED
from .example_sets import split_batches
from .explorer import MAX_IMAGES, PRIOR, Explorer
from .uploads import MAX_UPLOAD_BYTES

TABS = {
    "sample": "Sample",
    "reconstruct": "Reconstruct",
    "interpolate": "Interpolate",
    "explore": "Explore",
    "map": "Map",
    "about": "About",
}
_NUM_PICKED = 24  # examples to pick from
_NUM_AXES = 8  # sliders at first
_PICKED_EDGE, _SHEET_EDGE = 128, 64  # pixels: larger examples are shown smaller, so that the page stays light


def describe_model(explorer: Explorer, title: str, repo_id: str | None) -> dict[str, Any]:
    """Title, facts and tabs of the header."""
    model = explorer.model
    paper = paper_of(type(model))
    channels, height, width = model.config.input_shape
    latents = " × ".join(map(str, model.latent_shape))
    return {
        "title": title,
        "method": paper.name if paper else type(model).__name__,
        "facts": [
            f"{height} × {width} {'grey' if channels == 1 else 'colour'} images",
            f"latents of shape {latents}" if len(model.latent_shape) > 1 else f"{latents} latent dimensions",
            f"{model.num_parameters():,} parameters",
        ],
        "url": f"https://huggingface.co/{repo_id}" if repo_id else None,
        "tabs": list(TABS.items()),
        "classes": _describe_classes(explorer),
    }


def _describe_classes(explorer: Explorer) -> dict[str, Any] | None:
    """The controls of the class and of guidance, and the tabs that use them; None without classes."""
    classes, names = explorer.classes, explorer.examples.label_names or ()
    num_classes, tabs = classes.of_model or classes.of_samplers, [name for name in TABS if name != "about"]
    if not num_classes:
        return None
    labels = range(num_classes)
    options = [[label, names[label] if label < len(names) else str(label)] for label in labels]
    return {
        "options": [*options, *([[NO_CLASS, "none"]] if classes.of_model and classes.guides_model else [])],
        "tabs": tabs if classes.of_model else ["sample"],
        "guidedTabs": tabs if classes.guides_model else ["sample"] if classes.guides_samplers else [],
        "maxGuidance": LARGEST_GUIDANCE,
    }


def describe_samplers(explorer: Explorer) -> dict[str, Any]:
    """Samplers of the tab "sample", and its limits."""
    names = []
    for name, sampler in explorer.samplers.items():
        paper = None if sampler is None else paper_of(type(sampler))
        label = "The model's own prior" if sampler is None else paper.name if paper else type(sampler).__name__
        names.append([name, label if name in (PRIOR, "sampler") else f"{label} ({name})"])
    return {"samplers": names, "maxSeed": LARGEST_SEED, "maxImages": MAX_IMAGES}


def describe_examples(explorer: Explorer) -> dict[str, Any]:
    """Examples to pick from, and the colours of the drawing area."""
    images = _draw_examples(explorer, _NUM_PICKED, _PICKED_EDGE)
    is_dark = sum(ImageStat.Stat(image.convert("L")).mean[0] for image in images) < 127.5 * len(images)
    return {
        "examples": [
            {"image": as_data_uri(image), **label} for image, label in zip(images, _labels(explorer), strict=True)
        ],
        "examplesFrom": f"Examples: {explorer.examples.origin}.",
        "maxBytes": MAX_UPLOAD_BYTES,
        "channels": explorer.model.config.input_shape[0],
        "ink": "#ffffff" if is_dark else "#000000",
        "paper": "#000000" if is_dark else "#ffffff",
    }


def describe_axes(explorer: Explorer) -> dict[str, Any]:
    """Sliders of the tab "explore", and the labels of the examples from which they can start."""
    axes = explorer.axes
    units = {"kl": "KL to the prior, in nats", "variance": "variance of the embeddings"}
    means = explorer.axes.coordinates(explorer.base_latents(None))[0].tolist()
    coordinates = axes.coordinates(explorer.embeddings[:_NUM_PICKED])
    unit = units.get(axes.by, "share of the embeddings' variance")
    score = {"kl": "{:.2f} nats", "variance": "{:.3g}"}.get(axes.by, "{:.1%}")
    active = f"{axes.num_active} are active" if axes.by in units else f"{axes.num_active} have more than 1 %"
    return {
        "axes": [
            {
                "name": axes.names[index],
                "score": score.format(axes.scores[index]),
                "low": axes.low[index],
                "high": axes.high[index],
                "mean": means[index],
            }
            for index in range(len(axes))
        ],
        "examples": _labels(explorer),
        "coordinates": coordinates.tolist(),
        "numShown": min(_NUM_AXES, axes.num_active, len(axes)),
        "scoreTitle": unit,
        "orderedBy": f"{len(axes)} directions, ordered by {unit}; {active}. Give them names: the link keeps them.",
    }


def describe_map(explorer: Explorer) -> dict[str, Any]:
    """Points and pictures of the tab "map"."""
    examples, plane = explorer.examples, explorer.plane
    images = _draw_examples(explorer, len(examples), _SHEET_EDGE)
    columns = max(1, round(len(images) ** 0.5))
    axes = "the two latent dimensions" if explorer.embeddings[0].numel() == 2 else "the first two principal components"
    return {
        "points": [[round(value, 4) for value in point] for point in explorer.points.tolist()],
        "labels": [examples.label_of(index) for index in range(len(examples))],
        "sheet": as_data_uri(as_sheet(images, columns)),
        "sheetSize": [columns, -(-len(images) // columns)],
        "note": (
            f"{len(images)} embeddings on {axes} ({plane.shares[0]:.0%} and {plane.shares[1]:.0%} of their variance). "
            f"Examples: {examples.origin}. Click, drag or use the arrow keys."
        ),
    }


def _draw_examples(explorer: Explorer, num: int, max_edge: int) -> list[Image.Image]:
    """The first examples as images, with edges of at most `max_edge` pixels."""
    batches = split_batches(explorer.examples.pixel_values[:num])
    return [shrink(image, max_edge) for batch in batches for image in explorer.to_images(batch)]


def _labels(explorer: Explorer) -> list[dict[str, str | None]]:
    """The label of each example to pick from."""
    examples = explorer.examples
    return [{"label": examples.label_of(index)} for index in range(min(_NUM_PICKED, len(examples)))]
