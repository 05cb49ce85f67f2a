"""What the scripts of the panels read: texts, images and numbers of one model, as JSON values."""

__all__ = ["describe_axes", "describe_examples", "describe_map", "describe_model", "describe_samplers"]

from typing import Any

from ..hub.cards.papers import paper_of
from .encoding import as_data_uri, as_sheet
from .endpoints import LARGEST_SEED
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
    examples = explorer.examples
    num = min(_NUM_PICKED, len(examples))
    images = explorer.to_images(examples.pixel_values[:num])
    is_dark = float(examples.pixel_values[:num].mean()) < 0.5
    return {
        "examples": [
            {"image": as_data_uri(image), "label": examples.label_of(index)} for index, image in enumerate(images)
        ],
        "examplesFrom": f"Examples: {examples.origin}.",
        "maxBytes": MAX_UPLOAD_BYTES,
        "channels": explorer.model.config.input_shape[0],
        "ink": "#ffffff" if is_dark else "#000000",
        "paper": "#000000" if is_dark else "#ffffff",
    }


def describe_axes(explorer: Explorer) -> dict[str, Any]:
    """Sliders of the tab "explore"."""
    axes = explorer.axes
    units = {"kl": "KL to the prior, in nats", "variance": "variance of the embeddings"}
    means = explorer.axes.coordinates(explorer.base_latents(None))[0].tolist()
    coordinates = axes.coordinates(explorer.embeddings[:_NUM_PICKED])
    unit = units.get(axes.by, "share of the embeddings' variance")
    score = {"kl": "{:.2f} nats", "variance": "{:.3g}"}.get(axes.by, "{:.1%}")
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
        "coordinates": coordinates.tolist(),
        "numShown": min(_NUM_AXES, axes.num_active, len(axes)),
        "scoreTitle": unit,
        "orderedBy": (
            f"{len(axes)} directions, ordered by {unit}; {axes.num_active} are active. "
            "Give them names: the link keeps them."
        ),
    }


def describe_map(explorer: Explorer) -> dict[str, Any]:
    """Points and pictures of the tab "map"."""
    examples, plane = explorer.examples, explorer.plane
    images = explorer.to_images(examples.pixel_values)
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
