"""Defaults, recipes and invalid values of the training arguments."""

from copy import copy, deepcopy
from dataclasses import dataclass, fields

import pytest
import torch
from cases import VAE, images
from trainers import make_arguments
from transformers import TrainerCallback, TrainingArguments

from gae_hub import GAETrainer, GAETrainingArguments


def test_defaults():
    args = GAETrainingArguments("x")
    assert (args.learning_rate, args.weight_decay, args.max_grad_norm) == (1e-3, 0.0, 0.0)
    assert (args.optim, args.lr_scheduler_type) == ("adamw_torch_fused", "constant")
    assert args.per_device_train_batch_size == 100 and args.save_strategy == args.eval_strategy == "epoch"


def test_checkpoints_follow_evaluations():
    assert GAETrainingArguments("x", eval_strategy="steps", eval_steps=7).save_steps == 7
    args = make_arguments("x", save_steps=200, eval_strategy="steps", eval_steps=100)
    assert args.save_steps == 200
    args = GAETrainingArguments("x", eval_strategy="no")
    assert not args.load_best_model_at_end and args.save_strategy == "epoch"


def test_group_settings_are_json():
    args = GAETrainingArguments("x", group_learning_rates='{"encoder": 1e-4}')
    assert args.group_learning_rates == {"encoder": 1e-4}
    with pytest.raises(ValueError, match="group_weight_decay must be a JSON object such as .*, got 'encoder=0.1'"):
        GAETrainingArguments("x", group_weight_decay="encoder=0.1")


def test_unknown_arguments_name_the_nearest_one():
    for name, near in (
        ("epochs", "num_train_epochs"),
        ("learning_rat", "learning_rate"),
        ("batch_size", "batch_size"),
    ):
        with pytest.raises(TypeError, match=f"GAETrainingArguments has no argument '{name}'; did you mean '.*{near}'"):
            GAETrainingArguments("x", **{name: 3})
    given = GAETrainingArguments("x", learning_rate=3e-3)
    assert copy(given).learning_rate == deepcopy(given).learning_rate == 3e-3


def test_invalid_values():
    with pytest.raises(ValueError, match="hub_strategy 'checkpoint' uploads optimizer states"):
        GAETrainingArguments("x", hub_strategy="checkpoint")
    for decay in (1.0, -0.1):
        with pytest.raises(ValueError, match=f"ema_decay must be at least 0 and below 1, got {decay}"):
            GAETrainingArguments("x", ema_decay=decay)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"learning_rate": "1e-3"}, "learning_rate must be a number, got '1e-3'"),
        ({"num_train_epochs": None}, "num_train_epochs must be a number, got None"),
        ({"per_device_eval_batch_size": 0}, "per_device_eval_batch_size must be 1 or more, got 0"),
        ({"max_steps": 0}, "max_steps must be 1 or more, or -1 to train for num_train_epochs; got 0"),
        ({"logging_steps": -1}, "logging_steps must be a number of steps, .* got -1"),
        ({"eval_strategy": "steps", "eval_steps": -2}, "eval_steps must be a number of steps, .* got -2"),
        ({"save_strategy": "steps", "save_steps": 0}, "save_steps must be a number of steps, .* got 0"),
        ({"save_strategy": "best", "eval_strategy": "no"}, "save_strategy 'best' saves after evaluations: set eval"),
        (
            {"load_best_model_at_end": True, "save_strategy": "no"},
            "needs a checkpoint at every evaluation .* eval_strategy is 'epoch' and save_strategy is 'no': use save",
        ),
        (
            {"load_best_model_at_end": True, "eval_strategy": "steps", "eval_steps": 2, "save_steps": 3},
            "eval_strategy is 'steps' with eval_steps=2 and save_strategy is 'steps' with save_steps=3: use save_str",
        ),
    ],
)
def test_errors_name_the_argument_that_caused_them(changes, message):
    with pytest.raises(ValueError, match=message):
        GAETrainingArguments("x", **changes)


def test_the_best_model_is_saved_by_the_metric_of_the_method(tmp_path):
    args = make_arguments(tmp_path, save_strategy="best", load_best_model_at_end=False)
    with pytest.raises(ValueError, match="save_strategy 'best' saves after evaluations: pass an eval_dataset"):
        GAETrainer(VAE.build(), args, train_dataset=images(24))
    trainer = GAETrainer(VAE.build(), args, train_dataset=images(24), eval_dataset=images(8, seed=1))
    assert trainer.args.metric_for_best_model == "loss" and trainer.args.greater_is_better is False


