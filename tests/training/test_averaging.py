"""The moving average of the weights: its recursion, where it is used, and that training is not changed by it."""

from copy import deepcopy

import pytest
import torch
from cases import VAE, images
from trainers import flat_weights, make_trainer
from transformers import TrainerCallback

from gae_hub import AutoGAE, GAETrainer, GAETrainingArguments

DECAY = 0.8
EVAL = images(6, seed=1)


class RecordWeights(TrainerCallback):
    """Records the training weights after each step."""

    def __init__(self):
        self.weights = []

    def on_step_end(self, args, state, control, model=None, **kwargs):
        self.weights.append(flat_weights(model))


def build():
    return VAE.build(encoder_config="conv", decoder_config="conv")  # with batch norm


def train(folder, model, resume=None, callbacks=(), eval_data=EVAL, **changes):
    """Nine steps in three epochs."""
    fields = {"per_device_train_batch_size": 4, "num_train_epochs": 3, "ema_decay": DECAY, **changes}
    trainer = make_trainer(folder, model, images(12), eval_data, callbacks, **fields)
    trainer.train(resume_from_checkpoint=resume)
    return trainer


def test_the_average_follows_its_recursion_and_is_kept(tmp_path):
    record, model = RecordWeights(), build()
    trainer = train(tmp_path, model, callbacks=[record], eval_data=None)
    average = record.weights[0]
    for weights in record.weights[1:]:
        average = DECAY * average + (1 - DECAY) * weights
    torch.testing.assert_close(flat_weights(model), average)
    assert not torch.allclose(average, record.weights[-1], atol=1e-5)
    assert torch.equal(flat_weights(AutoGAE.from_pretrained(tmp_path / "checkpoint-9")), flat_weights(model))
    assert trainer.average.values is None


def test_evaluations_and_checkpoints_do_not_change_training(tmp_path):
    records = RecordWeights(), RecordWeights()
    for folder, record, changes in (("a", records[0], {}), ("b", records[1], {"ema_decay": 0.0})):
        train(tmp_path / folder, build(), callbacks=[record], **changes)
    assert len(records[0].weights) == 9
    assert all(torch.equal(*pair) for pair in zip(records[0].weights, records[1].weights, strict=True))


def test_the_average_is_evaluated_and_saved(tmp_path):
    trainer = train(tmp_path, build())
    best = trainer.state.best_global_step
    losses = {entry["step"]: entry["eval_loss"] for entry in trainer.state.log_history if "eval_loss" in entry}
    for step, loss in losses.items():
        saved = AutoGAE.from_pretrained(tmp_path / f"checkpoint-{step}")
        alone = GAETrainer(saved, GAETrainingArguments(str(tmp_path / "alone"), disable_tqdm=True))
        assert alone.evaluate(EVAL)["eval_loss"] == pytest.approx(loss, rel=1e-6)
    kept = AutoGAE.from_pretrained(tmp_path / f"checkpoint-{best}")
    assert torch.equal(flat_weights(trainer.model), flat_weights(kept))


def test_resuming_is_exact_to_the_bit(tmp_path):
    start = build()
    whole, resumed = deepcopy(start), deepcopy(start)
    train(tmp_path, whole, load_best_model_at_end=False)
    train(tmp_path, resumed, resume=str(tmp_path / "checkpoint-3"), load_best_model_at_end=False)
    assert torch.equal(flat_weights(whole), flat_weights(resumed))


def test_resuming_needs_an_average(tmp_path):
    train(tmp_path, build(), ema_decay=0.0)
    with pytest.raises(ValueError, match="ema_decay was 0.0 and is 0.8"):
        train(tmp_path, build(), resume=str(tmp_path / "checkpoint-3"))
