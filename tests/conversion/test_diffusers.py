"""The autoencoders for diffusers: their outputs, their scaling factor, and their use in pipelines."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from cases import AE, VAE, ModelCase, generator, images
from child_processes import child_environment
from huggingface_hub.errors import StrictDataclassError
from safetensors.torch import load_file, save_file

import gae_hub
from gae_hub import AutoGAE, BetaVAEModel, FlowPriorVAEModel, SVAEModel, VAMPModel, VQVAEModel, load_images
from gae_hub.cli.main import main

pytestmark = pytest.mark.filterwarnings(  # raised inside of diffusers
    "ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"
)

CONV = {
    "encoder_config": {"model_type": "conv", "channels": [4, 8]},
    "decoder_config": {"model_type": "conv", "channels": [4, 8]},
}
KL = {"model_type": "diffusers_kl", "block_out_channels": [8, 16], "norm_num_groups": 4}
GENUINE = {"encoder_config": KL, "decoder_config": KL, "output_activation": "identity", "latent_layout": "spatial"}
VQVAE = ModelCase(VQVAEModel, {"num_embeddings": 16})
VAMP, FLOW_PRIOR = ModelCase(VAMPModel, {"num_components": 5}), ModelCase(FlowPriorVAEModel, {"hidden_size": 8})


def wrap(model, x=None):
    return gae_hub.DiffusersAutoencoder.from_model(model, x)


def convert(model, x=None):
    from gae_hub.conversion.diffusers import convert_to_diffusers

    return convert_to_diffusers(model, x)


@pytest.mark.parametrize("case", [VAE, AE, VAMP, FLOW_PRIOR], ids=lambda case: case.id)
def test_outputs_equal_the_model(case, tmp_path):
    from diffusers.models.autoencoders.vae import DecoderOutput, DiagonalGaussianDistribution
    from diffusers.models.modeling_outputs import AutoencoderKLOutput

    model, x = case.build(**CONV).eval(), images(6)
    vae = wrap(model, x)
    encoded = vae.encode(2 * x - 1)
    posterior = encoded.latent_dist
    assert type(encoded) is AutoencoderKLOutput and type(posterior) is DiagonalGaussianDistribution
    samples = torch.stack([posterior.sample(torch.Generator().manual_seed(seed)) for seed in range(500)])
    assert (samples * vae.config.scaling_factor).std().item() == pytest.approx(1, abs=0.02)
    assert posterior.mode().shape == (6, vae.config.latent_channels, 1, 1)
    decoded = vae.decode(posterior.mode())
    assert type(decoded) is DecoderOutput
    assert torch.allclose(decoded.sample, 2 * model.reconstruct(x) - 1, atol=1e-6)
    assert torch.equal(samples[0], posterior.sample(torch.Generator().manual_seed(0)))
    assert torch.equal(samples[0], posterior.mode()) == (case is AE)
    vae.save_pretrained(tmp_path)
    loaded = gae_hub.DiffusersAutoencoder.from_pretrained(tmp_path)
    public = [{k: v for k, v in one.config.items() if not k.startswith("_")} for one in (loaded, vae)]
    assert public[0] == public[1]
    assert torch.equal(loaded(2 * x - 1).sample, vae(2 * x - 1).sample)
    assert type(loaded.model) is type(model) and torch.equal(loaded.model.embed(x), model.embed(x))


def test_outputs_of_a_quantized_model(tmp_path):
    """The latents are not quantized yet, as those of VQModel."""
    from diffusers.models.autoencoders.vq_model import VQEncoderOutput

    model, x = VQVAE.build(**CONV).eval(), images(6)
    vae = wrap(model, x)
    encoded = vae.encode(2 * x - 1)
    assert type(encoded) is VQEncoderOutput and torch.equal(encoded.latents, model.encode((2 * x - 1 + 1) / 2).mean)
    assert (encoded.latents * vae.config.scaling_factor).double().std(correction=0).item() == pytest.approx(
        1, abs=1e-5
    )
    assert torch.allclose(vae.decode(encoded.latents).sample, 2 * model.reconstruct(x) - 1, atol=1e-6)
    vae.save_pretrained(tmp_path)
    loaded = gae_hub.DiffusersAutoencoder.from_pretrained(tmp_path, torch_dtype=torch.float16)
    assert loaded.model.codebook.codes.dtype == torch.float32 and loaded.model.head.weight.dtype == torch.float16


# Genuine autoencoders of diffusers


def genuine_cases():
    return {
        "vae": VAE.build(latent_dim=32, **GENUINE),
        "beta_vae_of_one_pixel": ModelCase(BetaVAEModel).build(
            input_shape=(3, 2, 2), **{**GENUINE, "latent_layout": "flat"}
        ),
        "vq_vae": VQVAE.build(input_shape=(1, 8, 4), **GENUINE),
    }


@pytest.mark.parametrize("name", genuine_cases())
def test_genuine_autoencoders_equal_the_model(name):
    """AutoencoderKL and VQModel have the outputs of the model, also at the borders, where convolutions pad."""
    model = genuine_cases()[name].eval()
    x = images(6, model.config.input_shape)
    native, wrapped, posterior = convert(model, x), wrap(model, x), model.encode(x)
    assert type(native).__name__ == ("VQModel" if name == "vq_vae" else "AutoencoderKL")
    assert native.config.scaling_factor == wrapped.config.scaling_factor != 1
    with torch.no_grad():
        encoded, expected = native.encode(2 * x - 1), wrapped.encode(2 * x - 1)
        if name == "vq_vae":
            latents = encoded.latents
        else:
            latents = encoded.latent_dist.mean
            assert torch.allclose(encoded.latent_dist.logvar.flatten(1), posterior.log_var, atol=1e-5)
            assert expected.latent_dist.mean.shape == latents.shape
        assert torch.allclose(latents.flatten(1), posterior.mean.flatten(1), atol=1e-5)
        assert torch.allclose(native.decode(latents).sample, 2 * model.reconstruct(x) - 1, atol=1e-5)


@pytest.mark.parametrize(
    ("case", "fields", "reason"),
    [
        (VAE, CONV, "must be 'diffusers_kl'"),
        (VAE, {"output_activation": "sigmoid"}, "output_activation must be 'identity'"),
        (VAE, {"latent_layout": "flat"}, "latent_layout must be 'spatial'"),
        (VAE, {"decoder_config": {**KL, "layers_per_block": 2}}, "must have the same fields"),
        (AE, {"latent_layout": None}, "AEModel has neither a Gaussian posterior of a VAE nor a codebook"),
    ],
)
def test_other_models_are_wrapped(case, fields, reason, tmp_path):
    from gae_hub.conversion.diffusers_weights import why_not_genuine

    fields = {key: value for key, value in {**GENUINE, "latent_dim": 32, **fields}.items() if value is not None}
    model = case.build(**fields).eval()
    assert reason in why_not_genuine(model)
    assert type(convert(model)) is gae_hub.DiffusersAutoencoder


def test_the_networks_train_and_reload(tmp_path):
    model, x = VAE.build(latent_dim=32, **GENUINE), images(4)
    model(x).loss.backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    model.save_pretrained(tmp_path)
    assert torch.equal(AutoGAE.from_pretrained(tmp_path).reconstruct(x), model.reconstruct(x))
    for fields, message in (
        ({"latent_dim": 30}, "a latent_dim that is a multiple of the sizes' product, .* and latent_dim 30"),
        ({"input_shape": (1, 7, 8), "latent_dim": 28}, "sides are multiples of 2"),
        ({"input_shape": (1, 8)}, "needs images"),
        ({"encoder_config": {**KL, "norm_num_groups": 3}}, "must be multiples of norm_num_groups = 3"),
        ({"encoder_config": "mlp"}, r"needs an encoder with features \(channels"),
    ):
        with pytest.raises((ValueError, StrictDataclassError), match=message):
            VAE.build(**{"latent_dim": 32, **GENUINE, **fields})
    with pytest.raises(ValueError, match="SVAEModel has no latent_layout 'spatial'"):
        ModelCase(SVAEModel).build(latent_dim=32, **GENUINE)


# The command


@pytest.mark.parametrize("case", [VAE, VQVAE], ids=lambda case: case.id)
def test_the_command_measures_the_scaling_factor(case, tmp_path, capsys):
    """1 / standard deviation of samples over images and dimensions, as in Rombach et al. (2022)."""
    model = case.build(**CONV).eval()
    model.save_pretrained(tmp_path / "model")
    command = ["export", str(tmp_path / "model"), "--output_dir", str(tmp_path / "vae"), "--format", "diffusers"]
    assert main([*command, "--dataset", "digits"]) == 0
    output = capsys.readouterr().out
    assert "on 1,397 images of digits, train" in output
    assert "DiffusersAutoencoder, not a class of diffusers: encoder_config and decoder_config must be" in output
    factor = json.loads((tmp_path / "vae" / "config.json").read_text())["scaling_factor"]
    x = load_images("digits", "train").pixel_values.float() / 255
    samples = model.encode(x).rsample(generator=generator()) if case is VAE else model.encode(x).mean
    assert factor * samples.double().std().item() == pytest.approx(1, abs=0.02 if case is VAE else 1e-4)
    vae = gae_hub.DiffusersAutoencoder.from_pretrained(tmp_path / "vae")
    assert vae.config.scaling_factor == factor != 1
    assert wrap(model, x).config.scaling_factor == pytest.approx(factor, rel=1e-5)
    assert main(command) == 0  # the folder has no record of its training data
    assert "scaling_factor 1, the default: pass --dataset to measure it" in capsys.readouterr().out


def test_the_command_uses_the_data_of_the_run(trained, tmp_path, capsys):
    command = ["export", str(trained), "--output_dir", str(tmp_path / "vae"), "--format"]
    assert main([*command, "diffusers", "--split", "test"]) == 0
    assert "on 200 images of digits, test" in capsys.readouterr().out
    assert main([*command, "onnx", "--dataset", "digits"]) == 2
    assert "--dataset: only --format diffusers scales latents by data" in capsys.readouterr().err


# Refused


def test_invalid_scaling_factors():
    with pytest.raises(ValueError, match="scaling_factor must be above 0"):
        gae_hub.DiffusersAutoencoder(VAE.build(), 0.0)
    constant = VQVAE.build()
    for name, parameter in constant.named_parameters():
        if not name.startswith("decoder"):
            parameter.data.zero_()
    with pytest.raises(ValueError, match="the latents of these images are all equal"):
        wrap(constant, images(4))


def test_unsupported_models(tmp_path):
    vae = wrap(ModelCase(SVAEModel).build())
    with pytest.raises(ValueError, match="needs a Gaussian or deterministic posterior, but SVAEModel has a VonMisesF"):
        vae.encode(images(2))
    with pytest.raises(ValueError, match=r"needs a model of images, .* got \(5,\)"):
        wrap(VAE.build(input_shape=(5,)))
    custom = VAE.model_class(VAE.build().config, decoder=torch.nn.Sequential(torch.nn.Linear(3, 64), Reshape()))
    with pytest.raises(ValueError, match="cannot build the custom decoder Sequential"):
        wrap(custom).save_pretrained(tmp_path)


class Reshape(torch.nn.Module):
    def forward(self, x):
        return x.view(-1, 1, 8, 8)


def test_damaged_folders_are_refused(tmp_path):
    load, vae = gae_hub.DiffusersAutoencoder.from_pretrained, wrap(VQVAE.build(**CONV))
    weights, config = tmp_path / "diffusion_pytorch_model.safetensors", tmp_path / "config.json"

    def change(tensors=lambda w: None, fields=lambda c: None):
        vae.save_pretrained(tmp_path)
        stored, content = load_file(weights), json.loads(config.read_text())
        tensors(stored)
        fields(content)
        save_file(stored, weights, metadata={"format": "pt"})
        config.write_text(json.dumps(content))

    change(tensors=lambda w: w.pop("model.head.bias"))
    with pytest.raises(ValueError, match=r"model.head.bias"):
        load(tmp_path)
    change(tensors=lambda w: w["model.codebook.codes"].fill_(torch.nan))
    with pytest.raises(ValueError, match="nan or infinite in model.codebook.codes"):
        load(tmp_path)
    change(fields=lambda c: c["autoencoder"].update(num_embeddings=10**12))
    with pytest.raises(ValueError, match="config.json has num_embeddings = 1,000,000,000,000"):
        load(tmp_path)
    change()
    torch.save(load_file(weights), tmp_path / "diffusion_pytorch_model.bin")
    weights.unlink()
    with pytest.raises(OSError, match="safetensors"):
        load(tmp_path)
    VAE.build().save_pretrained(tmp_path / "model")
    with pytest.raises(ValueError, match="is a checkpoint of gae_hub: wrap it by DiffusersAutoencoder.from_model"):
        load(tmp_path / "model")
    with pytest.raises(ValueError, match="autoencoder must be a model of gae_hub"):
        gae_hub.DiffusersAutoencoder.from_config({"autoencoder": "vae"})


# Pipelines


def build_pipeline(vae):
    """DiTPipeline, which denoises latents and decodes them to images, with tiny random weights."""
    from diffusers import DDIMScheduler, DiTPipeline, DiTTransformer2DModel

    torch.manual_seed(0)
    channels, size = vae.config.latent_channels, 2
    transformer = DiTTransformer2DModel(
        num_attention_heads=2, attention_head_dim=4, in_channels=channels, out_channels=channels, num_layers=1,
        sample_size=size, patch_size=1, num_embeds_ada_norm=1000,
    )  # fmt: skip
    pipe = DiTPipeline(transformer, vae, DDIMScheduler())
    pipe.set_progress_bar_config(disable=True)
    return pipe


RUN = """
import json, sys
sys.modules["gae_hub"] = None  # importing it raises
import torch
from pathlib import Path
from diffusers import DiffusionPipeline
for name in ("AutoencoderKL", "VQModel", "DiffusersAutoencoder"):
    options = {}
    if name == "DiffusersAutoencoder":
        del sys.modules["gae_hub"]
        options["trust_remote_code"] = True
    pipe = DiffusionPipeline.from_pretrained(Path(sys.argv[1]) / name, **options)
    pipe.set_progress_bar_config(disable=True)
    images = pipe([1, 2], num_inference_steps=2, generator=torch.Generator().manual_seed(0), output_type="np").images
    expected = torch.tensor(json.loads((Path(sys.argv[1]) / f"{name}.json").read_text()))
    print(type(pipe.vae).__name__, float((torch.tensor(images) - expected).abs().max()))
