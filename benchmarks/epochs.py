"""Epochs over images of MNIST's shape by the trainers of both libraries, with data loading: an MLP, batches of 100.

Both trainers receive the images in memory, ours as uint8 and Pythae's as floats. Neither evaluates or saves a
checkpoint during the epoch. Each saves its model at the end.
"""

from collections.abc import Callable, Iterator
from tempfile import TemporaryDirectory

import torch
from pythae.data.datasets import BaseDataset
from pythae.trainers import BaseTrainer, BaseTrainerConfig

from gae_hub import GAETrainer, GAETrainingArguments
from gae_hub.data.datasets import InMemoryDataset

from .comparison import Comparison, lazily
from .models import BATCH_SIZE, INPUT_SHAPE, our_model, pythae_model

TITLE, SIDES = "epoch with data loading", ("gae_hub", "Pythae, fp32")


def our_epoch(method: str, images: torch.Tensor) -> Callable[[], None]:
    """Return a function that trains our model for one epoch on uint8 images."""
    data, model = InMemoryDataset(images), our_model(method, "mlp")

    def epoch():
        with TemporaryDirectory() as folder:
            arguments = GAETrainingArguments(
                folder,
                num_train_epochs=1,
                per_device_train_batch_size=BATCH_SIZE,
                learning_rate=1e-4,
                eval_strategy="no",
                save_strategy="no",
                report_to="none",
                disable_tqdm=True,
                use_cpu=True,
            )
            trainer = GAETrainer(model, arguments, train_dataset=data)
            trainer.train()
            trainer.save_model()

    return epoch


def pythae_epoch(method: str, images: torch.Tensor) -> Callable[[], None]:
    """Return a function that trains Pythae's model for one epoch on the same images as floats."""
    data, model = BaseDataset(images.float() / 255, torch.zeros(len(images))), pythae_model(method, "mlp")

    def epoch():
        with TemporaryDirectory() as folder:
            arguments = BaseTrainerConfig(
                output_dir=folder,
                num_epochs=1,
                per_device_train_batch_size=BATCH_SIZE,
                learning_rate=1e-4,
                no_cuda=True,
            )
            BaseTrainer(model, data, training_config=arguments).train()

    return epoch


def comparisons() -> Iterator[Comparison]:
    images = torch.randint(0, 256, (50_000, *INPUT_SHAPE), dtype=torch.uint8)
    for method in ("vae", "ae"):
        for count, target in ((5_000, None), (50_000, 0.70)):
            ours, baseline = (lazily(make, method, images[:count]) for make in (our_epoch, pythae_epoch))
            yield Comparison(f"mlp, {method}, {count:,} images", ours, baseline, target)
