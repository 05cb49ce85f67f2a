"""KL-GAN and VQ-GAN on a GPU: a long run in bf16 with the networks of diffusers, without collapse."""

import pytest
import torch
import torch.nn.functional as F
from cases import ROWS, generator
from device import DEVICE

from gae_hub import GAETrainer, GAETrainingArguments

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning"),  # raised inside of diffusers
]
ON_GPU = DEVICE.type == "cuda"
NUM_STEPS = 10_000 if ON_GPU else 40
CHANNELS = [64, 128, 128] if ON_GPU else [8, 8, 8]
NETWORK = {"model_type": "diffusers_kl", "block_out_channels": CHANNELS, "norm_num_groups": 8}


def smooth_images_with_edges(num: int) -> torch.Tensor:
    """(num, 3, 32, 32): two smooth random images, one on either side of a random line."""
    g = generator()
    first, second = (
        F.interpolate(torch.rand(num, 3, 4, 4, generator=g), size=32, mode="bicubic").clamp(0, 1) for _ in range(2)
    )
    a, b, c = torch.randn(3, num, 1, 1, 1, generator=g)
    axis = torch.linspace(-1, 1, 32)
    return torch.where(a * axis + b * axis.view(-1, 1) + 0.3 * c > 0, first, second)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", ["kl_gan", "vq_gan"])
def test_a_long_run_in_bf16_does_not_collapse(name, tmp_path):
    """The guard restores nothing, the error keeps falling after the start, and neither player wins the game."""
    model = ROWS[name].build(
        input_shape=(3, 32, 32),
        latent_dim=4 * 64 if name == "kl_gan" else 4,
        latent_layout="spatial",
        output_activation="identity",
        encoder_config=NETWORK,
        decoder_config=NETWORK,
        discriminator_channels=[64, 128, 256] if ON_GPU else [8, 8, 8],
        discriminator_start=0.25,
        **({"kl_weight": 1e-6} if name == "kl_gan" else {"num_embeddings": 512 if ON_GPU else 16}),
    )
    args = GAETrainingArguments(
        str(tmp_path),
        max_steps=NUM_STEPS,
        per_device_train_batch_size=64 if ON_GPU else 8,
        learning_rate=2e-4,
        adam_beta1=0.5,
        bf16=ON_GPU,
        use_cpu=not ON_GPU,
        logging_steps=NUM_STEPS // 20,
        save_strategy="no",
        disable_tqdm=True,
        report_to="none",
    )
    trainer = GAETrainer(model, args, train_dataset=smooth_images_with_edges(20_000 if ON_GPU else 100))
    trainer.train()
    entries = [entry for entry in trainer.state.log_history if "distortion" in entry]
    before, end = entries[4], entries[-1]
    assert trainer.guard.events == []
    assert all(value.isfinite().all() for value in model.state_dict().values())
    assert before["discriminator"] == 0 < end["discriminator"] < 1.1
    assert 0 < end["adaptive_weight"] <= 1e4
    if ON_GPU:  # long enough to learn
        assert end["distortion"] < 1.2 * before["distortion"] < 1.2 * entries[0]["distortion"]
        assert end["discriminator_accuracy"] < 0.999
