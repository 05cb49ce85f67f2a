"""What models and samplers add to `PreTrainedModel`: loading that checks, saving that writes a card."""

__all__ = ["HubModel"]

import re
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.dynamic_module_utils import custom_object_save

from .checkpoint_checks import check_checkpoint, check_finite, check_weights_fit, read_kinds, tensor_kinds
from .files import temporary_prefix
from .hooks import HOOKS
from .hub_errors import explained
from .hub_files import fetch_card, move_into


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
        """As in PyTorch, but returns at once if all modules are in that mode: the Trainer calls this in every step."""
        return self if all(module.training is mode for module in self.modules()) else super().train(mode)

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
        nan or infinite.

        Raises:
            ValueError: if the checkpoint has another model_type or an invalid config, or its weights do not match its
                config or are not finite.
            OSError: if the weights are truncated or corrupt, the checkpoint does not exist, or the Hub fails.
        """
        name = pretrained_model_name_or_path
        where = {key: kwargs[key] for key in ("cache_dir", "revision", "token", "subfolder") if kwargs.get(key)}
        kwargs["use_safetensors"] = True
        try:
            with explained("load", name, kwargs.get("token")):
                if kwargs.get("state_dict") is None:
                    options = {key: kwargs[key] for key in ("force_download", "local_files_only") if key in kwargs}
                    check_checkpoint(name, **where, **options)
                loaded = super().from_pretrained(name, *args, output_loading_info=True, **kwargs)
        except SafetensorError as error:
            raise OSError(
                f"the weights of '{name}' are truncated or corrupt ({error}); download or save them again"
            ) from error
        model, info = cast(tuple[HubModel, dict[str, Any]], loaded)
        check_finite(cast(PreTrainedModel, model).state_dict().items(), name)
        model.source = (str(Path(name).resolve()) if Path(name).is_dir() else str(name), where)
        return (model, info) if output_loading_info else model

    @classmethod
    def _load_pretrained_model(cls, model, state_dict, checkpoint_files, load_config, *args, **kwargs):
        # transformers calls this with a model on the meta device, so a mismatch costs no memory
        if checkpoint_files:
            check_weights_fit(
                read_kinds(checkpoint_files),
                tensor_kinds(model.state_dict()),
                f"the weights of '{load_config.pretrained_model_name_or_path}' do not fit the {cls.__name__} in its "
                "config.json",
                ignore_shapes=load_config.ignore_mismatched_sizes,
            )
        return super()._load_pretrained_model(model, state_dict, checkpoint_files, load_config, *args, **kwargs)

    def save_pretrained(self, save_directory, **kwargs):
        """Write config.json, model.safetensors and a model card.

        Files are written to a temporary folder and moved into place when all are complete: after a full disk or a
        killed process, the folder holds what it held before.

        Raises:
            OSError: if the disk is full.
        """
        is_main_process = kwargs.get("is_main_process", True)
        if not is_main_process or kwargs.get("push_to_hub"):
            super().save_pretrained(save_directory, **kwargs)
        else:
            folder = Path(save_directory)
            folder.mkdir(parents=True, exist_ok=True)
            with (
                explained("save to", folder),
                TemporaryDirectory(prefix=temporary_prefix(), dir=folder, ignore_cleanup_errors=True) as temporary,
            ):
                self.save_network_code(Path(temporary))
                super().save_pretrained(temporary, **kwargs)
                if HOOKS.close_folder is not None:
                    HOOKS.close_folder(Path(temporary))
                move_into(Path(temporary), folder)
        if is_main_process:
            self.write_card(save_directory)

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
