"""One epoch over 50,000 images of MNIST's shape by both trainers, data and all: an MLP's VAE, batches of 100.

Both get the images in memory, ours as uint8 and Pythae's as the floats that it takes. Neither evaluates or keeps a
checkpoint meanwhile; each writes its model at the end.
"""

import logging
from tempfile import TemporaryDirectory

import torch
from pythae.data.datasets import BaseDataset
from pythae.trainers import BaseTrainer, BaseTrainerConfig
from transformers.utils import logging as hf_logging

from gae_hub import GAETrainer, GAETrainingArguments
from gae_hub.data.datasets import ImageDataset

from .comparison import Comparison
from .steps import BATCH, SHAPE, our_model, peer_model

TITLE, PEER = "epoch with its data", "Pythae, fp32"


def our_epoch(name: str, network: str, images: torch.Tensor):
    data, model = ImageDataset(images), our_model(name, network)

    def epoch():
        with TemporaryDirectory() as folder:
            arguments = GAETrainingArguments(
                folder,
                num_train_epochs=1,
                per_device_train_batch_size=BATCH,
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


def peer_epoch(name: str, network: str, images: torch.Tensor):
    data, model = BaseDataset(images.float() / 255, torch.zeros(len(images))), peer_model(name, network)

    def epoch():
        with TemporaryDirectory() as folder:
            arguments = BaseTrainerConfig(
                output_dir=folder,
                num_epochs=1,
                per_device_train_batch_size=BATCH,
                learning_rate=1e-4,
                no_cuda=True,
            )
            BaseTrainer(model, data, training_config=arguments).train()

    return epoch


def comparisons():
    logging.getLogger("pythae").setLevel(logging.ERROR)
    hf_logging.set_verbosity_error()
    images = torch.randint(0, 256, (50_000, *SHAPE), dtype=torch.uint8)
    for name in ("vae", "ae"):
        for count in (5_000, 50_000):
            target = 0.70 if count == 50_000 else None
            part = images[:count]
            yield Comparison(
                f"mlp, {name}, {count:,} images", our_epoch(name, "mlp", part), peer_epoch(name, "mlp", part), target
            )
