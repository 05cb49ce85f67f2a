"""Which models can train together: methods, the config fields in which they may differ, and training arguments."""

__all__ = ["NOT_STACKABLE", "STACKABLE", "can_stack_arguments", "stack_key"]

import json
from collections.abc import Hashable
from dataclasses import MISSING, fields
from typing import Any

from transformers.trainer_utils import IntervalStrategy

from ..models.base import MODELS, GAEConfig
from ..training.arguments import GAETrainingArguments

STACKABLE: dict[str, tuple[str, ...]] = {
    "aae": ("adversarial_weight",),
    "beta_tc_vae": ("alpha", "beta", "gamma"),
    "beta_vae": ("beta",),
    "factor_vae": ("gamma",),
    "info_vae": ("alpha", "mmd_weight", "bandwidth"),
    "msssim_vae": ("beta",),
    "rae_gp": ("embedding_weight", "decoder_penalty_weight"),
    "rae_l2": ("embedding_weight", "decoder_penalty_weight"),
    "vq_vae": ("commitment_weight", "codebook_weight"),
    "wae_mmd": ("mmd_weight", "bandwidth"),
}
"""Short name of a method to the fields in which configs of a stack may differ. They enter the loss by arithmetic."""

NOT_STACKABLE: dict[str, str] = {
    "ae": "it has no hyperparameter: its configurations differ in their seeds, so in weights and order of the data",
    "iwae": "num_samples is the size of an axis",
    "vae": "it has no hyperparameter: its configurations differ in their seeds, so in weights and order of the data",
    "vae_gan": "networks skip steps by values that are read in Python",
    "vae_iaf": "its hyperparameters are the numbers and sizes of layers",
    "vae_lin_nf": "its hyperparameters are the kinds and numbers of layers",
    "vamp": "num_components is the size of an axis",
}
"""Short name of every other method of the paper to why it cannot be stacked."""

# the weights of convolutions would need a grouped convolution, which is slower than one after the other
_NETWORKS = {"gae_mlp_encoder", "gae_mlp_decoder"}

# arguments that change what a training step, evaluation or schedule does in a way that a stack does not follow
_UNSUPPORTED = (
    "auto_find_batch_size",
    "bf16",
    "bf16_full_eval",
    "deepspeed",
    "ema_decay",
    "eval_delay",
    "eval_on_start",
    "fp16",
    "fp16_full_eval",
    "fsdp",
    "full_determinism",
    "gradient_accumulation_steps",
    "gradient_checkpointing",
    "group_max_grad_norm",
    "ignore_data_skip",
    "image_interval",
    "logging_first_step",
    "max_grad_norm",
    "neftune_noise_alpha",
    "push_to_hub",
    "torch_compile",
    "use_liger_kernel",
)


def stack_key(config: GAEConfig) -> Hashable | None:
    """The key that configs have in common if their models can train together; None if the method cannot be stacked.

    Configs of one key differ only in the fields that `STACKABLE` lists for their method. Models that train together
    also need the same training arguments, with the same seed, and the same data.

    Args:
        config: of any method.
    """
    method = config.model_type.removeprefix("gae_")
    networks = {getattr(network, "model_type", None) for network in (config.encoder_config, config.decoder_config)}
    is_own_class = method in MODELS and type(config) is MODELS[method].config_class
    if method not in STACKABLE or not is_own_class or not networks <= _NETWORKS:
        return None
    values = {name: value for name, value in config.to_dict().items() if name not in STACKABLE[method]}
    return method, json.dumps(values, sort_keys=True, default=repr)


def can_stack_arguments(args: GAETrainingArguments) -> str | None:
    """Why models cannot train together with these arguments; None if they can.

    Args:
        args: of all models of a stack.
    """
    defaults = {field.name: _default_of(field) for field in fields(GAETrainingArguments)}
    for name in _UNSUPPORTED:
        value = getattr(args, name)
        if value != defaults[name] and (value or defaults[name]):
            return f"{name} is {value!r}, and models that train together support {defaults[name]!r} only"
    for name in ("eval_strategy", "save_strategy"):
        value = getattr(args, name)
        if value not in (IntervalStrategy.EPOCH, IntervalStrategy.NO):
            return f"{name} is '{value.value}', and models that train together support 'epoch' and 'no' only"
    if args.world_size > 1:
        return f"there are {args.world_size} processes, and models that train together need one"
    return None


def _default_of(field: Any) -> Any:
    return field.default if field.default_factory is MISSING else field.default_factory()