"""


def test_saved_pipelines_in_another_process(tmp_path):
    """The pipelines generate the same images as before they were saved. Genuine autoencoders do not need gae_hub."""
    small = {"input_shape": (1, 4, 4), **GENUINE}
    models = {
        "AutoencoderKL": VAE.build(latent_dim=12, **small),
        "VQModel": VQVAE.build(**small),
        "DiffusersAutoencoder": VQVAE.build(**CONV, latent_layout="spatial"),
    }
    for name, model in models.items():
        pipe = build_pipeline(convert(model.eval(), images(6, model.config.input_shape)))
        steps = {"num_inference_steps": 2, "generator": torch.Generator().manual_seed(0), "output_type": "np"}
        found = pipe([1, 2], **steps).images
        assert found.shape == (2, *model.config.input_shape[1:], 1) and 0 <= found.min() and found.max() <= 1
        pipe.save_pretrained(tmp_path / name)
        (tmp_path / f"{name}.json").write_text(json.dumps(found.tolist()))
        index = json.loads((tmp_path / name / "model_index.json").read_text())
        assert index["vae"] == ["gae_hub" if name == "DiffusersAutoencoder" else "diffusers", name]
    process = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", RUN, str(tmp_path)],
        env=child_environment(), capture_output=True, text=True, timeout=140,
    )  # fmt: skip
    rows = [line.split() for line in process.stdout.splitlines()]
    assert [name for name, _ in rows] == list(models), process.stderr[-3000:]
    assert all(float(difference) < 1e-6 for _, difference in rows)


def test_a_saved_pipeline_with_its_autoencoder_passed(tmp_path):
    """Without trust_remote_code, the autoencoder is loaded first and passed."""
    from diffusers import DiffusionPipeline

    pipe = build_pipeline(wrap(VQVAE.build(**CONV, latent_layout="spatial").eval()))
    pipe.save_pretrained(tmp_path / "pipe")
    with pytest.raises(ValueError, match="trust_remote_code=True"):
        DiffusionPipeline.from_pretrained(tmp_path / "pipe")
    vae = gae_hub.DiffusersAutoencoder.from_pretrained(tmp_path / "pipe" / "vae")
    loaded = DiffusionPipeline.from_pretrained(tmp_path / "pipe", vae=vae)
    assert loaded.vae is vae
    (tmp_path / "again").mkdir()
    loaded.save_pretrained(tmp_path / "again")
    assert json.loads((tmp_path / "again" / "model_index.json").read_text())["vae"][0] == "gae_hub"


def test_the_snippets_of_the_documentation(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    page = (Path(__file__).parents[2] / "docs" / "diffusers.md").read_text()
    names = {"images": images(8)}
    blocks = re.findall(r"```python\n(.*?)```(?:\n\n```(?:text)?\n(.*?)```)?", page, re.S)
    for code, output in blocks:
        exec(code, names)
        assert capsys.readouterr().out == output
    assert len(blocks) == 3 and (tmp_path / "pipeline" / "vae" / "config.json").is_file()
    assert json.loads((tmp_path / "kl-gan" / "config.json").read_text())["_class_name"] == "AutoencoderKL"
