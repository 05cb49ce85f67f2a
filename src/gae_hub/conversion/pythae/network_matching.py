"""Recognises the encoder and decoder of a Pythae checkpoint by the shapes of their tensors."""

__all__ = ["Role", "match_network"]

from typing import Literal

import torch
from torch import Tensor, nn
from transformers import AutoModel, PreTrainedConfig

from ...modules.backbones import backbone_config

Role = Literal["encoder", "decoder"]
Tensors = dict[str, Tensor]

# Pythae's default networks, then the networks of its benchmark
NETWORKS = ({"model_type": "mlp", "hidden_sizes": [512]}, {"model_type": "paper_conv"}, {"model_type": "paper_resnet"})


def match_network(
    name: str,
    role: Role,
    stored: Tensors,
    custom: nn.Module | None,
    input_shape: tuple[int, ...],
    latent_shape: tuple[int, ...],
) -> tuple[PreTrainedConfig | None, Tensors]:
    """The config of a network with these tensors, and the tensors by its names.

    Args:
        name: the checkpoint, for messages.
        role: "encoder" or "decoder".
        stored: the network's tensors by Pythae's names, in their order.
        custom: a custom network that the tensors belong to, or None to search Pythae's own networks.
        input_shape: shape of one example.
        latent_shape: shape of its latents.

    Returns:
        The config, None for a custom network, and the renamed tensors.

    Raises:
        ValueError: if the tensors do not fit the custom network, or none of Pythae's own.
    """
    if custom is not None:
        expected = custom.state_dict()
        renamed = stored if _same_shapes(stored, expected) else _rename_in_order(stored, expected)
        if renamed is None:
            raise ValueError(_describe_mismatch(name, role, type(custom).__name__, stored, expected))
        return None, renamed
    if role == "encoder":
        sizes = {"input_shape": input_shape}
    else:
        sizes = {"output_shape": input_shape, "latent_shape": latent_shape}
    for spec in NETWORKS:
        config = backbone_config(role, spec)
        try:
            with torch.device("meta"):
                expected = AutoModel.from_config(config, **sizes).state_dict()
        except ValueError:  # the network does not exist for this input_shape
            continue
        renamed = _rename_in_order(stored, expected)
        if renamed is not None:
            return config, renamed
    raise ValueError(
        f"the {role} of '{name}' is none of Pythae's own networks; pass a network with its parameters as {role}=, or "
        f"--{role}_class module:Class on the command line. Its parameters are:\n"
        + "\n".join(f"  {role}.{key} {tuple(value.shape)}" for key, value in stored.items())
    )


def _same_shapes(stored: Tensors, expected: Tensors) -> bool:
    """Whether both have tensors of the same names and shapes, in any order."""
    return {key: value.shape for key, value in stored.items()} == {key: value.shape for key, value in expected.items()}


def _rename_in_order(stored: Tensors, expected: Tensors) -> Tensors | None:
    """The stored tensors by the expected names, or None unless kinds ("weight", "bias") and shapes agree in order."""

    def kinds_and_shapes(tensors: Tensors) -> list[tuple[str, torch.Size]]:
        return [(key.rpartition(".")[2], value.shape) for key, value in tensors.items()]

    if kinds_and_shapes(stored) != kinds_and_shapes(expected):
        return None
    return dict(zip(expected, stored.values(), strict=True))


def _describe_mismatch(name: str, role: Role, network: str, stored: Tensors, expected: Tensors) -> str:
    def only_in(one: Tensors, other: Tensors) -> str:
        lines = [
            f"  {key} {tuple(value.shape)}"
            for key, value in one.items()
            if key not in other or other[key].shape != value.shape
        ]
        return "\n".join(lines) or "  none"

    return (
        f"the parameters of the {role} of '{name}' do not fit {network}, neither by name nor in order.\n"
        f"Only in the checkpoint:\n{only_in(stored, expected)}\nOnly in {network}:\n{only_in(expected, stored)}"
    )
