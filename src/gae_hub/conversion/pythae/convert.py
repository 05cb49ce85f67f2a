"""Builds a model of gae_hub from a checkpoint of Pythae 0.1.2.

Pythae: Chadebec, Vincent & Allassonnière, 2022, arXiv:2206.08309. Where it follows a method's paper, the model
computes the same numbers. Where it does not, the model follows the paper with Pythae's weights, and a note describes
the difference. The model's card shows the notes.
"""

__all__ = ["from_pythae"]

import reprlib
from functools import partial
from pathlib import Path

import torch
from huggingface_hub.errors import StrictDataclassError
from torch import Tensor, nn
from transformers.utils import logging

from ...auto import AutoGAE
from ...models.base import GAEPreTrainedModel
from .methods import METHODS
from .network_matching import Role, match_network
from .reading import SETTINGS_FILE, WEIGHTS_FILE, Checkpoint, read_checkpoint

logger = logging.get_logger(__name__)

# the last layers of Pythae's encoders, in the order of our head
_HEADS = ("embedding", "log_var", "log_concentration", "pre_qantized")
# settings that the weights determine
_REDUNDANT_SETTINGS = {
    "uses_default_encoder",
    "uses_default_decoder",
    "uses_default_discriminator",
    "uses_default_metric",
    "discriminator_input_dim",
    "embedding_dim",
}


def from_pythae(
    name: str | Path,
    encoder: nn.Module | None = None,
    decoder: nn.Module | None = None,
    token: str | bool | None = None,
    revision: str | None = None,
) -> GAEPreTrainedModel:
    """A model with the weights of a Pythae checkpoint.

    Args:
        name: a folder or Hub repository with model_config.json and model.pt.
        encoder, decoder: the custom networks of the checkpoint, in the form that gae_hub expects: an encoder without
            its last linear layers, a decoder without its sigmoid. Pythae's default networks and its benchmark's
            networks are recognised and need no argument.
        token, revision: for the Hub.

    Returns:
        The model in eval mode. `model.facts["imported"]["notes"]` lists the differences from Pythae.

    Raises:
        ValueError: if it is not a Pythae checkpoint, its settings and weights do not match, or its parameters do not
            fit the networks; the message names them.
        OSError: if a file does not exist, or the Hub does not respond.
    """
    checkpoint = read_checkpoint(name, METHODS, token, revision)
    method, convert = METHODS[checkpoint.method]
    try:
        fields, tensors = convert(checkpoint)
    except RuntimeError as error:  # torch cannot combine tensors of these shapes
        reason = str(error).partition("\n")[0]
        raise ValueError(f"{SETTINGS_FILE} and {WEIGHTS_FILE} of '{name}' do not match: {reason}") from error
    head = _take_head(checkpoint)
    tensors |= {f"head.{kind}": value for kind, value in head.items()}
    loss = checkpoint.pop("reconstruction_loss", str, "mse")
    if loss not in ("mse", "bce"):
        raise ValueError(
            f"{SETTINGS_FILE} of '{name}' has reconstruction_loss = {reprlib.repr(loss)}, expected mse or bce"
        )
    if loss == "bce":
        fields["likelihood"] = "bernoulli"
    latent_dim, input_shape = checkpoint.latent_dim, checkpoint.input_shape
    # only the networks for images of 28 x 28 pixels have latent maps, of size 4 x 4
    latent_shape = (latent_dim, 4, 4) if head["weight"].dim() == 4 else (latent_dim,)
    networks: dict[Role, nn.Module | None] = {"encoder": encoder, "decoder": decoder}
    for role, custom in networks.items():
        stored = checkpoint.take_all(f"{role}.")
        if role == "decoder":
            stored = _untranspose_first_layer(stored)
        config, renamed = match_network(checkpoint.name, role, stored, custom, input_shape, latent_shape)
        fields[f"{role}_config"] = config
        tensors |= {f"{role}.{key}": value for key, value in renamed.items()}

    try:
        config = AutoGAE.config_class(method)(input_shape=input_shape, latent_dim=latent_dim, **fields)
    except StrictDataclassError as error:
        reason = error.__cause__ or error
        raise ValueError(f"{SETTINGS_FILE} of '{name}' has a value that a {method} cannot have: {reason}") from error
    build = partial(AutoGAE.model_class(method), config, encoder=encoder, decoder=decoder)
    with torch.device("meta"):  # compare shapes before memory is allocated
        _check_tensors(build(), tensors, checkpoint)
    model = build().eval()
    model.load_state_dict(tensors, strict=not checkpoint.initial)
    for key in checkpoint.weights:
        checkpoint.note(f"{key} in {WEIGHTS_FILE} has no counterpart and is ignored")
    for key in sorted(checkpoint.settings.keys() - _REDUNDANT_SETTINGS):
        checkpoint.note(f"{key} in {SETTINGS_FILE} has no counterpart and is ignored")
    for note in checkpoint.notes:
        logger.warning(f"import of '{name}': {note}")
    model.facts = {
        "imported": {"from": checkpoint.method, "source": Path(name).name, "notes": checkpoint.notes},
    }
    return model


def _take_head(checkpoint: Checkpoint) -> dict[str, Tensor]:
    """Weight and bias of our head: the last layers of the encoder, joined."""
    found = [f"encoder.{name}" for name in _HEADS if f"encoder.{name}.weight" in checkpoint.weights]
    if not found:
        raise ValueError(
            f"the encoder of '{checkpoint.name}' has none of the layers {', '.join(_HEADS)}; it has "
            + ", ".join(key for key in checkpoint.weights if key.startswith("encoder."))
        )
    head = checkpoint.take_layers(*found)
    if checkpoint.reverse_latents:
        return {
            kind: torch.cat([part.flip(0) for part in value.split(checkpoint.latent_dim)])
            for kind, value in head.items()
        }
    return head


def _untranspose_first_layer(decoder: dict[str, Tensor]) -> dict[str, Tensor]:
    """Swap the first two axes of the first weight if its kernel is 1 x 1: Pythae stores a transposed convolution."""
    first = next(iter(decoder), None)
    if first is not None and decoder[first].dim() == 4 and decoder[first].shape[2:] == (1, 1):
        return {**decoder, first: decoder[first].transpose(0, 1)}
    return decoder


def _check_tensors(model: GAEPreTrainedModel, tensors: dict[str, Tensor], checkpoint: Checkpoint):
    """Raise ValueError unless names and shapes match the model's, apart from tensors that stay initial."""
    expected = {name: value for name, value in model.state_dict().items() if not name.startswith(checkpoint.initial)}
    faults = [f"{name} is missing" for name in expected.keys() - tensors.keys()]
    faults += [f"{name} is not expected" for name in tensors.keys() - expected.keys()]
    faults += [
        f"{name} has shape {tuple(tensors[name].shape)} instead of {tuple(expected[name].shape)}"
        for name in expected.keys() & tensors.keys()
        if tensors[name].shape != expected[name].shape
    ]
    if faults:
        raise ValueError(
            f"the weights of '{checkpoint.name}' do not fit a {type(model).__name__}: {'; '.join(sorted(faults)[:6])}"
        )
