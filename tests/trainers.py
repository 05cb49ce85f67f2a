"""Trainers of tiny models, for tests of the training folder."""

import torch
from cases import VAE, images

from gae_hub import GAETrainer, GAETrainingArguments


def make_arguments(folder, **changes):
    fields = {"per_device_train_batch_size": 8, "num_train_epochs": 2, "disable_tqdm": True, "save_total_limit": None}
    return GAETrainingArguments(str(folder), **{**fields, **changes})


def make_trainer(folder, model=None, data=None, eval_data=None, callbacks=(), **changes):
    """24 images in batches of 8, for two epochs, without an evaluation."""
    return GAETrainer(
        model or VAE.build(),
        make_arguments(folder, **changes),
        train_dataset=images(24) if data is None else data,
        eval_dataset=eval_data,
        callbacks=list(callbacks),
    )


def same_state(one, other):
    return all(torch.equal(p, q) for p, q in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


def flat_weights(model):
    """All parameters as one vector."""
    return torch.cat([p.detach().flatten() for p in model.parameters()]).clone()
