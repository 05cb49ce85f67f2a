"""Pictures of reconstructions and samples during training, written to disk and sent to trackers."""

__all__ = ["ImageCallback"]

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import TrainerCallback

from ..data.batches import move
from ..data.class_labels import repeat_conditions
from ..images.examples import can_draw, draw_reconstructions, draw_samples, kind_of, num_to_draw
from ..images.grids import save_picture
from ..images.processing import GAEImageProcessor
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
    """Draws reconstructions and samples at every `interval`-th evaluation: images, signals, volumes or tables.

    The pictures are written to assets/progress/ in output_dir, named by step, and sent to the trackers. All pictures
    show the same examples with the same noise. Drawing does not change the random state of training.

    Args:
        trainer: its model is drawn, with examples of the evaluated data set.
        interval: number of evaluations from one drawing to the next.
    """

    def __init__(self, trainer: BaseTrainer, interval: int):
        super().__init__(trainer)
        self.interval = interval

    def on_evaluate(self, args, state, control, eval_dataloader: Any = None, **kwargs):
        model = self.trainer.plain_model
        num_evaluations = sum("eval_loss" in entry for entry in state.log_history)
        is_due = num_evaluations % self.interval == 0 and state.is_world_process_zero
        shape = getattr(model.config, "input_shape", ())
        if not is_due or not can_draw(shape):
            return
        processor = self.trainer.processing_class
        if not isinstance(processor, GAEImageProcessor):
            processor = GAEImageProcessor.for_model(model)
        restore, names = processor.restore, processor.column_names
        with self.trainer.averaged_weights(), fixed_seed(args.seed, args.device):
            batch = move(self.trainer.first_examples(eval_dataloader.dataset, num_to_draw(shape, 24)), model.device)
            originals, reconstructions = (
                restore(batch["pixel_values"].cpu()),
                restore(model.reconstruct(**batch).cpu()),
            )
            pictures = {"reconstructions": draw_reconstructions(originals, reconstructions, names)}
            try:
                num, generator = num_to_draw(shape, 36), torch.Generator().manual_seed(args.seed)
                conditions = repeat_conditions(model, batch.get("class_labels"), num)
                samples = model.generate(num, generator=generator, class_labels=conditions)
            except NotImplementedError:  # the method has no prior: a sampler is fitted after training
                pass
            else:
                pictures["samples"] = draw_samples(restore(samples.cpu()), f"New {kind_of(shape)}", originals, names)
        folder = Path(args.output_dir) / "assets" / "progress"
        for name, picture in pictures.items():
            save_picture(picture, folder / f"{name}-{state.global_step:08d}.png")
            _send_image(self.trainer.callback_handler.callbacks, f"images/{name}", picture, state.global_step)
