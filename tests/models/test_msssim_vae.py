"""MSSSIM-VAE: loss, precision under autocast, and fields."""

import pytest
import torch
from cases import NETWORKS, SHAPE, generator, images

from gae_hub import BetaVAEConfig, BetaVAEModel, MSSSIMVAEConfig, MSSSIMVAEModel
from gae_hub.modules.ms_ssim import ms_ssim


def test_loss():
    torch.manual_seed(0)
    model = MSSSIMVAEModel(MSSSIMVAEConfig(input_shape=SHAPE, latent_dim=3, beta=0.5, **NETWORKS)).double()
    x = images(5).double()
    out = model(x, generator=generator())
    similarity = ms_ssim(x, out.reconstruction)
    torch.testing.assert_close(out.losses["reconstruction"], 64 * (1 - similarity).mean().detach())
    vae = BetaVAEModel(BetaVAEConfig(input_shape=SHAPE, latent_dim=3, beta=0.5, **NETWORKS)).double()
    vae.load_state_dict(model.state_dict())
    plain = vae(x, generator=generator())
    torch.testing.assert_close(out.reconstruction, plain.reconstruction)
    torch.testing.assert_close(out.losses["kl"], plain.losses["kl"])


def test_similarity_ignores_autocast():
    torch.manual_seed(0)
    model = MSSSIMVAEModel(MSSSIMVAEConfig(input_shape=SHAPE, latent_dim=3, **NETWORKS))
    x, y = images(5), images(5, seed=1)
    exact = ms_ssim(x, y)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(model.compute_similarity(x, y), exact)
        assert not torch.equal(ms_ssim(x, y), exact)


@pytest.mark.parametrize(
    "fields",
    [
        {"beta": -1},
        {"window_size": 4},
        {"num_scales": 4},
        {"num_scales": 0},
        {"input_shape": (5,)},
        {"input_shape": (1, 3, 9)},
    ],
)
def test_invalid_fields(fields):
    with pytest.raises(Exception, match=next(iter(fields))):
        MSSSIMVAEConfig(**fields)
