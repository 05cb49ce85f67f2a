"""Extractors: networks that turn images into the features that FID and related metrics compare."""

__all__ = [
    "ClassifierExtractor",
    "Extractor",
    "ExtractorSource",
    "InceptionExtractor",
    "TransformersExtractor",
    "load_extractor",
]

import hashlib
import reprlib
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AutoModel, PreTrainedModel
from transformers.utils import logging

from ...core.argument_checks import describe
from ...core.checkpoint_checks import read_config
from ...core.hub_files import fetch_file
from ...core.json_files import read_json_object
from ...data.caches import hash_network, hash_tensors
from ..functional.image_batches import as_uint8
from .classifier import REMEDY, FeatureClassifier, FeatureClassifierConfig
from .downloads import load_published_weights
from .inception import PUBLISHED_SHA256, PUBLISHED_URL, RESIZES, InceptionV3, preprocess

logger = logging.get_logger(__name__)


class Extractor:
    """Base of all extractors: a network in eval mode, and its description for passports.

    Images are converted to 8 bits first, as image files store them, so that both sides of a comparison have the same
    precision. Grey images are repeated to three channels where the network expects colour.

    A subclass implements `prepare(images)`, from uint8 (batch, channels, height, width) to the network's input, and
    `extract(inputs)`, from there to (batch, dim) features.

    Args:
        network: the module. It is put into eval mode, and its parameters require no gradients.
        name: name for passports and messages.
        resize: how images are resized and scaled, in words.
    """

    network: nn.Module
    head: nn.Linear | None = None  # from features to logits, if the network is a classifier

    def __init__(self, network: nn.Module, name: str, resize: str):
        self.network, self.name, self.resize = network.eval().requires_grad_(False), name, resize
        self._recent: dict[Hashable, Tensor] = {}

    @property
    def sha256(self) -> str:
        """SHA-256 of the network's tensors, for passports."""
        return hash_tensors(self.network.state_dict())

    @property
    def training_record(self) -> dict[str, Any]:
        """What the network was trained on and how well, for passports; empty if the network has no record."""
        return {}

    @property
    def cache_key(self) -> str | None:
        """SHA-256 of everything that determines the features, or None, for example for a custom extractor.

        Features may be cached under this key; without one they must be computed each time. See `hash_network`.
        """
        return hash_network(self.network, self)

    @property
    def parameter(self) -> Tensor:
        """A parameter of the network, for its device and dtype."""
        return next(self.network.parameters())

    def to(self, device: str | torch.device) -> "Extractor":
        """Move the network to a device. Returns this object."""
        self.network.to(device)
        return self

    def __call__(self, images: Any, argument: str = "images", first_row: int = 0) -> Tensor:
        """(num, dim) features.

        The features of the last two batches are kept, because several metrics ask for the same batches in turn.

        Args:
            images: uint8, or floats in [0, 1], of any size, grey or in colour. Images in a list may differ in size.
            argument: the argument and the metric, for the error about values that are not finite.
            first_row: number of the first image, for the same error.
        """
        if isinstance(images, (list, tuple)) and len(images) > 1:
            batches = [as_uint8([image], argument, first_row + row) for row, image in enumerate(images)]
            if len({batch.shape for batch in batches}) > 1:
                return torch.cat([self._cached_features(batch) for batch in batches])
            return self._cached_features(torch.cat(batches))
        return self._cached_features(as_uint8(images, argument, first_row))

    @torch.no_grad()
    def _cached_features(self, images: Tensor) -> Tensor:
        content = images.cpu().contiguous().numpy().data
        digest = hashlib.blake2b(content, key=repr(tuple(images.shape)).encode()[:64]).digest()
        key = digest, self._describe_state()
        if key not in self._recent:
            if len(self._recent) > 1:
                self._recent.pop(next(iter(self._recent)))
            self._recent[key] = self.extract(self.prepare(images.to(self.parameter.device)))
        return self._recent[key]

    def _describe_state(self) -> Hashable:
        """What the features depend on besides the images, as far as it can change while the extractor is in use."""
        settings = {name: value for name, value in vars(self).items() if not isinstance(value, nn.Module)}
        settings.pop("_recent")
        # a tensor counts the changes of its values
        tensors = (*self.network.parameters(), *self.network.buffers())
        return repr(settings), tuple((tensor.data_ptr(), tensor._version) for tensor in tensors)

    def prepare(self, images: Tensor) -> Tensor:
        """Input of the network, from (batch, channels, height, width) uint8."""
        raise NotImplementedError

    def extract(self, inputs: Tensor) -> Tensor:
        """(batch, dim) features, from the output of `prepare`."""
        raise NotImplementedError

    @torch.no_grad()
    def compute_logits(self, features: Tensor) -> Tensor:
        """(num, num_classes) logits for (num, dim) features.

        Raises:
            ValueError: if the network is not a classifier.
        """
        if self.head is None:
            raise ValueError(
                f"the extractor '{self.name}' has no classes, which Inception Score and class_accuracy need; use "
                "'inception', or a classifier from gae-hub train-extractor"
            )
        return F.linear(features, self.head.weight, self.head.bias)


