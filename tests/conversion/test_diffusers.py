"""The autoencoder for diffusers: its outputs, its scaling factor, and its use in a pipeline."""

import json

import pytest
import torch
from cases import VAE, ModelCase, generator, images

from gae_hub import AutoGAE, FlowPriorVAEModel, SVAEModel, VAMPModel, VQVAEModel, load_images
from gae_hub.cli.main import main
from gae_hub.conversion.diffusers import DiffusersAutoencoder

CONV = {
    "encoder_config": {"model_type": "conv", "channels": [4, 8]},
    "decoder_config": {"model_type": "conv", "channels": [4, 8]},
}
VQVAE = ModelCase(VQVAEModel, {"num_embeddings": 16})
VAMP, FLOW_PRIOR = ModelCase(VAMPModel, {"num_components": 5}), ModelCase(FlowPriorVAEModel, {"hidden_size": 8})


@pytest.mark.parametrize("case", [VAE, VQVAE, VAMP, FLOW_PRIOR], ids=lambda case: case.id)
def test_outputs_equal_the_model(case, tmp_path):
    model, x = case.build(**CONV).eval(), images(6)
    vae = DiffusersAutoencoder.from_model(model, x)
    posterior = vae.encode(2 * x - 1).latent_dist
    samples = torch.stack([posterior.sample(torch.Generator().manual_seed(seed)) for seed in range(500)])
    assert (samples * vae.config.scaling_factor).std().item() == pytest.approx(1, abs=0.02)
    assert posterior.mode().dim() == 4 and posterior.mode().shape[1] == vae.config.latent_channels
    assert torch.allclose(vae.decode(posterior.mode()).sample, 2 * model.reconstruct(x) - 1, atol=1e-6)
    assert torch.equal(samples[0], posterior.sample(torch.Generator().manual_seed(0)))
    assert torch.equal(samples[0], posterior.mode()) == (posterior.logvar is None)
    vae.save_pretrained(tmp_path)
    loaded = DiffusersAutoencoder.from_pretrained(tmp_path)
    assert loaded.config.scaling_factor == vae.config.scaling_factor
    assert torch.equal(loaded(2 * x - 1).sample, vae(2 * x - 1).sample)
    assert torch.equal(AutoGAE.from_pretrained(tmp_path).embed(x), model.embed(x))


@pytest.mark.parametrize("case", [VAE, VQVAE], ids=lambda case: case.id)
def test_the_command_measures_the_scaling_factor(case, tmp_path, capsys):
    """1 / standard deviation of samples over images and dimensions, as in Rombach et al. (2022)."""
    model = case.build(**CONV).eval()
    model.save_pretrained(tmp_path / "model")
    command = ["export", str(tmp_path / "model"), "--output_dir", str(tmp_path / "vae"), "--format", "diffusers"]
    assert main([*command, "--dataset", "digits"]) == 0
    assert "on 1,397 images of digits, train" in capsys.readouterr().out
    factor = json.loads((tmp_path / "vae" / "diffusers.json").read_text())["scaling_factor"]
    x = load_images("digits", "train").pixel_values.float() / 255
    samples = model.encode(x).rsample(generator=generator()) if case is VAE else model.encode(x).mean
    assert factor * samples.double().std().item() == pytest.approx(1, abs=0.02 if case is VAE else 1e-4)
    vae = DiffusersAutoencoder.from_pretrained(tmp_path / "vae")
    assert vae.config.scaling_factor == factor != 1
    assert DiffusersAutoencoder.from_model(model, x).config.scaling_factor == pytest.approx(factor, rel=1e-5)
    assert main(command) == 0  # the folder has no record of its training data
    assert "scaling_factor 1, the default: pass --dataset to measure it" in capsys.readouterr().out


def test_the_command_uses_the_data_of_the_run(trained, tmp_path, capsys):
    assert (
        main(
            ["export", str(trained), "--output_dir", str(tmp_path / "vae"), "--format", "diffusers", "--split", "test"]
        )
        == 0
    )
    assert "on 200 images of digits, test" in capsys.readouterr().out
    assert (
        main(
            ["export", str(trained), "--output_dir", str(tmp_path / "onnx"), "--format", "onnx", "--dataset", "digits"]
        )
        == 2
    )
    assert "--dataset: only --format diffusers scales latents by data" in capsys.readouterr().err


def test_invalid_scaling_factors():
    with pytest.raises(ValueError, match="scaling_factor must be above 0"):
        DiffusersAutoencoder(VAE.build(), 0.0)
    constant = VQVAE.build()
    for name, parameter in constant.named_parameters():
        if not name.startswith("decoder"):
            parameter.data.zero_()
    with pytest.raises(ValueError, match="the latents of these images are all equal"):
        DiffusersAutoencoder.from_model(constant, images(4))


def test_unsupported_models():
    vae = DiffusersAutoencoder(ModelCase(SVAEModel).build())
    with pytest.raises(ValueError, match="needs a Gaussian or deterministic posterior, but SVAEModel has a VonMisesF"):
        vae.encode(images(2))
    with pytest.raises(ValueError, match=r"needs a model of images, .* got \(5,\)"):
        DiffusersAutoencoder.from_model(VAE.build(input_shape=(5,)))


@pytest.mark.filterwarnings(  # raised inside of diffusers
    "ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"
)
def test_in_a_pipeline_of_diffusers():
    """DiTPipeline denoises latents and decodes them to images."""
    from diffusers import DDIMScheduler, DiTPipeline, DiTTransformer2DModel

    model = VQVAE.build(**CONV, latent_layout="spatial").eval()
    vae = DiffusersAutoencoder.from_model(model, images(6))
    channels, size, _ = model.latent_shape
    torch.manual_seed(0)
    transformer = DiTTransformer2DModel(
        num_attention_heads=2, attention_head_dim=4, in_channels=channels, out_channels=channels, num_layers=1,
        sample_size=size, patch_size=1, num_embeds_ada_norm=1000,
    )  # fmt: skip
    pipe = DiTPipeline(transformer, vae, DDIMScheduler())
    pipe.set_progress_bar_config(disable=True)
    found = pipe([1, 2], num_inference_steps=2, generator=torch.Generator().manual_seed(0), output_type="np").images
    assert found.shape == (2, 8, 8, 1) and 0 <= found.min() and found.max() <= 1
