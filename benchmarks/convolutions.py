"""Training steps of a VAE with convolutions as matrix products and with torch's layers, both in channels_last.

`gae_hub.modules.convolutions` uses matrix products in the networks "paper_conv" only. These rows are the reason.
"""

from collections.abc import Callable, Iterator

import torch
from torch import nn

from gae_hub.modules.convolutions import MatmulConv2d, MatmulConvTranspose2d

from .comparison import Comparison, lazily
from .models import BATCH_SIZE, our_model
from .training_step import training_step

TITLE, SIDES = "step of 100 images", ("matrix products", "torch's layers")
LAYERS = {nn.Conv2d: MatmulConv2d, nn.ConvTranspose2d: MatmulConvTranspose2d}


def step_with(layers: dict[type, type], network: str, input_shape: tuple[int, ...], bf16: bool) -> Callable[[], None]:
    """Return one training step of a VAE whose layers of the given classes are replaced."""
    torch.manual_seed(0)
    model = our_model("vae", network, input_shape)
    for module in model.modules():
        module.__class__ = layers.get(type(module), type(module))  # both classes have the same attributes
    return training_step(model, torch.rand(BATCH_SIZE, *input_shape), bf16)


def comparisons() -> Iterator[Comparison]:
    torch_layers = {own: torch_layer for torch_layer, own in LAYERS.items()}
    for shape in ((1, 28, 28), (3, 32, 32)):
        for network in ("conv", "resnet", "paper_resnet", "paper_conv"):
            for bf16 in (False, True):
                name = f"{network}, {' x '.join(map(str, shape))}, {'bf16' if bf16 else 'fp32'}"
                ours, baseline = (lazily(step_with, kind, network, shape, bf16) for kind in (LAYERS, torch_layers))
                yield Comparison(name, ours, baseline)
