"""Encoder and decoder outside of gae_hub: by torch.export, ONNX Runtime, and in a pipeline of diffusers."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from cases import MODELS, VAE, ModelCase, generator, images

from gae_hub import AutoGAE, FlowPriorVAEModel, SVAEModel, VAMPModel, VQVAEModel, load_images
from gae_hub.cli.main import main
from gae_hub.conversion.export import DiffusersAutoencoder, export_model

CONV = {
    "encoder_config": {"model_type": "conv", "channels": [4, 8]},
    "decoder_config": {"model_type": "conv", "channels": [4, 8]},
}
VQVAE = ModelCase(VQVAEModel, {"num_embeddings": 16})
VAMP, FLOW_PRIOR = ModelCase(VAMPModel, {"num_components": 5}), ModelCase(FlowPriorVAEModel, {"hidden_size": 8})
GRADIENTS_INSIDE = {"HVAEModel"}  # whose embedding follows a gradient, which no exported program can


def expected(model, x):
    latents = model.embed(x)
    return latents, model.decode(latents).detach()


OWN_LATENTS = "AE VAE VAMP VAEIAF VAELinNF VQVAE HRQVAE SVAE PoincareVAE HVAE".split()  # the others encode as these
CASES = [case for case in MODELS if type(case.build()).__name__.removesuffix("Model") in OWN_LATENTS]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_torch_export(case, tmp_path):
    model = case.build().eval()
    if type(model).__name__ in GRADIENTS_INSIDE:
        with pytest.raises(ValueError, match=f"the encoder of {type(model).__name__} cannot be exported"):
            export_model(model, tmp_path)
        return
    encoder, decoder, _ = (
        torch.export.load(path).module() if path.suffix == ".pt2" else path for path in export_model(model, tmp_path)
    )
    for size in (1, 5):
        x = images(size)
        latents, pixels = expected(model, x)
        assert torch.allclose(encoder(x), latents, atol=1e-5) and torch.allclose(decoder(latents), pixels, atol=1e-5)


def test_the_program_needs_no_gae_hub(tmp_path):
    model = VAE.build(**CONV).eval()
    export_model(model, tmp_path)
    torch.save(images(3), tmp_path / "x.pt")
    code = (
        f"import sys, torch\nprogram = torch.export.load(r'{tmp_path}/encoder.pt2').module()\n"
        f"print(program(torch.load(r'{tmp_path}/x.pt')).double().sum().item())\n"
        "assert not {'gae_hub', 'transformers'} & sys.modules.keys()"
    )
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100)
    assert process.returncode == 0, process.stderr
    assert float(process.stdout) == pytest.approx(model.embed(images(3)).double().sum().item(), abs=1e-5)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")  # of onnx
@pytest.mark.parametrize("case", [VAE, VQVAE], ids=str)
def test_onnx(case, tmp_path):
    import onnxruntime

    model = case.build(**CONV).eval()
    model.save_pretrained(tmp_path / "model")
    assert main(["export", str(tmp_path / "model"), "--output_dir", str(tmp_path / "onnx"), "--format", "onnx"]) == 0
    run = {
        role: onnxruntime.InferenceSession(tmp_path / "onnx" / f"{role}.onnx", providers=["CPUExecutionProvider"])
        for role in ("encoder", "decoder")
    }
    for size in (1, 5):
        x = images(size)
        latents, pixels = expected(model, x)
        (found,) = run["encoder"].run(["latents"], {"pixel_values": x.numpy()})
        (decoded,) = run["decoder"].run(["pixel_values"], {"latents": latents.numpy()})
        assert np.allclose(found, latents, atol=1e-5) and np.allclose(decoded, pixels, atol=1e-5)


def test_other_formats_are_named(tmp_path):
    with pytest.raises(ValueError, match="format must be 'torch', 'onnx' or 'diffusers', got 'tensorflow'"):
        export_model(VAE.build(), tmp_path, "tensorflow")


# diffusers


@pytest.mark.parametrize("case", [VAE, VQVAE, VAMP, FLOW_PRIOR], ids=str)
def test_the_autoencoder_of_diffusers(case, tmp_path):
    model, x = case.build(**CONV).eval(), images(6)
    vae = DiffusersAutoencoder.from_model(model, x)
    posterior = vae.encode(2 * x - 1).latent_dist
    many = torch.stack([posterior.sample(torch.Generator().manual_seed(seed)) for seed in range(500)])
    assert (many * vae.config.scaling_factor).std().item() == pytest.approx(1, abs=0.02)
    assert posterior.mode().dim() == 4 and posterior.mode().shape[1] == vae.config.latent_channels
    assert torch.allclose(vae.decode(posterior.mode()).sample, 2 * model.reconstruct(x) - 1, atol=1e-6)
    draws = [posterior.sample(torch.Generator().manual_seed(0)) for _ in range(2)]
    assert torch.equal(*draws) and torch.equal(draws[0], posterior.mode()) == (posterior.logvar is None)
    vae.save_pretrained(tmp_path)
    again = DiffusersAutoencoder.from_pretrained(tmp_path)
    assert again.config.scaling_factor == vae.config.scaling_factor
    assert torch.equal(again(2 * x - 1).sample, vae(2 * x - 1).sample)
    assert torch.equal(AutoGAE.from_pretrained(tmp_path).embed(x), model.embed(x))
    with pytest.raises(ValueError, match="scaling_factor must be above 0"):
        DiffusersAutoencoder(model, 0.0)


@pytest.mark.parametrize("case", [VAE, VQVAE], ids=str)
def test_the_scale_of_the_latents_in_a_shell(case, tmp_path, capsys):
    """1 over the deviation of samples, over images and dimensions, as Rombach et al. (2022) scale them."""
    model = case.build(**CONV).eval()
    model.save_pretrained(tmp_path / "model")
    command = ["export", str(tmp_path / "model"), "--output_dir", str(tmp_path / "vae"), "--format", "diffusers"]
    assert main([*command, "--dataset", "digits"]) == 0
    assert "on 1,397 images of digits, train" in capsys.readouterr().out
    factor = json.loads((tmp_path / "vae" / "diffusers.json").read_text())["scaling_factor"]
    x = load_images("digits", "train").pixel_values.float() / 255
    draws = model.encode(x).rsample(generator=generator()) if case is VAE else model.encode(x).mean
    assert factor * draws.double().std().item() == pytest.approx(1, abs=0.02 if case is VAE else 1e-4)
    vae = DiffusersAutoencoder.from_pretrained(tmp_path / "vae")
    assert vae.config.scaling_factor == factor != 1
    assert DiffusersAutoencoder.from_model(model, x).config.scaling_factor == pytest.approx(factor, rel=1e-5)
    assert main(command) == 0  # the folder does not say what it was trained on
    assert "scaling_factor 1, the default: pass --dataset to measure it" in capsys.readouterr().out


def test_the_scale_is_that_of_the_runs_data_and_of_no_other_format(trained, tmp_path, capsys):
    command = ["export", str(trained), "--output_dir", str(tmp_path / "vae")]
    assert main([*command, "--format", "diffusers", "--split", "test"]) == 0
    assert "on 200 images of digits, test" in capsys.readouterr().out
    assert main([*command, "--format", "onnx", "--dataset", "digits"]) == 2
    assert "--dataset: only --format diffusers scales latents by data" in capsys.readouterr().err
    with pytest.raises(ValueError, match="images scale the latents of the format 'diffusers'"):
        export_model(VAE.build(), tmp_path, "torch", images(2))
    constant = VQVAE.build()
    for name, parameter in constant.named_parameters():
        if not name.startswith("decoder"):
            parameter.data.zero_()
    with pytest.raises(ValueError, match="all latents of these images are alike"):
        DiffusersAutoencoder.from_model(constant, images(4))


def test_other_posteriors_are_refused():
    vae = DiffusersAutoencoder(ModelCase(SVAEModel).build())
    with pytest.raises(ValueError, match="SVAEModel has a VonMisesFisher for its posterior"):
        vae.encode(images(2))
    with pytest.raises(ValueError, match="diffusers has pipelines of images"):
        DiffusersAutoencoder.from_model(VAE.build(input_shape=(5,)))


@pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"
)  # of diffusers
def test_in_a_pipeline_of_diffusers():
    """Latents of a transformer for diffusion, denoised, and decoded: images of a class, as DiTPipeline makes them."""
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
