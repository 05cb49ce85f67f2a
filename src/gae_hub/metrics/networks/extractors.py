"""Networks that turn images into the features that FID and its kin compare."""

__all__ = ["ClassifierExtractor", "Extractor", "InceptionExtractor", "TransformersExtractor", "load_extractor"]

import hashlib
import json
from functools import cached_property
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AutoModel, PreTrainedConfig

from ...core.hub_files import fetch_file
from ..images import as_uint8
from .classifier import FeatureClassifier
from .inception import PUBLISHED_SHA256, PUBLISHED_URL, RESIZES, InceptionV3, preprocess
from .weights import published_weights, sha256_of


class Extractor:
    """Base of every extractor: a network in eval mode, and what a passport tells of it.

    Images are brought to 8 bits before anything else, as they would be in files, so that both sides of a comparison
    are alike. Grey images become three equal channels where the network takes colours.

    Args:
        network: the module; it is put into eval mode, and its parameters take no gradients.
        name: what people call it.
        resize: how it resizes and scales images, in words.

    A subclass gives `prepare(images)`, from uint8 (batch, channels, height, width) to the network's input, and
    `extract(input)`, from there to (batch, dim).
    """

    head: nn.Linear | None = None  # from features to logits, if the network classifies

    def __init__(self, network: nn.Module, name: str, resize: str):
        self.network, self.name, self.resize = network.eval().requires_grad_(False), name, resize
        self._last: dict[bytes, Tensor] = {}

    @cached_property
    def sha256(self) -> str:
        """Of the network's tensors."""
        return sha256_of(self.network.state_dict())

    @property
    def parameter(self) -> Tensor:
        return next(self.network.parameters())

    def to(self, device) -> "Extractor":
        self.network.to(device)
        return self

    def __call__(self, images) -> Tensor:
        """(num, dim) features of images of any size, grey or in colour: uint8, or floats in [0, 1].

        The features of the last two batches are kept, since several metrics ask for the same ones in turn.
        """
        if isinstance(images, (list, tuple)) and len(images) > 1:  # which may differ in size
            batches = [as_uint8([image]) for image in images]
            if len({batch.shape for batch in batches}) > 1:
                return torch.cat([self._features(batch) for batch in batches])
            return self._features(torch.cat(batches))
        return self._features(as_uint8(images))

    @torch.no_grad()
    def _features(self, images: Tensor) -> Tensor:
        content = images.cpu().contiguous().numpy()
        key = hashlib.blake2b(content, key=repr(tuple(images.shape)).encode()[:64]).digest()
        if key not in self._last:
            if len(self._last) > 1:
                self._last.pop(next(iter(self._last)))
            self._last[key] = self.extract(self.prepare(images.to(self.parameter.device)))
        return self._last[key]

    def prepare(self, images: Tensor) -> Tensor:
        raise NotImplementedError

    def extract(self, images: Tensor) -> Tensor:
        raise NotImplementedError

    @torch.no_grad()
    def logits(self, features: Tensor) -> Tensor:
        """(num, classes) for (num, dim) features. Only for extractors that classify."""
        if self.head is None:
            raise ValueError(
                f"the extractor '{self.name}' has no classes, which the Inception Score needs: use 'inception', "
                "or a classifier made by gae-hub train-extractor"
            )
        return F.linear(features, self.head.weight, self.head.bias)


INCEPTION_REMEDY = (
    "give the file's path, load_extractor('inception', weights=PATH) or --weights PATH; or choose another extractor, "
    "such as a transformers vision model or one made by gae-hub train-extractor"
)


def in_colour(images: Tensor) -> Tensor:
    return images.expand(-1, 3, -1, -1) if images.shape[1] == 1 else images


class InceptionExtractor(Extractor):
    """TensorFlow's Inception of 2015-12-05, which FID and Inception Score are defined by: 2048 features, 1008 classes.

    Args:
        weights: the published file or a URL of it; its SHA-256 is verified. It is downloaded once if None.
        resize: "tensorflow", as the paper's TTUR code and torch-fidelity do, or "pytorch", as pytorch-fid does.

    Raises:
        OSError: if the weights cannot be had; nothing else is taken in their place.
    """

    def __init__(self, weights: str | Path | None = None, resize: str = "tensorflow"):
        if resize not in RESIZES:
            raise ValueError(f"resize must be one of {', '.join(RESIZES)}, got '{resize}'")
        with torch.device("meta"):
            network = InceptionV3()
        state = published_weights(weights or PUBLISHED_URL, PUBLISHED_SHA256, "inception", INCEPTION_REMEDY)
        network.load_state_dict(state, assign=True)
        super().__init__(network, "inception-2015-12-05", RESIZES[resize])
        self.kind = resize

    def prepare(self, images: Tensor) -> Tensor:
        return preprocess(in_colour(images).to(self.parameter.dtype) / 255, self.kind)

    def extract(self, images: Tensor) -> Tensor:
        return self.network(images)

    @torch.no_grad()
    def logits(self, features: Tensor) -> Tensor:
        """(num, 1008), without the bias, as the code of the Inception Score has it."""
        return F.linear(features, self.network.fc.weight)


