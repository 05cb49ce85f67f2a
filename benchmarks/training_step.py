"""One training step of our models, without the trainer around it."""

from collections.abc import Callable

import torch


def training_step(model: torch.nn.Module, images: torch.Tensor, bf16: bool = False) -> Callable[[], None]:
    """Return a function that makes one training step as `GAETrainer` does by default.

    Args:
        model: a model of gae_hub. It is set to training mode and to the channels_last memory format.
        images: (batch, *input_shape), used in every step.
        bf16: run the forward pass under bf16 autocast.
    """
    model.train().to(memory_format=torch.channels_last)
    groups = [{"params": parameters} for parameters in model.parameter_groups().values()]
    optimizer = torch.optim.Adam(groups, lr=1e-4, fused=True)

    def step():
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            loss = model(images).loss
        loss.backward()
        model.before_optimizer_step()
        optimizer.step()
        optimizer.zero_grad()

    return step
