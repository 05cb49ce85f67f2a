"""A small classifier, trained on the data set itself, whose features describe its images better than Inception's."""

__all__ = ["FeatureClassifier", "FeatureClassifierConfig"]

from pathlib import Path
from typing import Any

import torch.nn.functional as F
from huggingface_hub import ModelCardData
from huggingface_hub.dataclasses import strict
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel

from ...core.configuration import StrictConfig
from ...core.hub_model import HubModel
from ...hub.cards.escaping import code, escape
from ...hub.cards.facts import is_hub_dataset
from ...hub.cards.license import choose_license
from ...hub.cards.merging import BEGIN, END, write_merged
from ...hub.cards.render import card_name
from ...modules.inputs import check_values

MIN_SKILL = 0.5
"""Smallest (accuracy - guessing) / (1 - guessing) without a warning: half of the errors of guessing are avoided.

Measured on the digits data: in the features of classifiers below 0.2, the FID of real images that lack half of the
classes is 2 to 6 times that of as many images of all classes; with random weights, 2 to 3 times; above 0.78, 10 to 14.
"""

REMEDY = "train it for longer (--num_train_epochs) or on more images"
"""How to improve the accuracy of an extractor that `gae-hub train-extractor` trains."""

RECORD_FIELDS = (
    "dataset",
    "dataset_split",
    "num_train_examples",
    "input_shape",
    "num_classes",
    "accuracy",
    "guessing_accuracy",
    "eval_split",
    "num_eval_examples",
)


@strict
class FeatureClassifierConfig(StrictConfig):
    """Config of [`FeatureClassifier`].

    Args:
        image_size: height and width that images are resized to.
        num_channels: channels of the images, 1 or 3.
        num_classes: number of classes of the data set, at least 2.
        channels: output channels of the convolutions. All but the first have stride 2.
        feature_dim: size of the features, which the last layer classifies.
        dataset: name of the data set it was trained on.
        dataset_origin: where that was read from: "hub", "local", "library" or "memory".
        dataset_split: name of the split it was trained on.
        num_train_examples: number of labelled images it was trained on.
        input_shape: (channels, height, width) of these images.
        label_names: names of the classes, if the data set has them.
        accuracy: accuracy on held-out images, if there were any.
        guessing_accuracy: proportion of the most frequent class of these images, the accuracy of guessing.
        eval_split: name of the split of these images.
        num_eval_examples: number of these images.

    The fields from `dataset` on record the training. None means unknown, as in checkpoints that lack the record.
    """

    model_type = "gae_feature_classifier"

    image_size: int = 28
    num_channels: int = 1
    num_classes: int = 10
    channels: list[int] | tuple[int, ...] = (32, 64, 128)
    feature_dim: int = 128
    dataset: str | None = None
    dataset_origin: str | None = None
    dataset_split: str | None = None
    num_train_examples: int | None = None
    input_shape: list[int] | tuple[int, ...] | None = None
    label_names: list[str] | tuple[str, ...] | None = None
    accuracy: float | None = None
    guessing_accuracy: float | None = None
    eval_split: str | None = None
    num_eval_examples: int | None = None

    def validate_sizes(self):
        self.require_positive("image_size", "num_channels", "num_classes", "channels", "feature_dim")
        if self.num_classes < 2:
            raise ValueError(f"num_classes must be 2 or more, got {self.num_classes}")

    def training_record(self) -> dict[str, Any]:
        """What the classifier was trained on and how well it classifies, for passports. None means unknown."""
        record = {name: getattr(self, name) for name in RECORD_FIELDS}
        return record | {"input_shape": None if self.input_shape is None else list(self.input_shape)}

    def find_accuracy_problem(self, remedy: str = REMEDY) -> str | None:
        """What makes the features meaningless for metrics as far as the accuracy tells, with the remedy; or None.

        Args:
            remedy: how to improve the accuracy, in the words of the caller's settings.
        """
        if self.accuracy is None:
            return (
                "its config records no accuracy on held-out images, so whether its features describe images is "
                "unknown; train it again with gae-hub train-extractor, or train_extractor(dataset, eval_dataset), "
                "which record it"
            )
        guessing = 1 / self.num_classes if self.guessing_accuracy is None else self.guessing_accuracy
        if guessing < 1 and (self.accuracy - guessing) / (1 - guessing) < MIN_SKILL:
            return (
                f"it classifies {self.accuracy:.1%} of the held-out images, and always guessing the most frequent of "
                f"{self.num_classes} classes {guessing:.1%}: its features hardly describe images, so numbers computed "
                f"from them say little; {remedy}"
            )
        return None


