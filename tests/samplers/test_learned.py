"""What learned samplers inherit from GAETrainer."""

import pytest
import torch
from densities import noise
from transformers import EarlyStoppingCallback

from gae_hub import GAETrainingArguments, MAFSampler


def test_trainer(tmp_path):
    """Early stopping, the best weights, the log of terms, and a resume to the same weights."""

    def prepare(folder, **changes):
        fields = {"num_train_epochs": 4, "disable_tqdm": True, "report_to": "none", "logging_steps": 1, **changes}
        args = GAETrainingArguments(str(tmp_path / folder), **fields)
        return MAFSampler(hidden_size=8, num_hidden_layers=1), args

    data, held_out = noise(200, 2), noise(100, 2, seed=1)
    sampler, args = prepare("whole")
    sampler.fit(data, validation_latents=held_out, args=args)
    losses = [entry["eval_loss"] for entry in sampler.log_history if "eval_loss" in entry]
    assert len(losses) == 4 and "negative_log_likelihood" in sampler.log_history[0]
    torch.testing.assert_close(-sampler.log_prob(held_out).mean().item(), min(losses), atol=1e-4, rtol=0)
    resumed, args = prepare("whole")
    checkpoint = sorted((tmp_path / "whole").glob("checkpoint-*"))[0]
    resumed.fit(data, validation_latents=held_out, args=args, resume_from_checkpoint=str(checkpoint))
    assert torch.equal(resumed.log_prob(held_out), sampler.log_prob(held_out))
    stopped, args = prepare("stopped", num_train_epochs=50, learning_rate=0.3)
    stopped.fit(data, validation_latents=held_out, args=args, callbacks=[EarlyStoppingCallback(2)])
    assert sum("eval_loss" in entry for entry in stopped.log_history) < 50
    with pytest.raises(ValueError, match="set num_train_epochs in args, or leave args out"):
        stopped.fit(data, args=args, num_train_epochs=2)


def test_validation_latents_are_checked():
    sampler = MAFSampler(hidden_size=8, num_hidden_layers=1)
    with pytest.raises(ValueError, match="nan or infinite"):
        sampler.fit(noise(20, 2), validation_latents=torch.full((20, 2), torch.nan), progress=False)
    assert not sampler.config.is_fitted
