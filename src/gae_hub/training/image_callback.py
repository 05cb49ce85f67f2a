"""Reconstructions and new images while a model is trained: on disk, and in every tracker that takes images."""

__all__ = ["ImageCallback", "send"]

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from transformers import TrainerCallback

from ..data.loading import iterate_batches
from ..images.grids import image_grid, reconstruction_grid
from ..images.processing import is_image_shape
from .callbacks import ServingCallback
from .checkpointing import fixed_seed

# transformers' callback of a tracker, and how it takes a picture
SENDERS = {
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


def send(callbacks: list[TrainerCallback], name: str, image: Image.Image, step: int):
    """Give a picture to every tracker among a trainer's callbacks."""
    for callback in callbacks:
        sender = SENDERS.get(type(callback).__name__)
        if sender is not None:
            sender(callback, name, image, step)


class ImageCallback(ServingCallback):
    """At every `interval`-th evaluation, a grid of reconstructions and one of new images.

    They lie in assets/progress/ of output_dir, by step, and go to the trackers. Nothing of the training's randomness
    is used up, and each picture has the same images and the same noise.

    Args:
        trainer: whose model, evaluation data and trackers are meant.
        interval: see above.
    """

    def __init__(self, trainer, interval: int):
        super().__init__(trainer)
        self.interval = interval

    def on_evaluate(self, args, state, control, eval_dataloader=None, **kwargs):
        model, count = self.trainer.plain_model, sum("eval_loss" in entry for entry in state.log_history)
        due = count % self.interval == 0 and state.is_world_process_zero
        if not due or not is_image_shape(getattr(model.config, "input_shape", ())):
            return
        with self.trainer.averaged(), fixed_seed(args.seed, args.device):
            images = next(iterate_batches(eval_dataloader.dataset, 24)).to(model.device)
            grids = {"reconstructions": reconstruction_grid(images, model.reconstruct(images))}
            try:
                drawn = model.generate(36, generator=torch.Generator().manual_seed(args.seed))
            except NotImplementedError:  # no prior: a sampler is fitted afterwards
                pass
            else:
                grids["samples"] = image_grid(drawn.cpu(), title="New images")
        folder = Path(args.output_dir) / "assets" / "progress"
        folder.mkdir(parents=True, exist_ok=True)
        for name, grid in grids.items():
            grid.save(folder / f"{name}-{state.global_step:08d}.png")
            send(self.trainer.callback_handler.callbacks, f"images/{name}", grid, state.global_step)
