"""What models and samplers add to `PreTrainedModel`: loading that checks, saving that writes a card."""

__all__ = ["HubModel"]

import re
from dataclasses import fields
from difflib import get_close_matches
from inspect import signature
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.dynamic_module_utils import custom_object_save
from transformers.utils import logging

from .adapters import (
    check_adapter,
    find_adapted_model,
    has_adapter,
    read_adapter_config,
    read_adapter_weights,
    stateful_frozen_modules,
)
from .argument_checks import require_extra
from .checkpoint_checks import (
    check_checkpoint,
    check_finite,
    check_weights_fit,
    read_config,
    read_kinds,
    tensor_kinds,
)
from .files import temporary_prefix
from .hooks import HOOKS
from .hub_errors import explained
from .hub_files import FETCH_OPTIONS, fetch_card, move_into

# arguments that PreTrainedModel.from_pretrained reads without declaring them
_LOADING_ARGUMENTS = ("device_map", "dtype", "output_loading_info", "state_dict", "subfolder", "trust_remote_code")

logger = logging.get_logger(__name__)


def _has_known_code(cls: type) -> bool:
    """Whether a class is installed with gae_hub or transformers, or its code came with a checkpoint."""
    return cls.__module__.partition(".")[0] in ("gae_hub", "transformers", "transformers_modules")


