"""A small classifier trained on the data set itself, for features that say more about its images than Inception's."""

__all__ = ["FeatureClassifier", "FeatureClassifierConfig", "train_extractor"]

from pathlib import Path
from tempfile import TemporaryDirectory

import torch
import torch.nn.functional as F
from huggingface_hub import ModelCardData
from huggingface_hub.dataclasses import strict
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, PrinterCallback, Trainer, TrainingArguments

from ...core.configuration import StrictConfig
from ...core.hub_model import HubModel
from ...data.loading import as_image_dataset
from ...hub.cards.facts import is_repo_id, sanitize
from ...hub.cards.merging import BEGIN, END, write_merged
from ...hub.cards.render import card_name
from ...modules.inputs import check_values


@strict
class FeatureClassifierConfig(StrictConfig):
    """
    Args:
        image_size: edge length that images are resized to.
        num_channels: 1 or 3.
        num_classes: classes of the data set.
        channels: of the convolutions, each of which halves the image, except the first.
        feature_dim: size of the features, which the last layer classifies.
        dataset: what it was trained on.
        accuracy: on images that it has not seen, if there were any.
    """

    model_type = "gae_feature_classifier"

    image_size: int = 28
    num_channels: int = 1
    num_classes: int = 10
    channels: list[int] | tuple[int, ...] = (32, 64, 128)
    feature_dim: int = 128
    dataset: str | None = None
    accuracy: float | None = None

    def validate_sizes(self):
        self.require_positive("image_size", "num_channels", "num_classes", "channels", "feature_dim")
        if self.num_classes < 2:
            raise ValueError(f"num_classes must be 2 or more, got {self.num_classes}")


class FeatureClassifier(HubModel):
    """Convolutions with batch normalisation, an average over the image, features, and a linear layer."""

    config_class = FeatureClassifierConfig
    base_model_prefix = "classifier"
    main_input_name = "pixel_values"
    accepts_loss_kwargs = False

    def __init__(self, config: FeatureClassifierConfig):
        super().__init__(config)
        layers, width = [], config.num_channels
        for index, channels in enumerate(config.channels):
            conv = nn.Conv2d(width, channels, 3, 2 if index else 1, 1, bias=False)
            layers += [conv, nn.BatchNorm2d(channels), nn.ReLU()]
            width = channels
        self.trunk = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(2), nn.Flatten())
        self.to_features = nn.Linear(4 * width, config.feature_dim)
        self.head = nn.Linear(config.feature_dim, config.num_classes)
        self.post_init()

    def features(self, pixel_values: Tensor) -> Tensor:
        """(batch, feature_dim) of images in [0, 1] of any size."""
        size = self.config.image_size
        if tuple(pixel_values.shape[-2:]) != (size, size):
            pixel_values = F.interpolate(
                pixel_values, (size, size), mode="bilinear", antialias=True, align_corners=False
            )
        return F.relu(self.to_features(self.trunk(2 * pixel_values - 1)))

    def forward(self, pixel_values: Tensor, labels: Tensor | None = None, return_loss: bool = True):
        check_values(pixel_values)
        logits = self.head(self.features(pixel_values))
        return ({"loss": F.cross_entropy(logits, labels)} if labels is not None else {}) | {"logits": logits}

    def write_card(self, folder, repo_id: str | None = None, show: bool = False):
        """Write README.md: what it is, and how to measure with it. What a person wrote around it stays.

        Args:
            folder: where it was saved.
            repo_id: the Hub repository; without it the name of the folder stands in the snippet.
            show: as for models, whose cards have pictures; this one has none.
        """
        config, name = self.config, card_name(repo_id or Path(folder).resolve().name)
        metadata = ModelCardData(
            library_name="gae-hub",
            pipeline_tag="image-classification",
            tags=["gae-hub", "feature-extractor"],
            datasets=[config.dataset] if is_repo_id(config.dataset) else None,
        )
        known = "" if config.accuracy is None else f" It knows {config.accuracy:.2%} of images that it has not seen."
        card = (
            f"---\n{metadata.to_yaml()}\n---\n\n{BEGIN}\n\n# {name}\n\nA classifier of {config.num_classes} "
            f"classes, trained on `{sanitize(config.dataset or 'a data set')}` as an extractor of features.{known}"
            f'\n\n```python\nimport gae_hub\n\nfid = gae_hub.metrics.load(\n    "fid", feature_extractor="{name}"\n)'
            f"\n```\n\n{END}\n"
        )
        write_merged(Path(folder) / "README.md", card)


AutoConfig.register(FeatureClassifierConfig.model_type, FeatureClassifierConfig, exist_ok=True)
AutoModel.register(FeatureClassifierConfig, FeatureClassifier, exist_ok=True)


def train_extractor(
    dataset,
    eval_dataset=None,
    num_train_epochs: float = 10,
    learning_rate: float = 2e-3,
    batch_size: int = 128,
    seed: int = 0,
    progress: bool = True,
    **fields,
) -> FeatureClassifier:
    """Train a classifier on labelled images, by transformers' Trainer.

    Args:
        dataset: labelled images, from [`load_images`].
        eval_dataset: others, for the accuracy that its config records.
        num_train_epochs, learning_rate, batch_size: of AdamW, with a learning rate that falls to 0.
        seed: of the weights and the order of the images.
        progress: show a progress bar.
        **fields: of [`FeatureClassifierConfig`].

    Raises:
        ValueError: if the images have no labels, or are no images.
    """
    dataset = as_image_dataset(dataset)
    labels = getattr(dataset, "labels", None)
    if labels is None:
        raise ValueError(f"'{getattr(dataset, 'name', 'the data set')}' has no labels, which a classifier learns from")
    if len(dataset.input_shape) != 3:
        raise ValueError(f"an extractor is for images, but '{dataset.name}' has input_shape {dataset.input_shape}")
    classes = labels.unique()
    channels, *size = dataset.input_shape
    torch.manual_seed(seed)
    fields = {"image_size": max(size), "num_channels": channels, "num_classes": len(classes), **fields}
    model = FeatureClassifier(FeatureClassifierConfig(dataset=dataset.name, **fields))
    with TemporaryDirectory() as folder:
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
        trainer = Trainer(model, args, data_collator=_collate, train_dataset=_Labelled(dataset, classes))
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    model.eval()
    if eval_dataset is not None:
        model.config.accuracy = accuracy(model, _Labelled(as_image_dataset(eval_dataset), classes))
    return model


@torch.no_grad()
def accuracy(model: FeatureClassifier, dataset: "_Labelled", batch_size: int = 500) -> float:
    """Share of the images whose class the model finds."""
    right = 0
    for batch in torch.utils.data.DataLoader(dataset, batch_size, collate_fn=_collate):
        found = model(batch["pixel_values"].to(model.device))["logits"].argmax(1)
        right += (found.cpu() == batch["labels"]).sum()
    return float(right) / len(dataset)


class _Labelled(torch.utils.data.Dataset):
    """Images with their classes as indices."""

    def __init__(self, dataset, classes: Tensor):
        self.dataset, self.labels = dataset, torch.searchsorted(classes, dataset.labels)

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitems__(self, indices) -> dict[str, Tensor]:
        return {**self.dataset.__getitems__(indices), "labels": self.labels[torch.as_tensor(indices)]}


def _collate(batch: dict[str, Tensor]) -> dict[str, Tensor]:
    return batch  # the data set has made it whole
