"""AutoGAE and AutoSampler: find the class for a checkpoint or a short name."""

__all__ = ["AutoGAE", "AutoSampler"]

from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

from transformers import AutoModel, PreTrainedConfig, PreTrainedModel
from transformers.dynamic_module_utils import get_class_from_dynamic_module

from .core.adapters import find_adapted_model
from .core.argument_checks import suggest
from .core.checkpoint_checks import read_config
from .core.hooks import HOOKS
from .core.hub_errors import HubError, explain
from .core.hub_files import CONFIG, FETCH_OPTIONS, describe_missing
from .models.base import MODELS, GAEConfig, GAEPreTrainedModel
from .models.image_gan import ImageGANModel
from .modules.backbones import register_backbone
from .samplers.base import SAMPLERS, GAESampler, GAESamplerConfig

ModelT = TypeVar("ModelT", bound=PreTrainedModel)
ConfigT = TypeVar("ConfigT", bound=PreTrainedConfig)


class _AutoClass(Generic[ModelT, ConfigT]):
    """Look-up by short name ("beta_vae"), and loading from a folder or Hub repository. It has no instances."""

    registry: dict[str, type[ModelT]]
    kind: str  # "autoencoder" or "sampler"
    suffix = ""  # of the model_type, after the short name

    def __init__(self):
        raise TypeError(f"{type(self).__name__} has no instances; use {type(self).__name__}.from_pretrained(...)")

    @classmethod
    def names(cls) -> list[str]:
        """Short names of all registered classes."""
        return sorted(cls.registry)

    @classmethod
    def model_class(cls, name: str) -> type[ModelT]:
        """The class for a short name or a model_type, such as "beta_vae" or "gae_beta_vae".

        Raises:
            ValueError: if the name is not registered; the message suggests the nearest one.
        """
        short = cls._short_name(name)
        if short not in cls.registry:
            hint = suggest(short, cls.names(), "registered names are")
            raise ValueError(f"no {cls.kind} is called '{name}'; {hint}")
        return cls.registry[short]

    @classmethod
    def config_class(cls, name: str) -> type[ConfigT]:
        """The config class for a short name or a model_type."""
        return cast(type[ConfigT], cls.model_class(name).config_class)

    @classmethod
    def from_config(cls, config: PreTrainedConfig, **kwargs) -> ModelT:
        """A new model or sampler with initial weights."""
        return cls.model_class(config.model_type)(config, **kwargs)

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | Path | None, **kwargs) -> ModelT:
        """Load a checkpoint from a folder or a Hub repository. A saved adapter is loaded with the model that it names.

        Args:
            pretrained_model_name_or_path: folder or repository; None with `config` and `state_dict`.
            **kwargs: as in `PreTrainedModel.from_pretrained`.

        Raises:
            ValueError: if it is not a checkpoint of this kind; the message says what it is.
            OSError: if it does not exist or cannot be read.
        """
        name = pretrained_model_name_or_path
        if name is None:
            if not isinstance(kwargs.get("config"), PreTrainedConfig):
                raise ValueError(f"{cls.__name__}.from_pretrained(None, ...) needs both config= and state_dict=")
            return cls.model_class(kwargs["config"].model_type).from_pretrained(None, **kwargs)
        hub = {key: kwargs[key] for key in FETCH_OPTIONS if key in kwargs}
        config, source, hub = _read_gae_config(name, hub)
        model_type = config["model_type"]
        if kwargs.get("trust_remote_code"):
            _register_custom_networks(source, config, hub)
            cls._require_code(name, config)
            if "AutoModel" in config.get("auto_map", {}):
                return AutoModel.from_pretrained(name, **kwargs)
        for other in (AutoGAE, AutoSampler):
            if other is not cls and other._short_name(model_type) in other.registry:
                raise ValueError(
                    f"'{name}' is a '{model_type}' checkpoint, which {cls.__name__} cannot load; use {other.__name__}"
                    + ("; for its sampler, pass subfolder='sampler'" if cls is AutoSampler else "")
                )
        cls._require_class(name, config)
        return cls.model_class(model_type).from_pretrained(name, **kwargs)

    @classmethod
    def _require_code(cls, name: str | Path, config: dict[str, Any]):
        """Raise ValueError if a checkpoint carries the code of a custom method, but not that of its config."""
        carried = config.get("auto_map", {})
        is_known = cls._short_name(config["model_type"]) in cls.registry
        if not is_known and len({"AutoConfig", "AutoModel"} & carried.keys()) == 1:
            (found,) = {"AutoConfig", "AutoModel"} & carried.keys()
            raise ValueError(
                f"'{name}' carries code for {found} only ({carried[found]}): call register_for_auto_class on the "
                "class and on its config, and save it again; or import both classes before loading"
            )

    @classmethod
    def _require_class(cls, name: str | Path, config: dict[str, Any]):
        """Raise ValueError if a checkpoint was saved by a class outside of gae_hub that is not imported."""
        model_type, saved_by = config["model_type"], config.get("architectures")
        if cls._short_name(model_type) in cls.registry or not isinstance(saved_by, list) or not saved_by:
            return
        if saved_by[0] in {known.__name__ for known in cls.registry.values()}:
            return  # the model_type is misspelt
        if "auto_map" in config:
            remedy = "pass trust_remote_code=True to run the code that the checkpoint carries"
        else:
            remedy = (
                "import the module that defines it before loading. A checkpoint carries the code if "
                "register_for_auto_class was called on the class and on its config before saving"
            )
        raise ValueError(f"'{name}' was saved by {saved_by[0]} ('{model_type}'), which is not imported: {remedy}")

    @classmethod
    def _short_name(cls, name: str) -> str:
        return name.removeprefix("gae_").removesuffix(cls.suffix)