class HubModel(PreTrainedModel):
    """A `PreTrainedModel` that loads a checkpoint completely or not at all, never reads pickle, and keeps its card."""

    # regular expressions of names of parameters and buffers that stay in float32 in half precision
    _keep_in_fp32_modules_strict: list[str] = []

    # folder or repository that the model was loaded from, and the arguments that find it there
    source: tuple[str, dict[str, Any]] = ("", {})
    # license for the card, such as "mit"; None keeps that of the card, see hub.cards.license
    license: str | None = None
    source_license: list[Any] | None = None  # the license of `source`, if it was read, as the only element

    def train(self, mode: bool = True):
        """As in PyTorch, but returns at once if all modules are in that mode: the Trainer calls this in every step.

        With an adapter, modules that would change their buffers stay in evaluation mode, since an adapter's file does
        not hold them: batch normalisation uses its running statistics, and codebooks keep their code vectors.
        """
        if not has_adapter(self):
            return self if all(module.training is mode for module in self.modules()) else super().train(mode)
        super().train(mode)
        for module in stateful_frozen_modules(self):
            module.training = False
        return self

    def set_progress(self, step: int, num_steps: int):
        """Set the buffer `progress` of a model that is trained. The trainer calls it before each step and at the end.

        Args:
            step: number of steps that are done.
            num_steps: number of steps of the whole training.
        """
        cast(Any, self).progress.fill_(step / max(num_steps, 1))

    def _apply(self, fn, recurse: bool = True):
        """As in PyTorch, but `half`, `bfloat16` and `to` leave in float32 what `from_pretrained(dtype=...)` does."""
        module = cast(nn.Module, self)
        patterns = "|".join(self._keep_in_fp32_modules_strict).replace("*", ".*")  # as transformers does
        tensors = chain(module.named_parameters(), module.named_buffers())
        kept = {id(tensor) for name, tensor in tensors if patterns and re.search(patterns, name)}
        kept |= {id(p.grad) for p in module.parameters() if id(p) in kept and p.grad is not None}

        def apply(tensor: Tensor) -> Tensor:
            result = fn(tensor)
            is_half = result.dtype in (torch.float16, torch.bfloat16)
            return tensor.to(result.device) if is_half and id(tensor) in kept else result

        return super()._apply(apply, recurse)

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path, *args, output_loading_info: bool = False, **kwargs):
        """Load a checkpoint from a folder or a Hub repository, as `PreTrainedModel.from_pretrained` does.

        Before memory is allocated, the sizes in config.json are compared with the weights, and downloaded files with
        their checksums on the Hub. Missing, additional and mismatched weights are errors, and so are weights that are
        nan or infinite. `from_pretrained(None, config=config, state_dict=weights)` reads no files.

        For a saved adapter, the model that it names is loaded, and then the adapter, for inference; to train it
        further, pass the folder to `load_adapter(..., is_trainable=True)` of that model.

        Raises:
            TypeError: for an argument that neither transformers, the config nor the class has.
            ValueError: if the checkpoint has another model_type or an invalid config, or its weights do not match its
                config or are not finite.
            OSError: if the weights are truncated or corrupt, the checkpoint does not exist, or the Hub fails.
            ImportError: if it is an adapter, and peft is not installed.
        """
        name = pretrained_model_name_or_path
        where = {key: kwargs[key] for key in ("cache_dir", "revision", "token", "subfolder") if kwargs.get(key)}
        kwargs["use_safetensors"] = True
        try:
            if name is None and (kwargs.get("config") is None or kwargs.get("state_dict") is None):
                raise ValueError(f"{cls.__name__}.from_pretrained(None, ...) needs both config= and state_dict=")
            with explained("load", name or "state_dict", kwargs.get("token")):
                if name is not None and kwargs.get("state_dict") is None:
                    options = {key: kwargs[key] for key in ("force_download", "local_files_only") if key in kwargs}
                    check_checkpoint(name, **where, **options)
                    cls._require_own_checkpoint(name, **where, **options)
                    adapted = find_adapted_model(name, **where, **options)
                    if adapted is not None:
                        return cls._from_adapter(name, *adapted, args, output_loading_info, kwargs)
                loaded = super().from_pretrained(name, *args, output_loading_info=True, **kwargs)
        except SafetensorError as error:
            raise OSError(
                f"the weights of '{name}' are truncated or corrupt ({error}); download or save them again"
            ) from error
        except TypeError as error:
            unknown = re.search(r"unexpected keyword argument '(\w+)'", str(error))
            if unknown is None or unknown[1] not in kwargs:
                raise
            raise TypeError(
                f"{cls.__name__}.from_pretrained has no argument '{unknown[1]}'; {cls._suggest_argument(unknown[1])}"
            ) from error
        model, info = cast(tuple[HubModel, dict[str, Any]], loaded)
        if name is None:
            check_finite(cast(PreTrainedModel, model).state_dict().items(), "state_dict")
        else:
            check_finite(cast(PreTrainedModel, model).state_dict().items(), name)
            offline = {"local_files_only": True} if kwargs.get("local_files_only") else {}
            model.source = (str(Path(name).resolve()) if Path(name).is_dir() else str(name), where | offline)
        return (model, info) if output_loading_info else model

    @classmethod
    def _require_own_checkpoint(cls, name: str | Path, **where):
        """Raise ValueError if a checkpoint was saved by a subclass or another class with the same model_type."""
        saved_by = read_config(name, **where).get("architectures")
        if isinstance(saved_by, list) and saved_by and isinstance(saved_by[0], str):
            if saved_by[0] not in {parent.__name__ for parent in cls.__mro__}:
                raise ValueError(
                    f"'{name}' was saved by {saved_by[0]}, and would do something else as a {cls.__name__}: load it "
                    f"with {saved_by[0]}.from_pretrained, or with trust_remote_code=True if it carries its code"
                )

    @classmethod
    def _from_adapter(cls, name, base, where, args, output_loading_info, kwargs):
        """The model `base`, which is found with the arguments `where`, with the adapter in `name`."""
        at_adapter = {key: kwargs.pop(key) for key in FETCH_OPTIONS if key in kwargs}
        adapter_name = kwargs.pop("adapter_name", None)
        model = cls.from_pretrained(base, *args, **where, **kwargs)
        info = model.load_adapter(str(name), adapter_name, adapter_kwargs=at_adapter)
        return (model, info.to_dict()) if output_loading_info else model

    def add_adapter(self, adapter_config, adapter_name: str | None = None):
        """Add a new adapter of peft, which is trained instead of the model's own weights.

        Args:
            adapter_config: such as `peft.LoraConfig(target_modules="all-linear")`.
            adapter_name: "default" by default.

        Raises:
            ValueError: if a layer cannot have an adapter: a low-rank update would not respect the masks of an
                autoregressive flow.
            ImportError: if peft is not installed.
        """
        require_extra("peft", "add_adapter")
        from peft import PeftConfig

        if isinstance(adapter_config, PeftConfig):
            check_adapter(self, adapter_config)
        super().add_adapter(adapter_config, adapter_name)
        name, where = self.source  # found from any working directory
        adapter_config.base_model_name_or_path, adapter_config.revision = name or None, where.get("revision")
        self.train(self.training)

    def load_adapter(self, peft_model_id=None, adapter_name=None, **kwargs):
        """Load a saved adapter, as `PreTrainedModel.load_adapter` does. Nothing changes if it does not fit the model.

        Args:
            peft_model_id: folder or repository.
            adapter_name: "default" by default.
            **kwargs: `is_trainable` for an adapter that training continues, and others as in transformers.

        Raises:
            ValueError: if the adapter does not fit this model, or its weights are nan or infinite.
            OSError: if adapter_config.json or adapter_model.safetensors is missing or corrupt.
            ImportError: if peft is not installed.
        """
        require_extra("peft", "load_adapter")
        if peft_model_id is not None:
            found = getattr(kwargs.get("load_config"), "download_kwargs", None) or {}
            found = {**found, **(kwargs.get("adapter_kwargs") or {}), **kwargs}
            where = {key: found[key] for key in FETCH_OPTIONS if key in found}
            config = read_adapter_config(peft_model_id, **where)
            check_adapter(self, config, read_adapter_weights(peft_model_id, **where), peft_model_id)
        elif kwargs.get("peft_config") is not None:
            check_adapter(self, kwargs["peft_config"], kwargs.get("adapter_state_dict"), "adapter_state_dict")
        info = super().load_adapter(peft_model_id, adapter_name, **kwargs)
        self.train(self.training)
        return info

    @classmethod
    def _suggest_argument(cls, name: str) -> str:
        """The end of an error about an argument of `from_pretrained` that does not exist."""
        found = {field.name: None for field in fields(cls.config_class)} if cls.config_class else {}
        for function in (cls.__init__, PreTrainedModel.from_pretrained):
            parameters = signature(function).parameters.values()
            found |= {
                item.name: None for item in parameters if item.kind in (item.POSITIONAL_OR_KEYWORD, item.KEYWORD_ONLY)
            }
        near = get_close_matches(name, [*found, *_LOADING_ARGUMENTS], n=1)
        return f"did you mean '{near[0]}'?" if near else "arguments are those of transformers and fields of the config"

    @classmethod
    def _load_pretrained_model(cls, model, state_dict, checkpoint_files, load_config, *args, **kwargs):
        # transformers calls this with a model on the meta device, so a mismatch costs no memory; for an adapter, whose
        # weights `load_adapter` has compared, with the adapter's names as expected_keys
        if not kwargs.get("expected_keys"):
            if checkpoint_files:
                name = load_config.pretrained_model_name_or_path
                stored = read_kinds(checkpoint_files)
                what = f"the weights of '{name}' do not fit the {cls.__name__} in its config.json"
            else:
                stored = tensor_kinds(state_dict or {})
                what = f"state_dict does not fit a {cls.__name__} of this config"
            expected = tensor_kinds(model.state_dict())
            check_weights_fit(stored, expected, what, ignore_shapes=load_config.ignore_mismatched_sizes)
        return super()._load_pretrained_model(model, state_dict, checkpoint_files, load_config, *args, **kwargs)

    def save_pretrained(self, save_directory, **kwargs):
        """Write config.json, model.safetensors and a model card; of a model with an adapter, only the adapter.

        Files are written to a temporary folder and moved into place when all are complete: after a full disk or a
        killed process, the folder holds what it held before.

        Raises:
            OSError: if the disk is full.
        """
        is_main_process = kwargs.get("is_main_process", True)
        # a network of transformers inside the model would be saved with the names that its own checkpoints had once
        kwargs.setdefault("save_original_format", False)
        if not is_main_process or kwargs.get("push_to_hub"):
            super().save_pretrained(save_directory, **kwargs)
        else:
            folder = Path(save_directory)
            folder.mkdir(parents=True, exist_ok=True)
            with (
                explained("save to", folder),
                TemporaryDirectory(prefix=temporary_prefix(), dir=folder, ignore_cleanup_errors=True) as temporary,
            ):
                self._warn_of_missing_code()
                self.save_network_code(Path(temporary))
                super().save_pretrained(temporary, **kwargs)
                if HOOKS.close_folder is not None:
                    HOOKS.close_folder(Path(temporary))
                move_into(Path(temporary), folder)
        if is_main_process:
            self.write_card(save_directory)

    def _warn_of_missing_code(self):
        """Warn, once for each class, if the checkpoint will not carry the code of a custom method or network."""
        for part in (self, getattr(self, "encoder", None), getattr(self, "decoder", None)):
            if not isinstance(part, PreTrainedModel):
                continue
            needed = {type(part.config): "AutoConfig", type(part): "AutoModel"}
            missing = {
                cls: auto for cls, auto in needed.items() if cls._auto_class is None and not _has_known_code(cls)
            }
            if missing:
                names = " and ".join(cls.__name__ for cls in missing)
                calls = " and ".join(
                    f"{cls.__name__}.register_for_auto_class('{auto}')" for cls, auto in missing.items()
                )
                logger.warning_once(
                    f"the checkpoint does not carry the code of {names}, and loads only where "
                    f"{type(part).__module__} is imported. To save the code too, call {calls} before saving"
                )

    def save_network_code(self, folder: Path):
        """Write the source of a custom encoder or decoder that was marked with `register_for_auto_class`.

        The network's config names the file, so that `trust_remote_code=True` loads it.
        """
        for role in ("encoder", "decoder"):
            network = getattr(self, role, None)
            if getattr(network, "_auto_class", None) is not None:
                custom_object_save(network, folder, config=getattr(self.config, f"{role}_config"))

    def push_to_hub(self, repo_id: str, *args, license: str | None = None, **kwargs):
        """Publish the model and its card in one commit, as `PreTrainedModel` does. Errors say what to do.

        Args:
            repo_id: `user/name`.
            license: license for the card, such as "mit" or "cc-by-4.0". By default the repository's card keeps its
                license; a new card has that of the checkpoint that was loaded, or "apache-2.0" for a new model.
            *args, **kwargs: as in `PreTrainedModel.push_to_hub`.
        """
        self.license = license or self.license
        with explained("publish to", repo_id, kwargs.get("token")):
            return cast(Any, super()).push_to_hub(repo_id, *args, **kwargs)

    def _upload_modified_files(self, working_dir, repo_id, *args, **kwargs):
        # transformers has just replaced our card by its own, even if the repository's card could not be read
        fetch_card(repo_id, working_dir, kwargs.get("token"), kwargs.get("revision"))
        self.write_card(working_dir, repo_id=repo_id, show=True)
        return super()._upload_modified_files(working_dir, repo_id, *args, **kwargs)

    def write_card(self, folder, **kwargs):
        """Write README.md into a folder. Does nothing for a checkpoint's own copy of this code."""
        if HOOKS.write_card is not None:
            HOOKS.write_card(self, folder, **kwargs)