INCEPTION_REMEDY = (
    "pass its path, load_extractor('inception', weights=PATH) or --weights PATH; or choose another extractor, such as "
    "a vision model of transformers or a classifier from gae-hub train-extractor"
)


class InceptionExtractor(Extractor):
    """TensorFlow's Inception of 2015-12-05, which defines FID and Inception Score: 2048 features, 1008 classes.

    Args:
        weights: published file, or its URL; the SHA-256 is verified. The default downloads it once.
        resize: "tensorflow", as the paper's TTUR code and torch-fidelity do, or "pytorch", as pytorch-fid does.

    Raises:
        ValueError: if `resize` is another name, or `weights` is another file.
        OSError: if the weights do not exist or cannot be downloaded. There is no fallback to other weights.
    """

    network: InceptionV3

    def __init__(self, weights: str | Path | None = None, resize: str = "tensorflow"):
        if resize not in RESIZES:
            raise ValueError(f"resize must be one of {', '.join(RESIZES)}, got '{resize}'")
        with torch.device("meta"):
            network = InceptionV3()
        state = load_published_weights(weights or PUBLISHED_URL, PUBLISHED_SHA256, "inception", INCEPTION_REMEDY)
        network.load_state_dict(state, assign=True)
        super().__init__(network, "inception-2015-12-05", RESIZES[resize])
        self.resize_name = resize

    def prepare(self, images: Tensor) -> Tensor:
        return preprocess(_in_colour(images).to(self.parameter.dtype) / 255, self.resize_name)

    def extract(self, inputs: Tensor) -> Tensor:
        return self.network(inputs)

    @torch.no_grad()
    def compute_logits(self, features: Tensor) -> Tensor:
        """(num, 1008) logits, without the bias, as in the published code of the Inception Score."""
        return F.linear(features, self.network.fc.weight)


class ClassifierExtractor(Extractor):
    """A [`FeatureClassifier`], trained on the data set itself.

    A warning is logged once if its accuracy is close to that of guessing, if the images have another shape than those
    it was trained on, or if its config records neither.

    Args:
        network: the classifier.
        name: its folder or Hub repository.

    Attributes:
        remedy: how to improve the accuracy, which the warning about a low one ends with.
    """

    network: FeatureClassifier
    remedy: str = REMEDY

    def __init__(self, network: FeatureClassifier, name: str):
        size = network.config.image_size
        super().__init__(network, name, f"8-bit, torch bilinear with antialias to {size} x {size}, 2 x - 1")
        self.head = network.head

    @property
    def training_record(self) -> dict[str, Any]:
        return self.network.config.training_record()

    def prepare(self, images: Tensor) -> Tensor:
        self._warn_about_training(tuple(images.shape[1:]))
        channels = self.network.config.num_channels
        if images.shape[1] > channels:
            raise ValueError(
                f"the extractor '{self.name}' expects grey images, got {images.shape[1]} channels; train one on these "
                "images, or convert them to grey"
            )
        return images.expand(-1, channels, -1, -1).to(self.parameter.dtype) / 255

    def extract(self, inputs: Tensor) -> Tensor:
        return self.network.extract_features(inputs)

    def _warn_about_training(self, shape: tuple[int, ...]):
        """Log a warning, once, if the record of the training says that the features of such images mean little."""
        config = self.network.config
        problem = config.find_accuracy_problem(self.remedy)
        if problem:
            logger.warning_once(f"the extractor '{self.name}': {problem}")
        if config.input_shape is None:
            logger.warning_once(
                f"the extractor '{self.name}': its config does not record the shape of the images that it was trained "
                f"on, so whether it suits images of shape {shape} is unknown; train it again with gae-hub "
                "train-extractor, which records it"
            )
        elif tuple(config.input_shape) != shape:
            logger.warning_once(
                f"the extractor '{self.name}' was trained on images of shape {tuple(config.input_shape)}"
                f"{f' of {config.dataset!r}' if config.dataset else ''}, and gets images of shape {shape}, which it "
                f"resizes to {config.image_size} x {config.image_size}: its features describe such images less, if at "
                "all; train an extractor on these images with gae-hub train-extractor"
            )


