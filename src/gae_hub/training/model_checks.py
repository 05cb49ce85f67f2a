"""Checks before training that model, data and arguments fit together, so that no run fails late."""

__all__ = ["check_data", "check_model"]

from typing import Any

from torch import nn

from ..modules.backbones import check_sharing
from ..modules.inputs import check_values
from .arguments import GAETrainingArguments


def check_model(model: nn.Module, args: GAETrainingArguments, is_fsdp_enabled: bool):
    """Raise ValueError if the model has nothing to train, or cannot be saved, or sharded or compiled as asked."""
    name = type(model).__name__
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise ValueError(
            f"{name} has nothing to train: all its parameters have requires_grad=False; call requires_grad_(True) on "
            "the model, or on the network to train"
        )
    check_sharing(model)
    if is_fsdp_enabled and not getattr(model, "shardable", True):
        raise ValueError(
            f"the loss of {name} uses weights outside their modules, which FSDP shards: train it with "
            "DistributedDataParallel, the default of `accelerate launch`"
        )
    compiles = args.torch_compile and args.torch_compile_backend != "eager"
    if compiles and not getattr(model, "can_be_compiled", True):
        raise ValueError(
            f"torch_compile=True does not work for {name}: its loss contains a gradient, which torch.compile cannot "
            "differentiate again; remove torch_compile, or set torch_compile_backend='eager'"
        )


def check_data(model: Any, args: GAETrainingArguments, train_dataset: Any, eval_dataset: Any):
    """Raise ValueError if a data set has another shape than the model, or ends with a batch too small for its loss."""
    for dataset in (train_dataset, eval_dataset):
        shape = getattr(dataset, "input_shape", None)
        if shape is not None and shape != model.config.input_shape:
            raise ValueError(
                f"the data has input_shape {shape}, but the model was built for {model.config.input_shape}; resize "
                "the data, or build the model for it"
            )
        _check_range(model, dataset)
    if args.dataloader_drop_last and hasattr(train_dataset, "__len__"):
        images_per_batch = args.per_device_train_batch_size * args.world_size
        if len(train_dataset) < images_per_batch:
            raise ValueError(
                f"train_dataset has {len(train_dataset)} images, fewer than a batch of {images_per_batch}, which "
                "dataloader_drop_last=True drops: choose a smaller per_device_train_batch_size"
            )
    if not args.dataloader_drop_last and args.world_size == 1:  # several processes fill up their last batches
        remedy = " or set dataloader_drop_last=True"
        _check_last_batch("train_dataset", train_dataset, "per_device_train_batch_size", args, model, remedy)
    _check_last_batch("eval_dataset", eval_dataset, "per_device_eval_batch_size", args, model)


def _check_range(model: Any, dataset: Any):
    """Raise ValueError if data in memory have values outside [0, 1] and the model needs values in it."""
    low, high = getattr(dataset, "value_range", (0.0, 1.0))
    if not (0 <= low and high <= 1) and getattr(getattr(model, "likelihood", None), "is_bounded", False):
        try:
            check_values(dataset.pixel_values)
        except ValueError as error:
            raise ValueError(f"'{dataset.name}' does not fit {type(model).__name__}: {error}") from error


def _check_last_batch(
    name: str, dataset: Any, field: str, args: GAETrainingArguments, model: nn.Module, remedy: str = ""
):
    if not hasattr(dataset, "__len__"):
        return
    min_batch_size, batch_size = getattr(model, "min_batch_size", 1), getattr(args, field)
    last_batch_size = len(dataset) % batch_size or min(batch_size, len(dataset))
    if last_batch_size < min_batch_size:
        raise ValueError(
            f"{name} has {len(dataset)} images, so that with {field}={batch_size} the last batch has "
            f"{last_batch_size}, but the loss of {type(model).__name__} needs {min_batch_size}: choose another "
            f"{field}{remedy}"
        )
