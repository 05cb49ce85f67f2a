"""Encoder and decoder for use without gae_hub: as torch.export programs, as ONNX, or in a diffusers pipeline."""

__all__ = ["export_model"]

import io
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from ..core.argument_checks import require_extra
from ..core.files import write_atomically, write_json
from ..models.base import GAEPreTrainedModel

Role = Literal["encoder", "decoder"]
Format = Literal["torch", "onnx", "diffusers"]

_SUFFIXES = {"torch": "pt2", "onnx": "onnx"}


def export_model(
    model: GAEPreTrainedModel,
    folder: str | Path,
    format: Format = "torch",
    images: Tensor | Iterable[Tensor] | None = None,
) -> list[Path]:
    """Write a model's encoder and decoder into a folder.

    The encoder maps images (batch, *input_shape) in [0, 1] to latents (batch, *latent_shape), as `embed` does. The
    decoder maps latents to images. Batches may have any size. For "torch" and "onnx", shapes.json holds both shapes.
    No file holds pickled objects.

    Args:
        model: the model, which is set to eval mode.
        folder: where to write; created if it does not exist.
        format: "torch" writes encoder.pt2 and decoder.pt2, for `torch.export.load`; "onnx" writes encoder.onnx and
            decoder.onnx (extra `onnx`); "diffusers" writes an autoencoder for diffusers pipelines, as
            [`convert_to_diffusers`] returns it (extra `diffusers`).
        images: for "diffusers" only: images to measure the scaling factor on.

    Returns:
        Paths of the written files.

    Raises:
        ValueError: for an unknown format, images with a format that does not use them, or an encoder or decoder that
            torch.export cannot trace.
        ImportError: if the extra is not installed.
    """
    folder = Path(folder)
    if format == "diffusers":
        require_extra("diffusers", "format 'diffusers'")
        from .diffusers import convert_to_diffusers

        convert_to_diffusers(model, images).save_pretrained(folder)
        return sorted(path for path in folder.iterdir() if path.is_file())
    if format not in _SUFFIXES:
        raise ValueError(f"format must be 'torch', 'onnx' or 'diffusers', got '{format}'")
    if images is not None:
        raise ValueError(f"images are used with format 'diffusers' only, to scale its latents; got format '{format}'")
    model.check_given("an exported model", "export model.given(class_label), one class at a time")
    model = model.eval()
    written = []
    for role in ("encoder", "decoder"):
        path = folder / f"{role}.{_SUFFIXES[format]}"
        program = _trace(model, role)
        with write_atomically(path) as temporary:
            if format == "torch":
                program.example_inputs = None  # torch would pickle them, and reading pickles can run code
                buffer = io.BytesIO()  # to a path, torch would also write the path's temporary name
                torch.export.save(program, buffer)
                temporary.write_bytes(buffer.getbuffer())
            else:
                _save_onnx(program, temporary, role)
        written.append(path)
    shapes = {"input_shape": model.config.input_shape, "latent_shape": model.latent_shape}
    write_json(folder / "shapes.json", shapes)
    return [*written, folder / "shapes.json"]


class _Part(nn.Module):
    """The encoder or decoder of a model, wrapped as a module that torch.export can trace."""

    def __init__(self, model: GAEPreTrainedModel, role: Role):
        super().__init__()
        self.model, self.role = model, role

    def forward(self, inputs: Tensor) -> Tensor:
        if self.role == "encoder":
            return self.model.compute_latents(self.model.encode(inputs))
        return self.model.decode(inputs)


def _trace(model: GAEPreTrainedModel, role: Role) -> ExportedProgram:
    """The traced encoder or decoder, with a dynamic batch size."""
    from torch._dynamo.exc import TorchDynamoException  # slow to import

    shape = (2, *(model.config.input_shape if role == "encoder" else model.latent_shape))
    example = torch.rand(shape, generator=torch.Generator().manual_seed(0)).to(model.device, model.dtype)
    try:
        with torch.no_grad():
            return torch.export.export(
                _Part(model, role), (example,), dynamic_shapes={"inputs": {0: torch.export.Dim("batch")}}
            )
    except (RuntimeError, TorchDynamoException) as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(f"the {role} of {type(model).__name__} cannot be exported: {reason}") from error


def _save_onnx(program: ExportedProgram, path: Path, role: Role):
    names = ["pixel_values", "latents"] if role == "encoder" else ["latents", "pixel_values"]
    torch.onnx.export(
        program, f=str(path), input_names=names[:1], output_names=names[1:], external_data=False, verbose=False
    )
