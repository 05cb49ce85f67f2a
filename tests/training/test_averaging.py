"""The average of the weights: what it is, where it stands in for them, and that nothing of it is lost."""

from copy import deepcopy

import pytest
import torch
from cases import VAE, images
from transformers import TrainerCallback

from gae_hub import AutoGAE, GAETrainer, GAETrainingArguments

DECAY = 0.8


class Watch(TrainerCallback):
    """The training's own weights after each step."""

    def __init__(self):
        self.weights = []

    def on_step_end(self, args, state, control, model=None, **kwargs):
        self.weights.append(flat(model))


def flat(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()]).clone()


def build():
    return VAE.build(encoder_config="conv", decoder_config="conv")  # with batch norm


def train(folder, model, resume=None, callbacks=(), eval_data=True, **changes):
    fields = {"per_device_train_batch_size": 4, "num_train_epochs": 3, "disable_tqdm": True, "save_total_limit": None}
    args = GAETrainingArguments(str(folder), **{**fields, "ema_decay": DECAY, **changes})
    data = {"train_dataset": images(12), "eval_dataset": images(6, seed=1) if eval_data else None}
    run = GAETrainer(model, args, **data, callbacks=list(callbacks))
    run.train(resume_from_checkpoint=resume)
    return run


def test_it_is_its_recursion_and_what_is_kept(tmp_path):
    watch, model = Watch(), build()
    run = train(tmp_path, model, callbacks=[watch], eval_data=False)
    average = watch.weights[0]
    for weights in watch.weights[1:]:
        average = DECAY * average + (1 - DECAY) * weights
    torch.testing.assert_close(flat(model), average)
    assert not torch.allclose(average, watch.weights[-1], atol=1e-5)
    assert torch.equal(flat(AutoGAE.from_pretrained(tmp_path / "checkpoint-9")), flat(model))
    assert run.average.average is None


def test_training_goes_on_with_its_own_weights(tmp_path):
    """Evaluation and checkpoints in between change nothing of it."""
    watches = Watch(), Watch()
    for folder, watch, changes in (("a", watches[0], {}), ("b", watches[1], {"ema_decay": 0.0})):
        train(tmp_path / folder, build(), callbacks=[watch], **changes)
    assert len(watches[0].weights) == 9
    assert all(torch.equal(*pair) for pair in zip(watches[0].weights, watches[1].weights, strict=True))


def test_it_is_what_is_evaluated(tmp_path):
    run = train(tmp_path, build())
    best = run.state.best_global_step
    found = {entry["step"]: entry["eval_loss"] for entry in run.state.log_history if "eval_loss" in entry}
    for step, loss in found.items():
        saved = AutoGAE.from_pretrained(tmp_path / f"checkpoint-{step}")
        alone = GAETrainer(saved, GAETrainingArguments(str(tmp_path / "alone"), disable_tqdm=True))
        assert alone.evaluate(images(6, seed=1))["eval_loss"] == pytest.approx(loss, rel=1e-6)
    assert torch.equal(flat(run.model), flat(AutoGAE.from_pretrained(tmp_path / f"checkpoint-{best}")))


def test_it_resumes_to_the_bit(tmp_path):
    start = build()
    whole, resumed = deepcopy(start), deepcopy(start)
    train(tmp_path, whole, load_best_model_at_end=False)
    train(tmp_path, resumed, resume=str(tmp_path / "checkpoint-3"), load_best_model_at_end=False)
    assert torch.equal(flat(whole), flat(resumed))


def test_what_goes_wrong(tmp_path):
    with pytest.raises(ValueError, match=r"ema_decay must lie in \[0, 1\), got 1.0"):
        GAETrainingArguments(str(tmp_path), ema_decay=1.0)
    train(tmp_path, build(), ema_decay=0.0)
    with pytest.raises(ValueError, match="was trained without ema_decay: resume without it"):
        train(tmp_path, build(), resume=str(tmp_path / "checkpoint-3"))
