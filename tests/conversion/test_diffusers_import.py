"""Published autoencoders of diffusers as models of gae_hub: outputs equal to diffusers' own class, and refusals."""

import json

import pytest
import torch
from cases import ROWS, generator, images
from localhub import LocalHub, point_clients_at
from safetensors.torch import load_file, save_file

from gae_hub import AutoGAE, GAETrainer, GAETrainingArguments, GaussianMixtureSampler, KLGANModel, VQGANModel
from gae_hub.cli.main import main
from gae_hub.core.hub_errors import HubError

pytestmark = pytest.mark.filterwarnings(  # raised inside of diffusers
    "ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"
)

BLOCKS = {
    "down_block_types": ("DownEncoderBlock2D",) * 2,
    "up_block_types": ("UpDecoderBlock2D",) * 2,
    "block_out_channels": (8, 16),
    "norm_num_groups": 4,
}
FIELDS = {  # as in Stable Diffusion 1, Stable Diffusion 3 and Flux, and latent diffusion
    "kl": {"latent_channels": 4, "sample_size": 16},
    "kl_without_quant_conv": {
        "latent_channels": 3, "sample_size": 8, "use_quant_conv": False, "use_post_quant_conv": False,
        "scaling_factor": 0.3611, "shift_factor": 0.1159, "in_channels": 1, "out_channels": 1, "force_upcast": False,
    },
    "kl_with_one_quant_conv": {"latent_channels": 2, "use_post_quant_conv": False, "mid_block_add_attention": False},
    "vq": {"num_vq_embeddings": 7, "latent_channels": 3, "sample_size": 16, "layers_per_block": 2},
    "vq_of_other_channels": {"num_vq_embeddings": 9, "latent_channels": 6, "vq_embed_dim": 3, "act_fn": "gelu"},
}  # fmt: skip
EACH = pytest.mark.parametrize("name", FIELDS)


def make(name, **fields):
    """A tiny autoencoder of diffusers with random weights, also where new ones are zeros."""
    from diffusers import AutoencoderKL, VQModel

    torch.manual_seed(0)
    native = (VQModel if name.startswith("vq") else AutoencoderKL)(**{**BLOCKS, **FIELDS[name], **fields})
    for parameter in native.parameters():
        parameter.data.add_(0.1 * torch.randn_like(parameter))
    return native.eval()


def outputs(native, x):
    """Mean and log variance, or the latents before the quantizer, and the decoded images of diffusers' class."""
    with torch.no_grad():
        encoded = native.encode(x)
        latents = encoded.latents if hasattr(encoded, "latents") else encoded.latent_dist.mean
        log_var = None if hasattr(encoded, "latents") else encoded.latent_dist.logvar
        return latents, log_var, native.decode(latents).sample


def assert_equal_outputs(model, native, x):
    """Assert that a model has the outputs of diffusers' class, for images in [0, 1] and in [-1, 1]."""
    latents, log_var, decoded = outputs(native, 2 * x - 1)
    posterior = model.encode(x)
    torch.testing.assert_close(posterior.mean.flatten(1), latents.flatten(1), rtol=0, atol=1e-6)
    if log_var is not None:
        torch.testing.assert_close(posterior.log_var, log_var.flatten(1), rtol=0, atol=1e-6)
    torch.testing.assert_close(2 * model.reconstruct(x) - 1, decoded, rtol=0, atol=1e-5)