def _read_gae_config(name: str | Path, hub: dict[str, Any]) -> tuple[dict[str, Any], str | Path, dict[str, Any]]:
    """The content of config.json, checked to be of a gae_hub model or sampler, and where it was found.

    For a saved adapter, it is that of the model that the adapter was made for.
    """
    try:
        config = read_config(name, **hub)
        if not config and (adapted := find_adapted_model(name, **hub)) is not None:
            name, hub = adapted
            config = read_config(name, **hub)
    except HubError as error:
        raise HubError(f"{error}{_suggest_folder(name)}") from error
    except OSError as error:
        reason = explain(error, "load", hub.get("token"))
        if reason is not None:
            raise HubError(f"cannot load '{name}': {reason}") from error
        raise OSError(
            f"'{name}' is neither a local folder nor a Hub repository that you can read ({error})"
            f"{_suggest_folder(name)}"
        ) from error
    if not config:
        file = Path(hub.get("subfolder") or "", CONFIG).as_posix()
        raise OSError(describe_missing(name, file, "no checkpoint is there", bool(hub.get("local_files_only"))))
    model_type = config.get("model_type")
    if not model_type or not isinstance(model_type, str):
        raise ValueError(f"config.json of '{name}' has no model_type, so it is not a gae_hub checkpoint")
    if not model_type.startswith("gae_"):
        raise ValueError(
            f"'{name}' is a '{model_type}' checkpoint, not a gae_hub one (gae_hub model types begin with 'gae_')"
        )
    return config, name, hub


def _suggest_folder(name: str | Path) -> str:
    """The end of an error about a name that is no folder: the folder of nearly this name, if there is one."""
    path = Path(name)
    if path.exists() or not path.parent.is_dir():
        return ""
    siblings = [other.name for other in path.parent.iterdir() if other.is_dir()]
    near = get_close_matches(path.name, siblings, n=1)
    return f"; there is no folder '{name}' here" + (f": did you mean '{path.parent / near[0]}'?" if near else "")


def _register_custom_networks(name: str | Path, config: dict[str, Any], hub: dict[str, Any]):
    """Register the encoder and decoder classes whose code is in a checkpoint. This runs that code."""
    for role in ("encoder_config", "decoder_config"):
        spec = config.get(role)
        if isinstance(spec, dict) and "AutoModel" in spec.get("auto_map", {}):
            network = get_class_from_dynamic_module(spec["auto_map"]["AutoModel"], name, **hub)
            register_backbone(network.config_class, network)


class AutoGAE(_AutoClass[GAEPreTrainedModel, GAEConfig]):
    """Finds the autoencoder class for a checkpoint or a short name.

    Example:

    ```python
    model = AutoGAE.from_pretrained("user/betavae-mnist")
    ```
    """

    registry = MODELS
    kind = "autoencoder"

    @classmethod
    def from_pythae(cls, name: str | Path, **kwargs) -> GAEPreTrainedModel:
        """A model with the weights of a Pythae checkpoint. Pickled objects are never loaded.

        Args:
            name: folder or Hub repository with model_config.json and model.pt.
            **kwargs: `encoder` and `decoder` for custom networks, `token` and `revision` for the Hub.

        Returns:
            The model in eval mode. `model.facts["imported"]["notes"]` lists the differences from Pythae.
        """
        assert HOOKS.from_pythae is not None  # gae_hub/__init__.py registers it
        return HOOKS.from_pythae(name, **kwargs)

    @classmethod
    def from_diffusers(
        cls, name: str | Path, subfolder: str | None = None, image_size: int | Sequence[int] | None = None, **kwargs
    ) -> ImageGANModel:
        """A model with the weights and outputs of an `AutoencoderKL` or `VQModel` of diffusers. Only safetensors.

        Args:
            name: folder or Hub repository of the autoencoder, or of a pipeline.
            subfolder: folder of the autoencoder in a pipeline; found by its class by default.
            image_size: side of the images, or (height, width); by default that of the repository's config.
            **kwargs: `token`, `revision` and other arguments that say where the files are; and fields of the config.

        Returns:
            A [`KLGANModel`] or [`VQGANModel`] in eval mode, without discriminator. Its images are in [0, 1].

        Raises:
            ValueError: if it is another class, or its weights do not fit.
            OSError: if a file does not exist, or the Hub does not respond.
            ImportError: if diffusers is not installed.
        """
        assert HOOKS.from_diffusers is not None  # gae_hub/__init__.py registers it
        return HOOKS.from_diffusers(name, subfolder=subfolder, image_size=image_size, **kwargs)


class AutoSampler(_AutoClass[GAESampler, GAESamplerConfig]):
    """Finds the sampler class for a checkpoint or a short name.

    Example:

    ```python
    sampler = AutoSampler.from_pretrained("user/betavae-mnist", subfolder="sampler")
    ```
    """

    registry = SAMPLERS
    kind = "sampler"
    suffix = "_sampler"
