"""What a card shows: pictures that a model makes, and a snippet that was run, with its output."""

__all__ = ["LATENT_FACTS", "PICTURES", "draw", "latent_facts", "run", "snippet"]

import io
import json
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers.utils import logging

from ...images.curves import save_loss_curves
from ...images.grids import image_grid, save_interpolations, save_reconstructions, save_samples
from ...images.processing import is_image_shape
from ...models.base import GAEPreTrainedModel
from ...samplers.base import GAESampler

logger = logging.get_logger(__name__)

PICTURES = {
    "samples.png": "New images",
    "samples_prior.png": "New images by the model's own prior",
    "reconstructions.png": "Reconstructions",
    "interpolations.png": "Interpolations",
    "traversal.png": "One latent dimension at a time, the most informative ones first",
    "loss.png": "Losses",
}
LATENT_FACTS = "latents"


def has_prior(model: GAEPreTrainedModel) -> bool:
    """Whether the model can generate without a sampler."""
    try:
        model.sample_prior(1, torch.Generator().manual_seed(0))
    except NotImplementedError:
        return False
    return True


def snippet(model: GAEPreTrainedModel | GAESampler, repo: str, sampler: str | None = None) -> str:
    """Python code that uses what is in a repository or folder.

    Args:
        model: what is there.
        repo: its name, as a Python literal.
        sampler: what to call the sampler beside a model, if there is one.
    """
    if isinstance(model, GAESampler):
        return (
            "import torch\nfrom gae_hub import AutoSampler\n\n"
            f"sampler = AutoSampler.from_pretrained({repo})\n"
            "latents = sampler.sample(16, generator=torch.Generator().manual_seed(0))\n"
            "print(tuple(latents.shape))  # model.generate(16, sampler=sampler) decodes such draws"
        )
    shape = ", ".join(map(str, model.config.input_shape))
    lines = ["import torch", "from gae_hub import AutoGAE, GenerationPipeline", ""]
    if is_image_shape(model.config.input_shape) and (sampler or has_prior(model)):
        lines += [
            f"pipe = GenerationPipeline.from_pretrained({repo})  # model + processor"
            + (f" + {sampler}" if sampler else ""),
            "images = pipe(num_samples=16, seed=0)  # PIL images",
            "print(len(images), images[0].size, images[0].mode)",
            "",
        ]
    else:
        lines[1] = "from gae_hub import AutoGAE"
    return "\n".join(
        [
            *lines,
            f"model = AutoGAE.from_pretrained({repo})",
            f"pixel_values = torch.rand(16, {shape})  # a batch of images, in [0, 1]",
            "latents = model.embed(pixel_values)",
            "reconstruction = model.reconstruct(pixel_values)",
            "print(tuple(latents.shape), tuple(reconstruction.shape))",
        ]
    )


def run(model: GAEPreTrainedModel | GAESampler, folder: Path) -> str | None:
    """What the snippet prints with the files of a folder; None, with a warning, if it cannot run here."""
    code, output = snippet(model, json.dumps(str(folder.resolve())), "sampler"), io.StringIO()
    try:
        with torch.random.fork_rng([]), redirect_stdout(output):
            exec(compile(code, "model card", "exec"), {})
    except (ImportError, NotImplementedError, OSError, RuntimeError, TypeError, ValueError) as error:
        logger.warning(f"the card's snippet is shown without output, since it does not run here: {error}")
        return None
    return output.getvalue().strip()


def latent_facts(model: GAEPreTrainedModel, images: Tensor) -> dict[str, Any]:
    """How much each latent dimension is used for these images: by the KL to the prior, in nats, or its variance."""
    model.eval()
    with torch.no_grad():
        posterior = model.encode(images)
    means = posterior.mean.detach()
    if means.dim() != 2:
        return {}
    kl = posterior.kl_per_dimension().detach().mean(0) if hasattr(posterior, "kl_per_dimension") else None
    variance = means.var(0, correction=0)
    order = (variance if kl is None else kl).argsort(descending=True)
    return {
        "num_images": len(images),
        "active_units": int((variance > 0.01).sum()),
        "order": order.tolist(),
        "by": "variance" if kl is None else "kl",
        "values": [round(float(v), 4) for v in (variance if kl is None else kl)[order]],
    }


def draw(model: GAEPreTrainedModel, folder: Path, facts: dict[str, Any]):
    """Write the pictures into assets/: those of images where the model has `examples`, and the losses of the run."""
    assets, examples = folder / "assets", model.examples
    if facts.get("log") or is_image_shape(model.config.input_shape):
        assets.mkdir(parents=True, exist_ok=True)
    if facts.get("log"):
        save_loss_curves(facts["log"], assets / "loss.png")
    if not is_image_shape(model.config.input_shape):
        return
    sampler = (folder / "sampler" / "config.json").is_file()
    if has_prior(model):
        images = model.generate(64, generator=torch.Generator().manual_seed(0))
        name = "samples_prior.png" if sampler else "samples.png"
        save_samples(images.cpu(), assets / name, PICTURES[name])
    if examples is None or len(examples) < 4:
        return
    examples = examples.to(model.device)
    save_reconstructions(examples[:24], model.reconstruct(examples[:24]), assets / "reconstructions.png")
    half = len(examples[:12]) // 2
    save_interpolations(model.interpolate(examples[:half], examples[half : 2 * half]), assets / "interpolations.png")
    if facts.get(LATENT_FACTS):
        images = traverse(model, examples, facts[LATENT_FACTS]["order"][:8])
        title = "One latent dimension a row, from -2 to 2 deviations of its embeddings"
        image_grid(images.cpu(), 9, title).save(assets / "traversal.png")


def traverse(model: GAEPreTrainedModel, examples: Tensor, dimensions: list[int], num_steps: int = 9) -> Tensor:
    """(dimensions * num_steps, *input_shape): the first example's code with one dimension moved, row by row."""
    codes = model.embed(examples)
    offsets = torch.linspace(-2, 2, num_steps, device=codes.device, dtype=codes.dtype)
    rows = codes[:1].repeat(len(dimensions) * num_steps, 1).unflatten(0, (len(dimensions), num_steps))
    for row, dimension in zip(rows, dimensions, strict=True):
        row[:, dimension] = codes[:, dimension].mean() + offsets * codes[:, dimension].std()
    with torch.no_grad():
        return model.decode(rows.flatten(0, 1))