class FeatureClassifier(HubModel):
    """Convolutions with batch normalisation, an average pool to 2 x 2, a feature layer, and a linear classifier."""

    config_class = FeatureClassifierConfig
    config: FeatureClassifierConfig
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

    def extract_features(self, pixel_values: Tensor) -> Tensor:
        """(batch, feature_dim) features of images in [0, 1], (batch, num_channels, height, width) of any size."""
        size = self.config.image_size
        if tuple(pixel_values.shape[-2:]) != (size, size):
            pixel_values = F.interpolate(
                pixel_values, (size, size), mode="bilinear", antialias=True, align_corners=False
            )
        return F.relu(self.to_features(self.trunk(2 * pixel_values - 1)))

    def forward(
        self, pixel_values: Tensor, labels: Tensor | None = None, return_loss: bool = True
    ) -> dict[str, Tensor]:
        """`logits` (batch, num_classes) and, with `labels` (batch,), the cross-entropy as `loss`."""
        check_values(pixel_values)
        logits = self.head(self.extract_features(pixel_values))
        return ({"loss": F.cross_entropy(logits, labels)} if labels is not None else {}) | {"logits": logits}

    def write_card(self, folder, repo_id: str | None = None, show: bool = False):
        """Write the card, README.md: what the classifier is, and how to measure with it. Text around it is kept.

        Args:
            folder: folder of the saved classifier.
            repo_id: Hub repository; by default the snippet names the folder.
            show: ignored, because this card has no pictures.
        """
        config, name = self.config, card_name(repo_id or Path(folder).resolve().name)
        metadata = ModelCardData(
            license=choose_license(self, Path(folder)),  # pyright: ignore[reportArgumentType] (the Hub accepts lists)
            library_name="gae-hub",
            pipeline_tag="image-classification",
            tags=["gae-hub", "feature-extractor"],
            datasets=[config.dataset]
            if config.dataset and is_hub_dataset(config.dataset, config.dataset_origin)
            else None,
        )
        accuracy = "" if config.accuracy is None else f" Its accuracy on held-out images is {config.accuracy:.2%}"
        if config.guessing_accuracy is not None:
            accuracy += f"; guessing the most frequent class has {config.guessing_accuracy:.2%}"
        accuracy += "." if accuracy else ""
        data = code(config.dataset) if config.dataset else "a data set"
        if config.num_train_examples and config.input_shape:
            size = " x ".join(map(str, config.input_shape))
            data += f" ({config.num_train_examples:,} images of {size})"
        card = (
            f"---\n{metadata.to_yaml()}\n---\n\n{BEGIN}\n\n# {escape(name)}\n\nA classifier of {config.num_classes} "
            f"classes, trained on {data} as a feature extractor for metrics."
            f'{accuracy}\n\n```python\nimport gae_hub\n\nfid = gae_hub.metrics.load(\n    "fid", '
            f'feature_extractor="{name}"\n)\n```\n\n{END}\n'
        )
        write_merged(Path(folder) / "README.md", card)


AutoConfig.register(FeatureClassifierConfig.model_type, FeatureClassifierConfig, exist_ok=True)
AutoModel.register(FeatureClassifierConfig, FeatureClassifier, exist_ok=True)
