"""Models that cannot be trained or saved: an error when the trainer is built."""

import pytest
import torch
from cases import VAE, images
from trainers import make_trainer


def test_a_frozen_model(tmp_path):
    model = VAE.build().requires_grad_(False)
    with pytest.raises(ValueError, match="VAEModel has nothing to train: all its parameters have requires_grad=False"):
        make_trainer(tmp_path, model)
    model.decoder.requires_grad_(True)
    before = [p.clone() for p in model.parameters()]
    make_trainer(tmp_path, model, num_train_epochs=1).train()
    changed = [not torch.equal(p, q) for p, q in zip(model.parameters(), before, strict=True)]
    assert changed == [p.requires_grad for p in model.parameters()] and any(changed)


def test_weights_that_were_tied_after_the_model_was_built(tmp_path):
    model = VAE.build(encoder_config={"hidden_sizes": [64, 64]})
    model.encoder.net[2].weight = model.encoder.net[0].weight
    with pytest.raises(ValueError, match=r"two names, 'encoder.net.0.weight' and 'encoder.net.2.weight'.*call it"):
        make_trainer(tmp_path, model)


def test_fewer_images_than_a_batch_that_is_dropped(tmp_path):
    with pytest.raises(ValueError, match="5 images, fewer than a batch of 8, which dataloader_drop_last=True"):
        make_trainer(tmp_path, data=images(5), dataloader_drop_last=True)