@EACH
def test_outputs_equal_those_of_diffusers(name, tmp_path):
    native = make(name)
    native.save_pretrained(tmp_path / "native")
    model = AutoGAE.from_diffusers(tmp_path / "native")
    assert type(model) is (VQGANModel if name.startswith("vq") else KLGANModel) and not model.training
    size = native.config.sample_size
    assert model.config.input_shape == (native.config.in_channels, size, size)
    x = images(3, model.config.input_shape)
    assert_equal_outputs(model, native, x)
    if name.startswith("vq"):
        codes = native.quantize(native.encode(2 * x - 1).latents)[2][2].view(3, size // 2, size // 2)
        assert torch.equal(model.encode_codes(x), codes) and torch.unique(codes).numel() > 1
    model.save_pretrained(tmp_path / "model")
    again = AutoGAE.from_pretrained(tmp_path / "model")
    assert torch.equal(again.reconstruct(x), model.reconstruct(x))


@EACH
def test_a_round_trip_is_a_genuine_autoencoder(name, tmp_path):
    """With the outputs, the scaling and shift factors, and the convolutions next to the latents."""
    native = make(name)
    native.save_pretrained(tmp_path / "native")
    model = AutoGAE.from_diffusers(tmp_path / "native")
    model.save_pretrained(tmp_path / "exported", format="diffusers")
    again = type(native).from_pretrained(tmp_path / "exported")
    kept = ("scaling_factor", "shift_factor", "force_upcast", "sample_size", "latent_channels", "in_channels")
    assert all(again.config.get(key) == native.config.get(key) for key in kept)
    x = 2 * images(3, model.config.input_shape) - 1
    for ours, theirs in zip(outputs(again, x), outputs(native, x), strict=True):
        assert ours is theirs is None or torch.equal(ours, theirs)
    if name == "kl":
        assert again.state_dict().keys() == native.state_dict().keys()
        assert all(torch.equal(value, native.state_dict()[key]) for key, value in again.state_dict().items())


def test_another_image_size(tmp_path):
    """The networks are convolutions, so the outputs for other sizes equal those of diffusers too."""
    native = make("kl")
    native.save_pretrained(tmp_path)
    for given, shape in ((8, (3, 8, 8)), ((12, 6), (3, 12, 6)), ([4, 8], (3, 4, 8))):
        model = AutoGAE.from_diffusers(tmp_path, image_size=given)
        assert model.config.input_shape == shape
        assert_equal_outputs(model, native, images(2, shape))
    for given in (7, (8, 9), 0, (8, 8, 8), "8"):
        with pytest.raises(ValueError, match=r"image_size must be a multiple of 2, .* got "):
            AutoGAE.from_diffusers(tmp_path, image_size=given)
    with pytest.raises(ValueError, match="this model was built for input_shape"):
        AutoGAE.from_diffusers(tmp_path, image_size=8).embed(images(2, (3, 16, 16)))


def test_pipelines(tmp_path):
    """The autoencoder is found by its class, or by subfolder, and is what a pipeline loads again."""
    from diffusers import DDIMScheduler, DiTPipeline, DiTTransformer2DModel

    native = make("kl")
    transformer = DiTTransformer2DModel(2, 4, in_channels=4, out_channels=4, num_layers=1, sample_size=8, patch_size=1)
    DiTPipeline(transformer, native, DDIMScheduler()).save_pretrained(tmp_path)
    for subfolder in (None, "vae"):
        assert_equal_outputs(AutoGAE.from_diffusers(tmp_path, subfolder), native, images(2, (3, 16, 16)))
    with pytest.raises(ValueError, match="reads AutoencoderKL and VQModel, but .* has the class DiTTrans"):
        AutoGAE.from_diffusers(tmp_path, "transformer")
    with pytest.raises(OSError, match=r"has no unet/config.json, so no autoencoder of diffusers is there"):
        AutoGAE.from_diffusers(tmp_path, "unet")
    AutoGAE.from_diffusers(tmp_path).save_pretrained(tmp_path / "vae", format="diffusers")
    pipe = DiTPipeline.from_pretrained(tmp_path)
    x = 2 * images(2, (3, 16, 16)) - 1
    assert torch.equal(pipe.vae.encode(x).latent_dist.mean, native.encode(x).latent_dist.mean)
    index = json.loads((tmp_path / "model_index.json").read_text())
    (tmp_path / "model_index.json").write_text(json.dumps({k: v for k, v in index.items() if k != "vae"}))
    with pytest.raises(ValueError, match=r"has no AutoencoderKL or VQModel; its parts are scheduler \(DDIM"):
        AutoGAE.from_diffusers(tmp_path)


def test_an_imported_model_is_measured_sampled_and_trained(tmp_path):
    """With new weights of a discriminator, which then learns; the codes start from those that were imported."""
    for name in ("kl", "vq"):
        make(name).save_pretrained(tmp_path / name)
        fields = {"discriminator_weight": 0.5, "discriminator_channels": [4, 6], "discriminator_start": 0}
        model = AutoGAE.from_diffusers(tmp_path / name, **fields)
        model.save_pretrained(tmp_path / "card")
        card = (tmp_path / "card" / "README.md").read_text()
        assert f"Converted from an {'AutoencoderKL' if name == 'kl' else 'VQModel'} of diffusers." in card
        x = images(12, (3, 16, 16))
        before = model.reconstruct(x)
        sampler = GaussianMixtureSampler(num_components=2).fit(model.embed(x).flatten(1)) if name == "kl" else None
        assert model.generate(2, sampler=sampler).shape == (2, 3, 16, 16)
        args = GAETrainingArguments(str(tmp_path / f"{name}-run"), max_steps=1, per_device_train_batch_size=4)
        args.learning_rate, args.disable_tqdm = 1e-5, True
        GAETrainer(model, args, train_dataset=x).train()
        assert 0 < (model.reconstruct(x) - before).abs().mean() < 0.1


def test_wrapped_models_keep_the_factors_too(tmp_path):
    import gae_hub

    make("kl_without_quant_conv").save_pretrained(tmp_path)
    wrapped = gae_hub.DiffusersAutoencoder.from_model(AutoGAE.from_diffusers(tmp_path))
    assert (wrapped.config.scaling_factor, wrapped.config.shift_factor) == (0.3611, 0.1159)
    measured = gae_hub.DiffusersAutoencoder.from_model(AutoGAE.from_diffusers(tmp_path), images(6, (1, 8, 8)))
    assert measured.config.scaling_factor != 0.3611 and measured.config.shift_factor is None


@pytest.mark.parametrize("name", ["kl_gan", "vq_gan"])
@pytest.mark.parametrize("fields", [{}, {"conv_out_channels": 2}, {"post_quant_channels": 2}])
def test_trained_networks_become_genuine(name, fields, tmp_path):
    """A model that was built here, with either convolution next to the latents or none."""
    blocks = {"model_type": "diffusers_kl", "block_out_channels": [8, 16], "norm_num_groups": 4}
    is_quantized = name == "vq_gan"
    latent_channels = 2 if is_quantized else 1
    if not is_quantized and "post_quant_channels" in fields:
        fields = {"post_quant_channels": 1}
    model = ROWS[name].build(
        latent_dim=2 if is_quantized else 16,
        latent_layout="spatial",
        output_activation="identity",
        encoder_config={**blocks, **{k: v for k, v in fields.items() if k.startswith("conv")}},
        decoder_config={**blocks, **{k: v for k, v in fields.items() if k.startswith("post")}},
    )
    model(images(4)).loss.backward()
    model.eval().save_pretrained(tmp_path, format="diffusers")
    from diffusers import AutoencoderKL, VQModel

    native = (VQModel if is_quantized else AutoencoderKL).from_pretrained(tmp_path)
    assert native.config.latent_channels == latent_channels
    assert_equal_outputs(model, native, images(3))


def test_refused_parts(tmp_path):
    """Classes and settings that gae_hub does not have are named."""
    make("kl").save_pretrained(tmp_path)
    config, weights = tmp_path / "config.json", tmp_path / "diffusion_pytorch_model.safetensors"
    content, tensors = json.loads(config.read_text()), load_file(weights)

    def load(changed=None, state=None):
        config.write_text(json.dumps({**content, **(changed or {})}))
        save_file(tensors if state is None else state, weights, metadata={"format": "pt"})
        return AutoGAE.from_diffusers(tmp_path)

    for class_name in ("AutoencoderKLTemporalDecoder", "AsymmetricAutoencoderKL", "AutoencoderDC", "AutoencoderTiny"):
        with pytest.raises(ValueError, match=f"but .* has the class {class_name}$"):
            load({"_class_name": class_name})
    with pytest.raises(ValueError, match="DiffusersAutoencoder: load it with DiffusersAutoencoder.from_pretrained"):
        load({"_class_name": "DiffusersAutoencoder"})
    with pytest.raises(ValueError, match="down_block_types with AttnDownEncoderBlock2D, but gae_hub has DownEncoder"):
        load({"down_block_types": ["DownEncoderBlock2D", "AttnDownEncoderBlock2D"]})
    with pytest.raises(ValueError, match="norm_type 'spatial', but gae_hub has 'group' only"):
        load({"norm_type": "spatial"})
    with pytest.raises(ValueError, match="in_channels 3 and out_channels 4, which must be equal"):
        load({"out_channels": 4})
    with pytest.raises(ValueError, match=r"latent_channels = 1,000,000,000"):
        load({"latent_channels": 10**9})
    with pytest.raises(ValueError, match="config and weights of .* do not fit"):
        load({"latent_channels": 5})
    with pytest.raises(ValueError, match="quant_conv.bias is missing"):
        load(state={key: value for key, value in tensors.items() if key != "quant_conv.bias"})
    with pytest.raises(ValueError, match="more is unexpected"):
        load(state={**tensors, "more": torch.zeros(1)})
    with pytest.raises(ValueError, match="nan or infinite in quant_conv.bias"):
        load(state={**tensors, "quant_conv.bias": torch.full((8,), torch.nan)})
    load({"latents_mean": [0.0] * 4, "latents_std": [1.0] * 4})
    notes = load({"latents_mean": [0.0] * 4}).facts["imported"]["notes"]
    assert notes[0].startswith("latents_mean and latents_std, per channel, are not kept")
    torch.save(tensors, tmp_path / "diffusion_pytorch_model.bin")
    weights.unlink()
    with pytest.raises(OSError, match=r"no file diffusion_pytorch_model.safetensors, the only one .* \(no pickles\)"):
        AutoGAE.from_diffusers(tmp_path)
    ROWS["vae"].build().save_pretrained(tmp_path / "model")
    with pytest.raises(ValueError, match="has the class None: load it with AutoGAE.from_pretrained"):
        AutoGAE.from_diffusers(tmp_path / "model")


def test_weights_of_old_versions(tmp_path):
    """Attention layers had other names in 2022, as in the repositories of Stable Diffusion 1."""
    native = make("kl")
    native.save_pretrained(tmp_path)
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    tensors = load_file(tmp_path / "diffusion_pytorch_model.safetensors")
    for new, name in old.items():
        tensors = {key.replace(f"attentions.0.{new}.", f"attentions.0.{name}."): v for key, v in tensors.items()}
    assert any(".query." in key for key in tensors)
    save_file(tensors, tmp_path / "diffusion_pytorch_model.safetensors", metadata={"format": "pt"})
    assert_equal_outputs(AutoGAE.from_diffusers(tmp_path), native, images(2, (3, 16, 16)))


def test_from_the_hub(tmp_path, monkeypatch):
    """Also from the cache without the Hub. Its failures are named as for every checkpoint."""
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda seconds: None)
    native = make("kl")
    native.save_pretrained(tmp_path / "native")
    files = {path.name: path.read_bytes() for path in (tmp_path / "native").iterdir()}
    x = images(2, (3, 16, 16))
    with LocalHub(users={"alice": {"token": "hf_alice"}}) as hub:
        for repo_id, folder in (("alice/vae", ""), ("alice/pipeline", "vae/")):
            hub.create_repo(repo_id)
            index = {"model_index.json": json.dumps({"vae": ["diffusers", "AutoencoderKL"]}).encode()}
            hub.commit(repo_id, {f"{folder}{name}": content for name, content in files.items()} | index)
        with point_clients_at(hub, tmp_path / "home", token=False):
            for repo_id in ("alice/vae", "alice/pipeline"):
                assert_equal_outputs(AutoGAE.from_diffusers(repo_id), native, x)
            with pytest.raises(HubError, match="it is neither a local folder nor a Hub repository that you can read"):
                AutoGAE.from_diffusers("alice/nothing")
            hub.fail_next(None, status=503)
            assert_equal_outputs(AutoGAE.from_diffusers("alice/vae", local_files_only=True), native, x)
        with point_clients_at(hub, tmp_path / "other", token=False):
            with pytest.raises(HubError, match=r"cannot load 'alice/vae': the Hub is unavailable \(503\)"):
                AutoGAE.from_diffusers("alice/vae")