class ClassifierExtractor(Extractor):
    """A [`FeatureClassifier`], trained on the data set itself: it knows what its images differ in."""

    def __init__(self, network: FeatureClassifier, name: str):
        size = network.config.image_size
        super().__init__(network, name, f"8-bit, torch bilinear with antialias to {size} x {size}, 2 x - 1")
        self.head = network.head

    def prepare(self, images: Tensor) -> Tensor:
        channels = self.network.config.num_channels
        if images.shape[1] > channels:
            raise ValueError(
                f"the extractor '{self.name}' is for grey images, but these have {images.shape[1]} channels"
            )
        return images.expand(-1, channels, -1, -1).to(self.parameter.dtype) / 255

    def extract(self, images: Tensor) -> Tensor:
        return self.network.features(images)


class TransformersExtractor(Extractor):
    """Any vision model of `transformers`: DINOv2, CLIP, ViT, ConvNeXt.

    Features are CLIP's image embedding, else the pooled output; else, or where the checkpoint has no weights for the
    pooler, the first token.

    Args:
        name: a Hub repository or a folder.
        size: edge length that whole images are resized to; that of the repository's image processor by default.
        **kwargs: `revision`, `token` and others of `AutoModel.from_pretrained`.
    """

    def __init__(self, name: str, size: int | None = None, **kwargs):
        model, info = AutoModel.from_pretrained(name, output_loading_info=True, use_safetensors=True, **kwargs)
        missing = sorted(info["missing_keys"])
        self.pooled = not any("pool" in key for key in missing)
        others = [key for key in missing if "pool" not in key]
        if others:
            raise ValueError(f"the checkpoint '{name}' has no weights for {', '.join(others[:3])}: it is no extractor")
        hub = {key: kwargs[key] for key in ("revision", "token", "cache_dir", "subfolder") if key in kwargs}
        found = fetch_file(name, "preprocessor_config.json", **hub)
        settings = json.loads(found.read_text(encoding="utf-8")) if found else {}
        vision = getattr(model.config, "vision_config", model.config)
        self.size = size or _edge(settings) or _edge({"size": getattr(vision, "image_size", None)}) or 224
        self.mean, self.std = (settings.get(f"image_{part}", [0.5] * 3) for part in ("mean", "std"))
        super().__init__(
            model,
            name,
            f"8-bit, torch bicubic with antialias to {self.size} x {self.size}, mean {self.mean}, std {self.std}",
        )

    def prepare(self, images: Tensor) -> Tensor:
        like = self.parameter
        images = resized(in_colour(images).float() / 255, self.size, "bicubic").clamp(0, 1)
        mean, std = (torch.tensor(values, device=like.device).view(-1, 1, 1) for values in (self.mean, self.std))
        return ((images - mean) / std).to(like.dtype)

    def extract(self, images: Tensor) -> Tensor:
        ask = getattr(self.network, "get_image_features", self.network)
        output = ask(pixel_values=images)
        if not isinstance(output, Tensor):
            pooled = output.pooler_output if self.pooled else None
            output = pooled if pooled is not None else output.last_hidden_state[:, 0]
        return output.flatten(1)


def _edge(settings: dict) -> int | None:
    """The edge length that an image processor brings images to."""
    for name in ("crop_size", "size"):
        size = settings.get(name)
        size = next(iter(size.values()), None) if isinstance(size, dict) else size
        size = size[0] if isinstance(size, (list, tuple)) else size
        if size:
            return int(size)
    return None


def resized(images: Tensor, size: int, mode: str) -> Tensor:
    if tuple(images.shape[-2:]) == (size, size):
        return images
    return F.interpolate(images, (size, size), mode=mode, antialias=True, align_corners=False)


def load_extractor(name: str | Extractor = "inception", weights: str | None = None, **kwargs) -> Extractor:
    """An extractor by its name.

    Args:
        name: "inception"; the repository or folder of a classifier that `gae-hub train-extractor` has made, or of any
            vision model of `transformers`; or an extractor, which passes as it is.
        weights: for "inception", the published file or its URL, if it is not to be downloaded from where it is
            published.
        **kwargs: `resize` for "inception"; `size` for vision models; `revision` and others for the Hub.

    Raises:
        OSError: if its weights cannot be had.
    """
    if isinstance(name, Extractor):
        return name
    if name == "inception":
        return InceptionExtractor(weights, **kwargs)
    if weights is not None:
        raise ValueError(f"weights are for the extractor 'inception'; those of '{name}' come with it")
    hub = {key: kwargs[key] for key in ("revision", "token", "cache_dir") if key in kwargs}
    try:
        config, _ = PreTrainedConfig.get_config_dict(name, **hub)
    except OSError as error:
        raise OSError(
            f"no extractor '{name}': it is neither 'inception', nor a folder here, nor a repository on the Hub that "
            f"you can read ({error})"
        ) from error
    if config.get("model_type") == FeatureClassifier.config_class.model_type:
        return ClassifierExtractor(FeatureClassifier.from_pretrained(name, **kwargs), name)
    return TransformersExtractor(name, **kwargs)
