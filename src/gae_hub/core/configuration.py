"""Base of all configs: unknown keys raise, with the nearest valid key."""

__all__ = ["StrictConfig", "may_register", "one_error"]

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from difflib import get_close_matches
from types import NoneType
from typing import Any, get_args

import torch
from huggingface_hub.dataclasses import strict
from huggingface_hub.errors import StrictDataclassError
from transformers import PreTrainedConfig
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

# keys that transformers writes into config.json or passes to a config in addition to its declared fields
_TRANSFORMERS_KEYS = {
    "_attn_implementation",
    "_commit_hash",
    "_name_or_path",
    "attn_implementation",
    "auto_map",
    "custom_pipelines",
    "experts_implementation",
    "model_type",
    "name_or_path",
    "num_labels",
    "output_attentions",
    "quantization_config",
    "tie_word_embeddings",
    "torch_dtype",
    "use_cache",
}

# arguments of from_pretrained that reach `from_dict` and are not fields
_LOADING_ARGUMENTS = {
    "_from_auto",
    "_from_pipeline",
    "code_revision",
    "return_unused_kwargs",
    "trust_remote_code",
}


def may_register(model_type: str) -> bool:
    """Whether this copy of the code may register a class for `model_type` with transformers.

    The library always may. A checkpoint can carry a copy of this file, loaded with `trust_remote_code=True`: that copy
    may register new types only, so that it never replaces a class of the library or of another checkpoint.
    """
    return __name__.startswith("gae_hub.") or not dict.__contains__(CONFIG_MAPPING._extra_content, model_type)


@contextmanager
def one_error(what: str) -> Iterator[None]:
    """Turn the errors of a config's values into one ValueError: "invalid <what>: <reason>".

    Values of another type than expected raise many types of errors, in our code and in transformers'.
    """
    try:
        yield
    except (StrictDataclassError, TypeError, AttributeError, KeyError, RecursionError) as error:
        raise ValueError(f"invalid {what}: {' '.join(str(error).split())}") from error


def _accepts_bool(annotation: Any) -> bool:
    """Whether a field may hold a bool. An annotation that is text is not checked, as in huggingface_hub."""
    return annotation in (bool, Any) or isinstance(annotation, str) or any(map(_accepts_bool, get_args(annotation)))


@strict
class StrictConfig(PreTrainedConfig):
    """A `PreTrainedConfig` that accepts only its declared fields. Subclasses check ranges in `validate_*` methods.

    A checkpoint that carries its code names its pipelines in `custom_pipelines`, which only a copy of this file shows:
    with it, `transformers.pipeline` runs the checkpoint's code, while the library has these pipelines itself.

    Raises:
        ValueError: for an unknown key, with the nearest field's name.
    """

    def __post_init__(self, **kwargs):
        if __name__.startswith("gae_hub."):
            kwargs.pop("custom_pipelines", None)
        own = [field.name for field in fields(self)]
        for name in kwargs:
            if name not in own and name not in _TRANSFORMERS_KEYS:
                raise ValueError(f"{type(self).__name__} has no field '{name}'; {self._suggest_field(name)}")
        for dtype in (self.dtype, kwargs.get("torch_dtype")):
            found = getattr(torch, dtype, None) if isinstance(dtype, str) else dtype
            if dtype is not None and not isinstance(found, torch.dtype):
                raise ValueError(f"dtype must be a dtype of PyTorch, such as 'float32', got {dtype!r:.80}")
        for name in ("_attn_implementation", "attn_implementation", "experts_implementation"):
            if not isinstance(kwargs.get(name), (str, dict, NoneType)):
                raise ValueError(f"{name} must be a text, got {kwargs[name]!r:.80}")
        super().__post_init__(**kwargs)

    def validate_booleans(self):
        """Raise if a field that does not declare bool holds one: huggingface_hub 1.5 accepts True as an int."""
        for field in fields(self):
            value = getattr(self, field.name)
            entries = value if isinstance(value, (list, tuple)) else [value]
            if any(isinstance(entry, bool) for entry in entries) and not _accepts_bool(field.type):
                raise ValueError(f"{field.name} must be {field.type}, got {value!r:.80}")

    @classmethod
    def from_dict(cls, config_dict, **kwargs):
        """As in transformers, but a checkpoint of another model_type raises instead of warning.

        Raises:
            ValueError: if the values cannot be those of this config.
        """
        if not isinstance(config_dict, dict):
            raise ValueError(f"a config must be a dict, got a {type(config_dict).__name__}")
        found = config_dict.get("model_type", cls.model_type)
        if found != cls.model_type:
            raise ValueError(
                f"this is a '{found}' checkpoint, not a '{cls.model_type}' one; "
                "AutoGAE and AutoSampler find the right class"
            )
        if not kwargs.get("return_unused_kwargs"):
            known = {field.name for field in fields(cls)} | _TRANSFORMERS_KEYS | _LOADING_ARGUMENTS
            for name in sorted(kwargs.keys() - known):
                raise ValueError(f"{cls.__name__} has no field '{name}'; {cls._suggest_field(name)}")
        with one_error(cls.__name__):
            return super().from_dict(config_dict, **kwargs)

    def to_dict(self) -> dict[str, Any]:
        """As in transformers, without `custom_pipelines`: the code of pipelines is not saved with a config."""
        found = super().to_dict()
        found.pop("custom_pipelines", None)
        return found

    @classmethod
    def _suggest_field(cls, name: str) -> str:
        near = get_close_matches(name, [field.name for field in fields(cls)], n=1)
        return f"did you mean '{near[0]}'?" if near else f"its own fields are {', '.join(cls.own_fields())}"

    @classmethod
    def own_fields(cls) -> list[str]:
        """Names of the fields that gae_hub declares, without those of every transformers config."""
        return [field.name for field in fields(cls) if field.name not in PreTrainedConfig.__dataclass_fields__]

    def require_positive(self, *names: str):
        """Raise unless each named field (a number, or a sequence of numbers) is above zero."""
        for name in names:
            value = getattr(self, name)
            if any(not number > 0 for number in (value if isinstance(value, (list, tuple)) else [value])):
                raise ValueError(f"{name} must be above 0, got {value}")