def test_warmup_raises_a_constant_learning_rate_from_zero(tmp_path):
    rates = []

    class Record(TrainerCallback):
        def on_step_end(self, args, state, control, lr_scheduler=None, **kwargs):
            rates.append(lr_scheduler.get_last_lr()[0])

    options = {"warmup_steps": 4, "learning_rate": 0.8, "max_steps": 6}
    GAETrainer(
        VAE.build(), make_arguments(tmp_path, **options), train_dataset=images(20), callbacks=[Record()]
    ).train()
    assert rates == pytest.approx([0.2, 0.4, 0.6, 0.8, 0.8, 0.8])


@pytest.mark.parametrize("schedule", ["reduce_lr_on_plateau", "greedy"])
def test_warmup_needs_a_schedule_that_has_one(schedule):
    with pytest.raises(ValueError, match=f"warmup_steps has no effect with lr_scheduler_type '{schedule}'"):
        GAETrainingArguments("x", warmup_steps=3, lr_scheduler_type=schedule)
    assert GAETrainingArguments("x", warmup_steps=3, lr_scheduler_type="cosine").lr_scheduler_type == "cosine"
    assert GAETrainingArguments("x").lr_scheduler_type == "constant"


def test_the_paper_recipe(tmp_path):
    args = GAETrainingArguments.recipe("paper", str(tmp_path), num_train_epochs=3)
    assert (args.learning_rate, args.per_device_train_batch_size, args.weight_decay) == (1e-4, 100, 0.0)
    assert args.num_train_epochs == 3 and GAETrainingArguments.recipe("paper", str(tmp_path)).num_train_epochs == 100
    trainer = GAETrainer(VAE.build(), args, train_dataset=images(24), eval_dataset=images(8, seed=1))
    trainer.train()
    scheduler = trainer.lr_scheduler
    assert isinstance(scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau)
    assert (scheduler.factor, scheduler.patience, scheduler.mode) == (0.5, 10, "min")
    assert scheduler.best == min(entry["eval_loss"] for entry in trainer.state.log_history if "eval_loss" in entry)


def test_unknown_recipes():
    with pytest.raises(ValueError, match="there is no recipe 'rush'; choose one of paper"):
        GAETrainingArguments.recipe("rush")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"per_device_train_batch_size": 0}, "per_device_train_batch_size must be 1 or more, got 0"),
        ({"per_device_eval_batch_size": -3}, "per_device_eval_batch_size must be 1 or more, got -3"),
        ({"gradient_accumulation_steps": 0}, "gradient_accumulation_steps must be 1 or more, got 0"),
        ({"num_train_epochs": 0}, "num_train_epochs must be above 0 without max_steps, got 0"),
        ({"learning_rate": -1.0}, "learning_rate must be 0 or more, got -1.0"),
    ],
)
def test_numbers_that_train_nothing(changes, message):
    with pytest.raises(ValueError, match=message):
        make_arguments("x", **changes)


def test_arguments_of_transformers_are_used_as_they_are(tmp_path):
    """Values that equal the defaults of transformers too."""
    quiet = {"report_to": "none", "disable_tqdm": True, "use_cpu": True}
    given = TrainingArguments(tmp_path, save_steps=2, save_total_limit=9, **quiet)
    trainer = GAETrainer(VAE.build(), given, train_dataset=images(24), eval_dataset=images(8))
    args, ours = trainer.args, {item.name for item in fields(GAETrainingArguments)}
    assert type(args) is GAETrainingArguments and args.ema_decay == 0.0
    changed = {"remove_unused_columns", "label_names", "data_seed"}
    kept = {item.name for item in fields(TrainingArguments) if item.init and item.name in ours} - changed
    assert {name for name in kept if getattr(args, name) != getattr(given, name)} == set()
    assert (args.learning_rate, args.num_train_epochs, args.per_device_train_batch_size) == (5e-5, 3, 8)
    trainer.train()
    assert trainer.state.global_step == 9  # 3 epochs of 3 batches of 8
    assert sorted(path.name for path in tmp_path.glob("checkpoint-*")) == [f"checkpoint-{n}" for n in (2, 4, 6, 8, 9)]
    assert not any("eval_loss" in entry for entry in trainer.state.log_history)


def test_a_field_that_only_a_subclass_has(tmp_path):
    @dataclass
    class Other(TrainingArguments):
        temperature: float = 1.0

    GAETrainingArguments.from_training_arguments(Other(tmp_path))
    with pytest.raises(ValueError, match="GAETrainingArguments has no field 'temperature', which Other sets"):
        GAETrainingArguments.from_training_arguments(Other(tmp_path, temperature=2.0))
