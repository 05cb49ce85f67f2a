"""Grids of reconstructions and samples during training, written to disk and sent to trackers."""

__all__ = ["ImageCallback"]

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import TrainerCallback

from ..images.grids import image_grid, reconstruction_grid, save_picture
from ..images.processing import is_image_shape
from .base_trainer import BaseTrainer
from .callbacks import TrainerAwareCallback
from .checkpointing import fixed_seed

# by transformers' callback of a tracker: sends (callback, name, image, step)
_SENDERS: dict[str, Callable[[Any, str, Image.Image, int], Any]] = {
    "TensorBoardCallback": lambda c, name, image, step: c.tb_writer.add_image(
        name, np.asarray(image.convert("RGB")), step, dataformats="HWC"
    ),
    "WandbCallback": lambda c, name, image, step: c._wandb.log(
        {name: c._wandb.Image(image), "train/global_step": step}
    ),
    "TrackioCallback": lambda c, name, image, step: c._trackio.log(
        {name: c._trackio.Image(image), "train/global_step": step}
    ),
    "MLflowCallback": lambda c, name, image, step: c._ml_flow.log_image(image, key=name.replace("/", "_"), step=step),
    "CometCallback": lambda c, name, image, step: c._experiment.log_image(image, name=name, step=step),
    "ClearMLCallback": lambda c, name, image, step: c._clearml_task.get_logger().report_image(
        *name.split("/"), iteration=step, image=image
    ),
    "SwanLabCallback": lambda c, name, image, step: c._swanlab.log({name: c._swanlab.Image(image)}, step=step),
}


def _send_image(callbacks: list[TrainerCallback], name: str, image: Image.Image, step: int):
    """Send an image to every tracker among a trainer's callbacks."""
    for callback in callbacks:
        send = _SENDERS.get(type(callback).__name__)
        if send is not None:
            send(callback, name, image, step)


class ImageCallback(TrainerAwareCallback):
    """Draws a grid of reconstructions and a grid of samples at every `interval`-th evaluation.

    The grids are written to assets/progress/ in output_dir, named by step, and sent to the trackers. All grids show
    the same images with the same noise. Drawing does not change the random state of training.

    Args:
        trainer: its model is drawn, with images of the evaluated data set.
        interval: number of evaluations from one drawing to the next.
    """

    def __init__(self, trainer: BaseTrainer, interval: int):
        super().__init__(trainer)
        self.interval = interval

    def on_evaluate(self, args, state, control, eval_dataloader: Any = None, **kwargs):
        model = self.trainer.plain_model
        num_evaluations = sum("eval_loss" in entry for entry in state.log_history)
        is_due = num_evaluations % self.interval == 0 and state.is_world_process_zero
        if not is_due or not is_image_shape(getattr(model.config, "input_shape", ())):
            return
        with self.trainer.averaged_weights(), fixed_seed(args.seed, args.device):
            images = self.trainer.first_images(eval_dataloader.dataset, 24).to(model.device)
            grids = {"reconstructions": reconstruction_grid(images, model.reconstruct(images))}
            try:
                samples = model.generate(36, generator=torch.Generator().manual_seed(args.seed))
            except NotImplementedError:  # the method has no prior: a sampler is fitted after training
                pass
            else:
                grids["samples"] = image_grid(samples.cpu(), title="New images")
        folder = Path(args.output_dir) / "assets" / "progress"
        for name, grid in grids.items():
            save_picture(grid, folder / f"{name}-{state.global_step:08d}.png")
            _send_image(self.trainer.callback_handler.callbacks, f"images/{name}", grid, state.global_step)
