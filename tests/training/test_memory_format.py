"""The channels-last memory format."""

import pytest
import torch
from cases import VAE, images
from torch import nn
from trainers import make_arguments
from transformers import TrainerCallback

from gae_hub import GAETrainer
from gae_hub.training.memory_format import use_channels_last


def test_use_channels_last():
    """Of one model with layers of all dimensions: values stay, and each weight has the format of its dimensions."""
    convs = nn.Sequential(nn.Conv1d(3, 4, 3), nn.Conv2d(3, 4, 3), nn.Conv3d(3, 4, 3), nn.BatchNorm3d(4))
    convs.register_buffer("maps", torch.rand(2, 3, 4, 5))
    before = {name: value.clone() for name, value in convs.state_dict().items()}
    parameters = list(convs.parameters())
    use_channels_last(convs)
    assert all(one is other for one, other in zip(convs.parameters(), parameters, strict=True))
    assert all(torch.equal(value, before[name]) for name, value in convs.state_dict().items())
    line, image, volume, _ = convs
    assert line.weight.is_contiguous()
    assert image.weight.is_contiguous(memory_format=torch.channels_last) and not image.weight.is_contiguous()
    assert volume.weight.is_contiguous(memory_format=torch.channels_last_3d) and not volume.weight.is_contiguous()
    assert convs.maps.is_contiguous(memory_format=torch.channels_last)


def test_images_have_the_format_of_torch():
    """The strides that `model.to` sets, also where one channel leaves a choice: they change rounding."""
    convs = [nn.Sequential(nn.Conv2d(1, 4, 3), nn.Conv2d(4, 6, 1), nn.ConvTranspose2d(6, 1, 3)) for _ in range(2)]
    use_channels_last(convs[0])
    convs[1].to(memory_format=torch.channels_last)
    own, expected = ([p.stride() for p in net.parameters()] for net in convs)
    assert own == expected


class Watch(TrainerCallback):
    """Notes in each step whether a model has weights that are not contiguous."""

    def __init__(self):
        self.seen = set()

    def on_step_end(self, args, state, control, model, **kwargs):
        self.seen.add(any(not p.is_contiguous() for p in model.parameters()))


@pytest.mark.parametrize("from_init", [False, True], ids=["model", "model_init"])
@pytest.mark.parametrize("channels_last", [True, False])
@pytest.mark.parametrize("shape", [(2, 37), (2, 9, 6), (2, 7, 9, 6)])
def test_training(shape, channels_last, from_init, tmp_path):
    """Weights of images and volumes are channels last during training, and contiguous afterwards."""
    network = {"model_type": "conv", "channels": [4, 6]}
    watch = Watch()

    def build():
        return VAE.build(input_shape=shape, encoder_config=network, decoder_config=network)

    settings = {"args": make_arguments(tmp_path, channels_last=channels_last), "callbacks": [watch]}
    settings |= {"model_init": build} if from_init else {"model": build()}
    trainer = GAETrainer(**settings, train_dataset=images(24, shape))
    trainer.train()
    assert trainer.state.global_step == 6
    assert watch.seen == {channels_last and len(shape) > 2}
    assert all(p.is_contiguous() for p in trainer.model.parameters())
