"""Exported encoders and decoders have the model's outputs, by torch.export and by ONNX Runtime."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from cases import MODELS, VAE, ModelCase, images

from gae_hub import VQVAEModel
from gae_hub.cli.main import main
from gae_hub.conversion.export import export_model

CONV = {
    "encoder_config": {"model_type": "conv", "channels": [4, 8]},
    "decoder_config": {"model_type": "conv", "channels": [4, 8]},
}
VQVAE = ModelCase(VQVAEModel, {"num_embeddings": 16})
# methods whose encoding differs; the others encode as one of these
DIFFERENT_ENCODINGS = {"ae", "vae", "vamp", "vae_iaf", "vae_lin_nf", "vq_vae", "hrq_vae", "svae", "poincare_vae"}
CASES = [case for case in MODELS if case.id in DIFFERENT_ENCODINGS]


def expected_outputs(model, x):
    latents = model.embed(x)
    return latents, model.decode(latents).detach()


def test_all_encodings_are_tested():
    assert {case.id for case in CASES} == DIFFERENT_ENCODINGS


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_torch_export(case, tmp_path):
    model = case.build().eval()
    *programs, shapes = export_model(model, tmp_path)
    assert [path.name for path in (*programs, shapes)] == ["encoder.pt2", "decoder.pt2", "shapes.json"]
    encoder, decoder = (torch.export.load(path).module() for path in programs)
    for size in (1, 5):
        x = images(size)
        latents, pixels = expected_outputs(model, x)
        assert torch.allclose(encoder(x), latents, atol=1e-5) and torch.allclose(decoder(latents), pixels, atol=1e-5)


def test_an_encoder_with_a_gradient_cannot_be_exported(tmp_path):
    (case,) = (case for case in MODELS if case.id == "hvae")
    with pytest.raises(ValueError, match="the encoder of HVAEModel cannot be exported"):
        export_model(case.build().eval(), tmp_path)


def test_a_program_runs_without_gae_hub(tmp_path):
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


@pytest.mark.filterwarnings(  # raised inside of onnx
    "ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"
)
@pytest.mark.parametrize("case", [VAE, VQVAE], ids=lambda case: case.id)
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
        latents, pixels = expected_outputs(model, x)
        (found,) = run["encoder"].run(["latents"], {"pixel_values": x.numpy()})
        (decoded,) = run["decoder"].run(["pixel_values"], {"latents": latents.numpy()})
        assert np.allclose(found, latents, atol=1e-5) and np.allclose(decoded, pixels, atol=1e-5)


def test_invalid_arguments(tmp_path):
    with pytest.raises(ValueError, match="format must be 'torch', 'onnx' or 'diffusers', got 'tensorflow'"):
        export_model(VAE.build(), tmp_path, "tensorflow")
    with pytest.raises(ValueError, match="images are used with format 'diffusers' only, .*; got format 'torch'"):
        export_model(VAE.build(), tmp_path, "torch", images(2))
