"""The code example of a card, and its captured output."""

__all__ = ["build_snippet", "run_snippet"]

import io
import json
from contextlib import redirect_stdout
from pathlib import Path

import torch
from transformers.utils import logging

from ...images.processing import is_image_shape
from ...models.base import GAEPreTrainedModel
from ...samplers.base import GAESampler
from ...training.quiet import hide_progress_bars

logger = logging.get_logger(__name__)


def build_snippet(model: GAEPreTrainedModel | GAESampler, repo: str, sampler: str | None = None) -> str:
    """Python code that loads and uses a repository or folder.

    Args:
        model: the model or sampler that it holds.
        repo: its name, as a Python literal.
        sampler: description of the sampler beside the model, or None if there is none.
    """
    if isinstance(model, GAESampler):
        return (
            "import torch\nfrom gae_hub import AutoSampler\n\n"
            f"sampler = AutoSampler.from_pretrained({repo})\n"
            "latents = sampler.sample(16, generator=torch.Generator().manual_seed(0))\n"
            "print(tuple(latents.shape))  # model.generate(16, sampler=sampler) decodes such samples"
        )
    input_shape = model.config.input_shape
    generates = sampler is not None or model.has_prior
    lines = ["import torch", f"from gae_hub import AutoGAE{', GenerationPipeline' if generates else ''}", ""]
    labels, given = _describe_labels(model), ", class_labels=class_labels" if model.is_conditional else ""
    lines += [*labels, ""] if labels else []
    if generates:
        parts = "model + processor" + (f" + {sampler}" if sampler else "")
        lines += [
            f"pipe = GenerationPipeline.from_pretrained({repo})  # {parts}",
        ]
        if is_image_shape(input_shape):
            lines += [
                f"images = pipe(num_samples=16, seed=0{given})  # PIL images",
                "print(len(images), images[0].size, images[0].mode)",
            ]
        else:
            lines += [
                f"samples = pipe(num_samples=16, seed=0{given})  # an array in the units of the data",
                "print(samples.shape)",
            ]
        lines.append("")
    lines += [
        f"model = AutoGAE.from_pretrained({repo})",
        f"pixel_values = torch.rand(16, {', '.join(map(str, input_shape))})  # a batch with values in [0, 1]",
        f"latents = model.embed(pixel_values{given})",
        f"reconstruction = model.reconstruct(pixel_values{given})",
        "print(tuple(latents.shape), tuple(reconstruction.shape))",
    ]
    return "\n".join(lines)


def _describe_labels(model: GAEPreTrainedModel) -> list[str]:
    """The line that creates class_labels of 16 examples; none for a model without conditions."""
    config = model.config
    if config.num_classes is not None:
        return [f"class_labels = torch.randint({config.num_classes}, (16,))"]
    return [] if config.condition_dim is None else [f"class_labels = torch.randn(16, {config.condition_dim})"]


def run_snippet(model: GAEPreTrainedModel | GAESampler, folder: Path, sampler: str | None = None) -> str | None:
    """Output of the code example for the files of a folder, or None, with a warning, if it fails."""
    code, output = build_snippet(model, json.dumps(str(folder.resolve())), sampler), io.StringIO()
    try:
        with hide_progress_bars(), torch.random.fork_rng([]), redirect_stdout(output):
            exec(compile(code, "model card", "exec"), {})
    except (ImportError, NotImplementedError, OSError, RuntimeError, TypeError, ValueError) as error:
        logger.warning(f"the code example of the model card failed, so the card shows no output: {error}")
        return None
    return output.getvalue().strip()
