"""Facts about a run: training.json holds them, and the model card shows them."""

__all__ = ["collect_facts"]

from dataclasses import MISSING, fields
from typing import Any

from transformers import TrainerState

from .arguments import GAETrainingArguments
from .run_info import RunCost, environment

# arguments that transformers fills in by itself, so that they are not choices of the user
_FILLED_IN = {
    "accelerator_config",
    "activation_checkpointing",
    "data_seed",
    "debug",
    "disable_tqdm",
    "do_eval",
    "do_train",
    "eval_strategy",
    "gradient_checkpointing",
    "greater_is_better",
    "load_best_model_at_end",
    "metric_for_best_model",
    "report_to",
    "save_strategy",
}
# arguments that concern the user's machine or account only
_PRIVATE = {"hub_token", "output_dir", "overwrite_output_dir", "resume_from_checkpoint", "run_name"}


def collect_facts(
    args: GAETrainingArguments,
    state: TrainerState,
    train_dataset: Any,
    cost: RunCost,
    warnings: dict[str, str],
    divergences: list[dict[str, Any]],
) -> dict[str, Any]:
    """Facts about a run, as JSON values.

    Args:
        args, state, train_dataset: of the trainer.
        cost: duration and energy.
        warnings: of the last evaluation, by name.
        divergences: `DivergenceGuard.events`.
    """
    options = getattr(train_dataset, "options", None)
    binarization = getattr(train_dataset, "binarization", None)
    return {
        "dataset": getattr(train_dataset, "name", None),
        "origin": getattr(train_dataset, "origin", None),
        "revision": getattr(train_dataset, "revision", None),
        "held_out": getattr(train_dataset, "held_out", None),
        "binarized": None if binarization is None else binarization.explain(),
        "data_options": options.to_dict() if options is not None else None,
        "environment": environment(),
        "num_train_images": len(train_dataset) if hasattr(train_dataset, "__len__") else None,
        "arguments": _changed_arguments(args),
        "num_processes": args.world_size,
        "steps": state.global_step,
        "best_step": state.best_global_step if args.load_best_model_at_end else None,
        "seconds": round(cost.read_seconds(), 1),
        "joules": cost.read_joules(),
        "warnings": warnings,
        "divergences": divergences,
        "log": state.log_history,
    }


def _changed_arguments(args: GAETrainingArguments) -> dict[str, Any]:
    """Arguments that differ from their defaults."""
    defaults = {
        field.name: field.default if field.default_factory is MISSING else field.default_factory()
        for field in fields(args)
    }
    return {
        name: value
        for name, value in args.to_dict().items()
        if name not in _FILLED_IN | _PRIVATE and value != defaults.get(name)
    }
