"""TrainingPipeline trains, saves and returns the model."""

import numpy as np
import torch
from cases import VAE

from gae_hub import AutoGAE, GAETrainingArguments, TrainingPipeline


def test_training_pipeline_trains_as_the_trainer_does(tmp_path):
    data = np.random.default_rng(0).random((32, 1, 8, 8), dtype=np.float32)
    args = GAETrainingArguments(str(tmp_path), num_train_epochs=2, per_device_train_batch_size=16, disable_tqdm=True)
    start, pipeline = VAE.build(), TrainingPipeline(VAE.build(), args)
    assert pipeline.trainer is None
    model = pipeline(data, data[:16])
    assert model is pipeline.model and not model.training and pipeline.trainer.state.global_step == 4
    x = torch.from_numpy(data)
    assert not torch.equal(model.embed(x), start.embed(x))
    assert torch.equal(AutoGAE.from_pretrained(tmp_path).embed(x), model.embed(x))
    assert any("eval_loss" in entry for entry in pipeline.trainer.state.log_history)
