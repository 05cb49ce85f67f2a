"""AutoGAE and AutoSampler: from a name, the right class."""

__all__ = ["AutoGAE", "AutoSampler"]

from difflib import get_close_matches

from transformers import AutoModel, PreTrainedConfig
from transformers.dynamic_module_utils import get_class_from_dynamic_module

from .core.checkpoint_checks import read_config
from .core.hooks import HOOKS
from .core.hub_errors import HubError, explain
from .models.base import MODELS, GAEPreTrainedModel
from .modules.backbones import register_backbone
from .samplers.base import SAMPLERS, GAESampler


class _AutoClass:
    """Look-ups by short name ("beta_vae") and loading by folder or Hub repository. Not to be instantiated."""

    registry: dict[str, type]
    kind: str  # "autoencoder" or "sampler"
    suffix = ""  # of the model_type, after the short name

    def __init__(self):
        raise TypeError(f"{type(self).__name__} is not instantiated: use {type(self).__name__}.from_pretrained(...)")

    @classmethod
    def names(cls) -> list[str]:
        """Short names of all registered classes."""
        return sorted(cls.registry)

    @classmethod
    def model_class(cls, name: str) -> type:
        """The class for a short name, with or without the `gae_` of its model_type.

        Raises:
            ValueError: for a name that is not registered, with the nearest one.
        """
        short = name.removeprefix("gae_").removesuffix(cls.suffix)
        if short not in cls.registry:
            near = get_close_matches(short, cls.registry, n=1)
            hint = f"did you mean '{near[0]}'?" if near else f"known are {', '.join(cls.names())}"
            raise ValueError(f"no {cls.kind} is called '{name}'; {hint}")
        return cls.registry[short]

    @classmethod
    def config_class(cls, name: str) -> type[PreTrainedConfig]:
        """The config class for a short name."""
        return cls.model_class(name).config_class

    @classmethod
    def from_config(cls, config: PreTrainedConfig, **kwargs):
        """A new object, with fresh weights, from a config."""
        return cls.model_class(config.model_type)(config, **kwargs)

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path, **kwargs):
        """Load from a folder or a Hub repository; takes what `PreTrainedModel.from_pretrained` takes.

        Raises:
            ValueError: if what is there is not of this kind, naming what it is.
            OSError: if nothing is there, or it cannot be read.
        """
        name = pretrained_model_name_or_path
        hub = {
            key: kwargs[key]
            for key in ("cache_dir", "force_download", "local_files_only", "token", "revision", "subfolder")
            if key in kwargs
        }
        try:
            found = read_config(name, **hub)
        except OSError as error:
            reason = explain(error, "load", kwargs.get("token"))
            if reason is not None:
                raise HubError(f"cannot load '{name}': {reason}") from error
            raise OSError(
                f"'{name}' is neither a folder here nor a repository on the Hub that you can read ({error})"
            ) from error
        if not found:
            raise OSError(f"there is no config.json in '{name}', so it holds no checkpoint")
        model_type = found.get("model_type")
        if not model_type:
            raise ValueError(f"the config.json of '{name}' names no model_type, so it is no gae_hub checkpoint")
        if not model_type.startswith("gae_"):
            raise ValueError(
                f"'{name}' is a '{model_type}' checkpoint, not a gae_hub one (gae_hub model types begin with 'gae_')"
            )
        for role in ("encoder_config", "decoder_config") if kwargs.get("trust_remote_code") else ():
            spec = found.get(role)
            if isinstance(spec, dict) and "AutoModel" in spec.get("auto_map", {}):
                network = get_class_from_dynamic_module(spec["auto_map"]["AutoModel"], name, **hub)
                register_backbone(network.config_class, network)
        if kwargs.get("trust_remote_code") and "AutoModel" in found.get("auto_map", {}):
            return AutoModel.from_pretrained(name, **kwargs)
        for other in (AutoGAE, AutoSampler):
            if other is not cls and model_type.removeprefix("gae_").removesuffix(other.suffix) in other.registry:
                raise ValueError(
                    f"'{name}' is a '{model_type}' checkpoint, which is no {cls.kind}: use {other.__name__}"
                )
        return cls.model_class(model_type).from_pretrained(name, **kwargs)


class AutoGAE(_AutoClass):
    """The right autoencoder for a checkpoint, whatever the method.

    Example:

    ```python
    model = AutoGAE.from_pretrained("user/betavae-mnist")
    ```
    """

    registry: dict[str, type[GAEPreTrainedModel]] = MODELS
    kind = "autoencoder"

    @classmethod
    def from_pythae(cls, name, **kwargs) -> GAEPreTrainedModel:
        """A model with the weights of a checkpoint of Pythae, in a folder or on the Hub; no pickled object is read.

        Takes what [`from_pythae`] of hub/pythae.py takes: `encoder` and `decoder` for networks of one's own, `token`
        and `revision`. `model.facts["imported"]["notes"]` says what differs from Pythae.
        """
        return HOOKS.from_pythae(name, **kwargs)


class AutoSampler(_AutoClass):
    """The right sampler for a checkpoint.

    Example:

    ```python
    sampler = AutoSampler.from_pretrained("user/betavae-mnist", subfolder="sampler")
    ```
    """

    registry: dict[str, type[GAESampler]] = SAMPLERS
    kind = "sampler"
    suffix = "_sampler"