def test_the_command(tmp_path, capsys):
    make("kl").save_pretrained(tmp_path / "native")
    command = ["convert", "--from_diffusers", str(tmp_path / "native"), "--output_dir", str(tmp_path / "model")]
    assert main([*command, "--image_size", "8"]) == 0
    assert "KLGANModel with" in (text := capsys.readouterr().out)
    assert "images (3, 8, 8) in [0, 1], scaling_factor 0.18215" in text
    x = images(2, (3, 8, 8))
    model = AutoGAE.from_diffusers(tmp_path / "native", image_size=8)
    assert torch.equal(AutoGAE.from_pretrained(tmp_path / "model").reconstruct(x), model.reconstruct(x))
    assert (
        main(["export", str(tmp_path / "model"), "--output_dir", str(tmp_path / "vae"), "--format", "diffusers"]) == 0
    )
    assert "scaling_factor 0.18215, of the model's config" in capsys.readouterr().out
    for extra, message in (
        (["--from_pythae", "x"], "gae-hub convert: expected either --from_pythae or --from_diffusers"),
        (["--encoder_class", "a:B"], "gae-hub convert: --encoder_class: it has an effect with --from_pythae only"),
    ):
        assert main([*command, *extra]) == 2
        assert capsys.readouterr().err.startswith(message)
    assert main(["convert", "--output_dir", "d"]) == 2
    assert main(["convert", "--from_pythae", "x", "--subfolder", "vae", "--output_dir", "d"]) == 2
    assert "--subfolder: it has an effect with --from_diffusers only" in capsys.readouterr().err


def test_noise_is_not_part_of_embeddings(tmp_path):
    """Samples of the posterior are those of diffusers' distribution, in mean and standard deviation."""
    native = make("kl")
    native.save_pretrained(tmp_path)
    model, x = AutoGAE.from_diffusers(tmp_path), images(1, (3, 16, 16))
    draws = torch.cat([model.embed(x, sample=True, generator=generator(seed)) for seed in range(400)])
    std = native.encode(2 * x - 1).latent_dist.std.flatten(1)[0].detach()
    torch.testing.assert_close(draws.std(0), std, rtol=0.2, atol=0)