class TransformersExtractor(Extractor):
    """A vision model of `transformers`, such as DINOv2, CLIP, ViT or ConvNeXt.

    The features are CLIP's image embedding, or the pooled output, or the first token if the model has no pooler or the
    checkpoint has no weights for it.

    Args:
        name: folder or Hub repository.
        size: height and width that images are resized to; by default as in the repository's image processor.
        **kwargs: `revision`, `token` and other arguments of `AutoModel.from_pretrained`.

    Raises:
        ValueError: if the checkpoint has no weights for parts other than the pooler.
    """

    network: PreTrainedModel

    def __init__(self, name: str, size: int | None = None, **kwargs: Any):
        model, info = AutoModel.from_pretrained(name, output_loading_info=True, use_safetensors=True, **kwargs)
        missing = sorted(info["missing_keys"])
        self.pooled = not any("pool" in key for key in missing)
        others = [key for key in missing if "pool" not in key]
        if others:
            raise ValueError(
                f"the checkpoint '{name}' has no weights for {', '.join(others[:3])}; choose a complete checkpoint"
            )
        where = {key: kwargs[key] for key in ("revision", "token", "cache_dir", "subfolder") if key in kwargs}
        found = fetch_file(name, "preprocessor_config.json", **where)
        settings = read_json_object(found) if found else {}
        vision = getattr(model.config, "vision_config", model.config)
        self.size = size or _edge(settings) or _edge({"size": getattr(vision, "image_size", None)}) or 224
        self.mean, self.std = (_values_of_channels(settings, f"image_{part}", name) for part in ("mean", "std"))
        super().__init__(
            model,
            name,
            f"8-bit, torch bicubic with antialias to {self.size} x {self.size}, mean {self.mean}, std {self.std}",
        )

    def prepare(self, images: Tensor) -> Tensor:
        like = self.parameter
        images = _in_colour(images).float() / 255
        if tuple(images.shape[-2:]) != (self.size, self.size):
            size = (self.size, self.size)
            images = F.interpolate(images, size, mode="bicubic", antialias=True, align_corners=False)
        images = images.clamp(0, 1)
        mean, std = (torch.tensor(values, device=like.device).view(-1, 1, 1) for values in (self.mean, self.std))
        return ((images - mean) / std).to(like.dtype)

    def extract(self, inputs: Tensor) -> Tensor:
        embed = getattr(self.network, "get_image_features", self.network)
        output = embed(pixel_values=inputs)
        if not isinstance(output, Tensor):
            pooled = output.pooler_output if self.pooled else None
            output = pooled if pooled is not None else output.last_hidden_state[:, 0]
        return output.flatten(1)


def _in_colour(images: Tensor) -> Tensor:
    """(batch, 3, height, width) from 1 or 3 channels."""
    return images.expand(-1, 3, -1, -1) if images.shape[1] == 1 else images


def _edge(settings: dict[str, Any]) -> int | None:
    """Edge length that an image processor crops or resizes to."""
    for name in ("crop_size", "size"):
        size = settings.get(name)
        size = next(iter(size.values()), None) if isinstance(size, dict) else size
        size = size[0] if isinstance(size, (list, tuple)) and size else size
        if type(size) is int and size > 0:
            return size
    return None


def _values_of_channels(settings: dict[str, Any], key: str, name: str) -> list[float]:
    """Mean or standard deviation of each channel, 0.5 by default.

    Raises:
        ValueError: if the settings of the repository `name` have something else.
    """
    values = settings.get(key, [0.5] * 3)
    is_list = isinstance(values, list) and len(values) in (1, 3)
    is_valid = is_list and all(type(value) in (int, float) and abs(value) < 1000 for value in values)
    if not is_valid or (key == "image_std" and not all(values)):
        raise ValueError(
            f"preprocessor_config.json of '{name}' has {key} = {reprlib.repr(values)}, expected a number per channel"
        )
    return values


ExtractorSource = str | Path | Extractor | FeatureClassifier
"""What `load_extractor` makes an extractor of."""


def load_extractor(name: ExtractorSource = "inception", weights: str | Path | None = None, **kwargs: Any) -> Extractor:
    """Load an extractor by name.

    Args:
        name: "inception"; the folder or repository of a classifier from `gae-hub train-extractor`, or of a vision
            model of `transformers`; a classifier from `train_extractor`; or an extractor, which is returned as it is.
        weights: for "inception", the published file or its URL. The default downloads it.
        **kwargs: `resize` for "inception"; `size` for vision models; `revision` and other arguments for the Hub.

    Raises:
        ValueError: if `weights` are given for an extractor other than "inception", or `name` is another object.
        OSError: if the folder or repository does not exist, or the weights cannot be downloaded.
    """
    if isinstance(name, Extractor):
        return name
    if isinstance(name, FeatureClassifier):
        return ClassifierExtractor(name, name.name_or_path or "trained classifier")
    if not isinstance(name, (str, Path)):
        raise ValueError(
            "extractor must be 'inception', a folder or repository, a classifier from train_extractor, or an "
            f"Extractor, got {describe(name)}"
        )
    name = str(name)
    if name == "inception":
        return InceptionExtractor(weights, **kwargs)
    if weights is not None:
        raise ValueError(f"weights are for the extractor 'inception' only; remove them, because '{name}' has its own")
    where = {key: kwargs[key] for key in ("revision", "token", "cache_dir") if key in kwargs}
    try:
        config = read_config(name, **where)
    except OSError as error:
        raise OSError(
            f"there is no extractor '{name}': expected 'inception', a local folder, or a repository on the Hub that "
            f"you can read ({error})"
        ) from error
    if config.get("model_type") == FeatureClassifierConfig.model_type:
        classifier: Any = FeatureClassifier.from_pretrained(name, **kwargs)
        return ClassifierExtractor(classifier, name)
    return TransformersExtractor(name, **kwargs)
