"""Training of a `FeatureClassifier` on a labelled data set."""

__all__ = ["train_extractor"]

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from transformers import PrinterCallback, Trainer, TrainingArguments
from transformers.utils import logging

from ...data.loading import as_dataset
from .classifier import REMEDY, FeatureClassifier, FeatureClassifierConfig

logger = logging.get_logger(__name__)


def train_extractor(
    dataset: Any,
    eval_dataset: Any = None,
    num_train_epochs: float = 10,
    learning_rate: float = 2e-3,
    batch_size: int = 128,
    seed: int = 0,
    progress: bool = True,
    remedy: str = REMEDY,
    **fields: Any,
) -> FeatureClassifier:
    """Train a classifier on labelled images, with the Trainer of transformers.

    The config records data set, split, number and shape of the images, classes, and the accuracy on held-out images.
    Without `eval_dataset`, or if the accuracy is close to that of guessing, a warning is logged.

    The random states of Python, NumPy and PyTorch (CPU and CUDA) are restored afterwards.

    Args:
        dataset: labelled images, as [`load_images`] returns or accepts them.
        eval_dataset: held-out images of the same classes, to measure the accuracy on.
        num_train_epochs: number of passes over the images.
        learning_rate: initial learning rate of AdamW; a cosine schedule reduces it to 0.
        batch_size: images in a batch.
        seed: seed of the initial weights and the order of the images.
        progress: show a progress bar.
        remedy: how to improve the accuracy, which the warning about a low one ends with.
        **fields: fields of [`FeatureClassifierConfig`].

    Raises:
        ValueError: if the data set has no labels, or its examples are not images.
    """
    images: Any = as_dataset(dataset)
    name, labels = getattr(images, "name", None), getattr(images, "labels", None)
    if labels is None or not (labels >= 0).any():
        raise ValueError(f"'{name or 'the data set'}' has no labels; an extractor is trained on labelled images")
    if len(images.input_shape) != 3:
        raise ValueError(
            f"an extractor is trained on images (channels, height, width), but '{name or 'the data set'}' has "
            f"input_shape {images.input_shape}"
        )
    classes = labels[labels >= 0].unique()
    channels, *size = images.input_shape
    train_dataset, label_names = _LabelledImages(images, classes), getattr(images, "label_names", None)
    record = {
        "dataset": name,
        "dataset_origin": images.origin,
        "dataset_split": images.split,
        "num_train_examples": len(train_dataset),
        "input_shape": list(images.input_shape),
        "label_names": [label_names[index] for index in classes] if label_names else None,
    }
    fields = {"image_size": max(size), "num_channels": channels, "num_classes": len(classes), **record, **fields}
    with TemporaryDirectory() as folder, _restore_random_state():
        torch.manual_seed(seed)
        model = FeatureClassifier(FeatureClassifierConfig(**fields))
        args = TrainingArguments(
            folder,
            num_train_epochs=num_train_epochs,
            learning_rate=learning_rate,
            per_device_train_batch_size=batch_size,
            lr_scheduler_type="cosine",
            weight_decay=1e-2,
            save_strategy="no",
            logging_strategy="epoch",
            report_to="none",
            seed=seed,
            disable_tqdm=not progress,
            remove_unused_columns=False,
            dataloader_pin_memory=torch.accelerator.is_available(),
        )
        trainer = Trainer(model, args, data_collator=_collate, train_dataset=train_dataset)
        trainer.remove_callback(PrinterCallback)
        trainer.train()
        model.eval()
        if eval_dataset is not None:
            held_out = _LabelledImages(as_dataset(eval_dataset), classes)
            model.config.accuracy = _compute_accuracy(model, held_out)
            model.config.guessing_accuracy = int(held_out.labels.bincount().max()) / len(held_out)
            model.config.eval_split, model.config.num_eval_examples = held_out.images.split, len(held_out)
    problem = model.config.find_accuracy_problem(remedy)
    if problem:
        logger.warning(f"the extractor was trained, but {problem}")
    return model


@contextmanager
def _restore_random_state() -> Iterator[None]:
    """Restore the random states of Python, NumPy and PyTorch (CPU and CUDA) at the end of the context."""
    python_state, numpy_state = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(range(torch.cuda.device_count())):
            yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)


class _LabelledImages(Dataset):
    """Batches of `pixel_values` and `labels`, with classes as indices. Images without a label are left out."""

    def __init__(self, images: Any, classes: Tensor):
        self.images, self.rows = images, (images.labels >= 0).nonzero().squeeze(1)
        self.labels = torch.searchsorted(classes, images.labels[self.rows])

    def __len__(self) -> int:
        return len(self.rows)

    def __getitems__(self, indices: Sequence[int]) -> dict[str, Tensor]:
        chosen = torch.as_tensor(indices)
        return {"pixel_values": self.images.read(self.rows[chosen].tolist()), "labels": self.labels[chosen]}


def _collate(batch: Any) -> Any:
    return batch  # `__getitems__` returns whole batches


@torch.no_grad()
def _compute_accuracy(model: FeatureClassifier, images: _LabelledImages, batch_size: int = 500) -> float:
    """Proportion of images whose class the model predicts."""
    correct = 0
    for batch in DataLoader(images, batch_size, collate_fn=_collate):
        predicted = model(batch["pixel_values"].to(model.device))["logits"].argmax(1)
        correct += int((predicted.cpu() == batch["labels"]).sum())
    return correct / len(images)
