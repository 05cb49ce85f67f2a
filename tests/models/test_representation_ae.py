"""The representation autoencoder and its frozen encoder, with tiny vision transformers of random weights."""

import json
from copy import deepcopy

import numpy as np
import pytest
import torch
from cases import generator, images
from child_processes import TESTS, run_in_two_processes
from localhub import LocalHub, point_clients_at
from PIL import Image
from safetensors.torch import load_file, save_file
from scipy import stats
from transformers import AutoModel, ResNetConfig, ResNetModel, SiglipVisionModel, ViTMAEModel
from vision_repositories import FAMILIES, MEAN, STD, publish, save_encoder

from gae_hub import (
    AEConfig,
    AEModel,
    AutoGAE,
    EmpiricalSampler,
    GAETrainer,
    GAETrainingArguments,
    GaussianMixtureSampler,
    RepresentationAEConfig,
    RepresentationAEModel,
    VAEConfig,
    VAEModel,
)
from gae_hub.cli.main import main
from gae_hub.core.hub_errors import HubError
from gae_hub.modules.vision_encoder import VisionEncoder, VisionEncoderConfig

SHAPE = (3, 16, 16)
VIT = {"model_type": "vit", "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
EACH_FAMILY = pytest.mark.parametrize("family", FAMILIES)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_encoder(tmp_path_factory.mktemp("encoder"))


def build(encoder, shape=SHAPE, fit=True, **fields):
    torch.manual_seed(0)
    encoder = encoder if isinstance(encoder, dict) else str(encoder)
    config = RepresentationAEConfig(input_shape=shape, encoder_config=encoder, decoder_config=VIT, **fields)
    model = RepresentationAEModel(config)
    if fit and model.normalization is not None:
        model.fit_normalization([images(40, shape, 9)])
    return model


def make_trainer(output_dir, model, train, **arguments):
    defaults = {"per_device_train_batch_size": 4, "num_train_epochs": 1, "disable_tqdm": True, "report_to": "none"}
    return GAETrainer(model, GAETrainingArguments(str(output_dir), **{**defaults, **arguments}), train_dataset=train)


# Features


def features_by_hand(folder, family, x):
    """(batch, hidden, 4, 4): the patch tokens of transformers' own class for normalised pixels."""
    pixels = (x - x.new_tensor(MEAN).view(3, 1, 1)) / x.new_tensor(STD).view(3, 1, 1)
    classes = {"siglip": SiglipVisionModel, "vit_mae": ViTMAEModel}
    options = {"mask_ratio": 0.0} if family == "vit_mae" else {}
    net = classes.get(family, AutoModel).from_pretrained(folder, **options).to(x.dtype).eval()
    output = net(pixels)
    if family == "vit_mae":  # it has shuffled the patches by random noise
        index = output.ids_restore.unsqueeze(-1).expand(-1, -1, 12)
        tokens = output.last_hidden_state[:, 1:].gather(1, index)
    else:
        num_first = {"siglip": 0, "dinov2_with_registers": 5}.get(family, 1)  # class token and registers
        tokens = output.last_hidden_state[:, num_first:]
    assert tokens.shape == (len(x), 16, 12)
    return torch.stack([tokens[:, 4 * row : 4 * row + 4] for row in range(4)], 1).permute(0, 3, 1, 2)


@EACH_FAMILY
def test_features_are_those_of_transformers(family, tmp_path):
    folder, x = save_encoder(tmp_path, family), images(5, SHAPE).double()
    model = build(folder, normalization="none").double()
    assert model.latent_shape == (12, 4, 4) and model.config.latent_dim == 12
    with torch.no_grad():
        torch.testing.assert_close(model.embed(x), features_by_hand(folder, family, x), rtol=1e-6, atol=1e-6)


def test_images_are_resized_as_by_pillow(folder):
    """Bicubic with antialiasing, larger and smaller."""
    for side in (8, 37):
        encoder, x = (
            VisionEncoder(VisionEncoderConfig(model_name_or_path=str(folder)), (3, side, side)),
            images(1, (3, side, side)),
        )
        seen = []
        encoder.net.register_forward_pre_hook(lambda _, args, seen=seen: seen.append(args[0]))
        encoder(x)
        for channel in range(3):
            resized = Image.fromarray(x[0, channel].numpy(), "F").resize((16, 16), Image.BICUBIC)
            expected = (torch.from_numpy(np.array(resized)) - MEAN[channel]) / STD[channel]
            torch.testing.assert_close(seen[0][0, channel], expected, rtol=0, atol=1e-5)


def test_grey_images_have_three_equal_channels(folder):
    grey, colour = build(folder, (1, 16, 16), normalization="none"), build(folder, normalization="none")
    x = images(3, (1, 16, 16))
    torch.testing.assert_close(grey.embed(x), colour.embed(x.expand(-1, 3, -1, -1)))


@pytest.mark.parametrize("family", ["dinov2", "siglip", "vit_mae", "vit"])
def test_another_image_size_interpolates_the_positions(family, tmp_path):
    encoder = {"model_type": "vision", "model_name_or_path": str(save_encoder(tmp_path, family)), "image_size": 24}
    model, x = build(encoder, (3, 24, 24), normalization="none"), images(2, (3, 24, 24))
    assert model.latent_shape == (12, 6, 6)
    pixels = (x - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)
    net, options = model.encoder.net, {} if family == "dinov2" else {"interpolate_pos_encoding": True}
    if family == "vit_mae":
        options["noise"] = torch.arange(36.0).expand(2, -1)
    expected = net(pixels, **options).last_hidden_state[:, -36:].transpose(1, 2).reshape(2, 12, 6, 6)
    torch.testing.assert_close(model.embed(x), expected)


def test_a_vision_encoder_serves_other_methods(folder):
    """It is trained there, from the pretrained weights."""
    model = VAEModel(VAEConfig(input_shape=SHAPE, latent_dim=4, encoder_config=str(folder)))
    weights = load_file(folder / "model.safetensors")
    assert torch.equal(model.encoder.net.layernorm.weight, weights["layernorm.weight"])
    model(images(4, SHAPE)).loss.backward()
    assert model.encoder.net.layernorm.weight.grad.any()


# The frozen encoder


def test_training_leaves_the_encoder_as_it_is(folder, tmp_path):
    """Also its weight decay and moving averages; every other parameter is trained."""
    model = build(folder, fit=False)
    before = deepcopy(model)
    make_trainer(tmp_path, model, images(10, SHAPE), weight_decay=0.1, ema_decay=0.9).train()
    for (name, p), q in zip(model.named_parameters(), before.parameters(), strict=True):
        is_frozen = name.startswith("encoder.")
        assert torch.equal(p, q) == is_frozen and (p.grad is None or not is_frozen)
    assert {id(p) for p in model.parameter_groups()["autoencoder"]} == {id(p) for p in model.decoder.parameters()}


def test_loading_freezes_again(folder, tmp_path):
    build(folder).save_pretrained(tmp_path)
    model = AutoGAE.from_pretrained(tmp_path)
    for mode in (False, True):
        model.train(mode)
        assert not any(p.requires_grad for p in model.encoder.parameters())
        assert not any(module.training for module in model.encoder.modules()) and model.decoder.training is mode
    assert all(p.requires_grad for p in model.decoder.parameters())


def test_dropout_of_the_encoder_is_off(tmp_path):
    model, x = build(save_encoder(tmp_path, "vit", hidden_dropout_prob=0.5), noise_tau=0.0), images(4, SHAPE)
    assert torch.equal(model.train()(x).latents, model.eval()(x).latents)


# Normalised latents


@pytest.mark.parametrize(("kind", "axes"), [("position", 0), ("channel", (0, 2, 3))])
def test_latents_of_the_training_set_have_mean_0_and_std_1(folder, tmp_path, kind, axes):
    """Exactly, whatever the batches: the trainer estimates them from the whole training set."""
    model, x = build(folder, fit=False, normalization=kind), images(43, SHAPE)
    make_trainer(tmp_path, model, x, per_device_eval_batch_size=8, max_steps=1).train()
    latents = model.embed(x).double()
    assert latents.mean(axes).abs().max() < 1e-5
    torch.testing.assert_close(latents.std(axes, correction=0), torch.ones_like(latents.mean(axes)), atol=1e-5, rtol=0)
    assert model.normalization.mean.shape == ((12, 4, 4) if kind == "position" else (12, 1, 1))
    features = build(folder, normalization="none").embed(x)
    torch.testing.assert_close(model.normalization.invert(model.embed(x)), features, atol=1e-5, rtol=1e-5)


def test_two_processes_estimate_the_statistics_of_all_images(folder, tmp_path):
    """Also if one has fewer batches. The trainer gives each process its share."""
    run_in_two_processes(TESTS / "two_processes_statistics.py", folder, tmp_path)
    model = build(folder, fit=False)
    model.fit_normalization([images(21, SHAPE)])
    for rank in (0, 1):
        found = load_file(tmp_path / f"{rank}.safetensors")
        # batches of 9, 9 and 3 for the statistics are shared in turn; then one training step
        assert found["seen"].tolist() == [[9, 3, 4], [9, 4]][rank]
        torch.testing.assert_close(found["mean"], model.normalization.mean)
        torch.testing.assert_close(found["std"], model.normalization.std)


def test_scale_and_shift_of_the_last_layer_norm_cancel(folder):
    """The paper removes them: the normalised latents differ in their signs only."""
    model, x = build(folder).double(), images(40, SHAPE, 9).double()
    weight = model.encoder.net.layernorm.weight
    before, signs = model.embed(x), weight.sign().view(-1, 1, 1)
    weight.data, model.encoder.net.layernorm.bias.data = torch.ones_like(weight), torch.zeros_like(weight)
    model.fit_normalization([x])
    torch.testing.assert_close(model.embed(x) * signs, before, rtol=1e-5, atol=1e-5)


def test_coordinates_that_hardly_vary_are_not_magnified(folder):
    model = build(folder, fit=False)
    features = torch.randn(50, 12, 4, 4)
    features[:, 0] = 5 + 1e-6 * features[:, 0]
    model.normalization.fit([features])
    assert model.normalization(features)[:, 0].abs().max() < 0.1
    with pytest.raises(ValueError, match="standard deviation 0, so they cannot be normalised: pass several different"):
        model.fit_normalization([images(1, SHAPE)])


@pytest.mark.parametrize("call", ["embed", "reconstruct", "__call__"])
def test_statistics_that_were_not_estimated(folder, call, tmp_path):
    model = build(folder, fit=False)
    model.save_pretrained(tmp_path)
    for unfitted in (model, AutoGAE.from_pretrained(tmp_path)):
        with pytest.raises(ValueError, match=r"were not estimated: call model.fit_normalization\(batches\)"):
            getattr(unfitted, call)(images(2, SHAPE))
    with pytest.raises(ValueError, match="normalization='none', so there are no statistics"):
        build(folder, normalization="none").fit_normalization([images(2, SHAPE)])


def test_each_model_of_a_search_is_normalised(folder, tmp_path):
    args = GAETrainingArguments(str(tmp_path), max_steps=1, disable_tqdm=True, report_to="none")
    trainer = GAETrainer(None, args, train_dataset=images(20, SHAPE), model_init=lambda: build(folder, fit=False))
    trainer.train()
    assert trainer.model.embed(images(20, SHAPE)).mean(0).abs().max() < 1e-5


def test_a_second_run_keeps_the_statistics(folder, tmp_path):
    model = build(folder)
    mean = model.normalization.mean.clone()
    make_trainer(tmp_path, model, images(10, SHAPE, 5)).train()
    assert torch.equal(model.normalization.mean, mean)


# Noise


def test_noise_has_a_half_normal_scale_per_example():
    """Divided by tau, the root mean square over many coordinates is |u|, and the rest is standard normal."""
    model = RepresentationAEModel(
        RepresentationAEConfig(
            input_shape=(2,), encoder_config={"hidden_sizes": [2]}, decoder_config="mlp", noise_tau=0.7
        )
    )
    z = torch.zeros(2000, 400)
    noise = (model.add_noise(z, generator()) - z) / 0.7
    scale = noise.square().mean(1).sqrt()
    assert stats.kstest(scale.numpy(), stats.halfnorm.cdf).pvalue > 0.01
    rest = (noise / scale[:, None])[scale > 0.05]
    assert stats.kstest(rest.flatten()[:100_000].numpy(), stats.norm.cdf).pvalue > 0.01


def test_noise_is_for_training_only(folder):
    model, x = build(folder, noise_tau=0.5), images(6, SHAPE)
    clean = model.embed(x)
    assert torch.equal(model.eval()(x).latents, clean)
    noisy = model.train()(x, generator=generator()).latents
    assert torch.equal(noisy, model(x, generator=generator()).latents) and not torch.equal(noisy, clean)
    assert torch.equal(model.embed(x), clean)
    assert torch.equal(build(folder, noise_tau=0.0).train()(x).latents, clean)


# Reduction


def test_without_noise_and_normalisation_it_is_an_ae():
    """One whose head is the identity, with any likelihood."""
    networks = {"encoder_config": {"hidden_sizes": [5]}, "decoder_config": {"hidden_sizes": [7]}}
    fields = {"input_shape": (1, 4, 4), "latent_dim": 5, "likelihood": "laplace", **networks}
    model = RepresentationAEModel(RepresentationAEConfig(**fields, noise_tau=0, normalization="none"))
    plain, x = AEModel(AEConfig(**fields)), images(4, (1, 4, 4))
    plain.head.weight.data, plain.head.bias.data = torch.eye(5), torch.zeros(5)
    for network in ("encoder", "decoder"):
        getattr(plain, network).load_state_dict(getattr(model, network).state_dict())
    torch.testing.assert_close(model(x).loss, plain(x).loss)
    torch.testing.assert_close(
        model(x).loss, (model.reconstruct(x) - x).abs().sum() / 4 * 2**0.5
    )  # the L1 loss, over b = 1 / sqrt(2)


# Checkpoints


@EACH_FAMILY
def test_a_checkpoint_has_the_encoder(family, tmp_path):
    """It loads without the encoder's repository, in one and in half precision."""
    folder, x = save_encoder(tmp_path / "encoder", family), images(4, SHAPE)
    model = build(folder)
    model.save_pretrained(tmp_path / "model")
    for file in folder.iterdir():
        file.unlink()
    again = AutoGAE.from_pretrained(tmp_path / "model")
    assert torch.equal(again.reconstruct(x), model.reconstruct(x)) and torch.equal(again.embed(x), model.embed(x))
    saved, built = again.config.encoder_config, model.config.encoder_config
    for name in ("model_name_or_path", "image_size", "image_mean", "image_std"):
        assert getattr(saved, name) == getattr(built, name) and getattr(saved, name) is not None
    half = AutoGAE.from_pretrained(tmp_path / "model", dtype=torch.bfloat16)
    assert half.encoder.net.dtype == torch.bfloat16 and half.normalization.std.dtype == torch.float32
    assert half.embed(x).dtype == torch.float32
    torch.testing.assert_close(half.reconstruct(x).float(), model.reconstruct(x), rtol=0, atol=0.05)


def test_resuming_is_exact(folder, tmp_path):
    """The checkpoint has the statistics, so that they are not estimated again."""
    start, train = build(folder, fit=False), images(18, SHAPE)
    whole, resumed = deepcopy(start), deepcopy(start)
    settings = {"per_device_train_batch_size": 6, "num_train_epochs": 2}  # a checkpoint after each epoch of 3 steps
    make_trainer(tmp_path, whole, train, **settings).train()
    resumed.fit_normalization = None
    trainer = make_trainer(tmp_path, resumed, train, **settings)
    trainer.train(resume_from_checkpoint=str(tmp_path / "checkpoint-3"))
    for name, value in whole.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], value), name


def test_new_models_download_and_checkpoints_do_not(tmp_path):
    """The commit is pinned: a new model of a saved config has the same encoder after the repository changed."""
    first = save_encoder(tmp_path / "first")
    with LocalHub(users={"facebook": "hf_facebook"}) as hub:
        commit = publish(hub, "facebook/dinov2-base", first)
        with point_clients_at(hub, tmp_path / "home", token=False):
            model = build("facebook/dinov2-base")
        assert model.config.encoder_config.revision == commit
        assert any("model.safetensors" in request["path"] for request in hub.requests)
        assert torch.equal(model.embed(images(2, SHAPE)), build(first).embed(images(2, SHAPE)))
        model.save_pretrained(tmp_path / "model")

        publish(hub, "facebook/dinov2-base", save_encoder(tmp_path / "second", "siglip"))
        hub.requests.clear()
        with point_clients_at(hub, tmp_path / "stranger", token=False):
            loaded = AutoGAE.from_pretrained(tmp_path / "model")
            assert torch.equal(loaded.embed(images(2, SHAPE)), model.embed(images(2, SHAPE)))
            assert hub.requests == []
            new = AutoGAE.from_config(loaded.config)
        weights = [request["path"] for request in hub.requests if "resolve" in request["path"]]
        assert weights and all(commit in path for path in weights), weights
        assert torch.equal(new.encoder.net.layernorm.weight, model.encoder.net.layernorm.weight)


# Use


def test_samplers_and_interpolation(folder):
    model, x = build(folder), images(30, SHAPE)
    assert not model.has_prior
    with pytest.raises(NotImplementedError, match="fit a sampler"):
        model.generate(2)
    for sampler in (EmpiricalSampler(), GaussianMixtureSampler(num_components=2, covariance_type="diag")):
        assert model.generate(3, sampler=sampler.fit_to(model, x), generator=generator()).shape == (3, *SHAPE)
    path = model.interpolate(x[:2], x[2:4], num_steps=3)
    torch.testing.assert_close(path[:, 1], model.decode((model.embed(x[:2]) + model.embed(x[2:4])) / 2))


@EACH_FAMILY
def test_compiles_to_one_graph(family, tmp_path):
    model = build(save_encoder(tmp_path, family), noise_tau=0.0)
    x = images(3, SHAPE)
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x).loss, model(x).loss)


def test_training_from_a_shell(folder, tmp_path):
    """The decoder of a vision encoder is 'vit' without a flag."""
    flags = f"--model representation_ae --encoder {folder} --dataset digits --max_steps 2 --disable_tqdm true"
    assert main(["train", *flags.split(), "--output_dir", str(tmp_path / "run")]) == 0
    model = AutoGAE.from_pretrained(tmp_path / "run")
    assert model.latent_shape == (12, 4, 4) and model.config.decoder_config.model_type == "gae_vit_decoder"


# Bad input


@pytest.mark.parametrize(
    ("encoder", "message"),
    [
        ({"image_size": 18}, "image_size must be a multiple of the encoder's patch_size 4, got 18; choose 16 or 20"),
        ({"image_size": 0}, "image_size must be above 0, got 0"),
        ({"image_std": [0.0, 1.0, 1.0]}, "image_std must be above 0"),
        ({"image_mean": [0.5]}, "image_mean must have 3 values, one a channel, got .0.5."),
        ({"vision_config": {"model_type": "bert"}}, "no number patch_size, num_channels in its config: choose DINOv2"),
        (
            {"vision_config": {"model_type": "siglip2_vision_model"}, "image_size": 16},
            "needs pixel_attention_mask, spatial_shapes in ad",
        ),
        ({"vision_config": {"model_type": "swin"}}, r"'swin' returns features of shape \(1, 49, 768\), but an enc"),
    ],
)
def test_encoders_that_do_not_fit(folder, encoder, message):
    name = None if "vision_config" in encoder else str(folder)
    vision = {"model_type": "vision", "model_name_or_path": name, "image_mean": MEAN, "image_std": STD, **encoder}
    with pytest.raises(Exception, match=message):
        build(vision)


def test_repositories_that_are_no_vision_encoder(folder, tmp_path):
    ResNetModel(ResNetConfig(hidden_sizes=[4], depths=[1], embedding_size=4)).save_pretrained(tmp_path / "resnet")
    with pytest.raises(ValueError, match="resnet', a model of type 'resnet', has no number hidden_size, patch_size"):
        build(tmp_path / "resnet")
    with pytest.raises(ValueError, match="no image_mean in a preprocessor_config.json: set image_mean in encoder_"):
        build(save_encoder(tmp_path / "bare", processor=None))
    (tmp_path / "custom").mkdir()
    code = {"model_type": "new", "auto_map": {"AutoConfig": "code.Config", "AutoModel": "code.Model"}}
    (tmp_path / "custom/config.json").write_text(json.dumps(code))
    with pytest.raises(ValueError, match="trust_remote_code"):
        build(tmp_path / "custom")
    save_encoder(tmp_path / "pickle")
    (tmp_path / "pickle/model.safetensors").rename(tmp_path / "pickle/pytorch_model.bin")
    with pytest.raises(OSError, match=r"model.safetensors"):
        build(tmp_path / "pickle")
    save_encoder(tmp_path / "incomplete")
    torch_weights = load_file(tmp_path / "incomplete/model.safetensors")
    del torch_weights["layernorm.weight"]
    save_file(torch_weights, tmp_path / "incomplete/model.safetensors", {"format": "pt"})
    with pytest.raises(ValueError, match="has no weights for layernorm.weight: choose a complete checkpoint"):
        build(tmp_path / "incomplete")


def test_names_that_are_not_there(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda seconds: None)
    with LocalHub(users={"facebook": "hf_facebook"}) as hub, point_clients_at(hub, tmp_path / "home", token=False):
        with pytest.raises(HubError, match="cannot load 'facebook/dinov2-bse': it is neither a local folder nor "):
            build("facebook/dinov2-bse")
        publish(hub, "facebook/dinov2-base", save_encoder(tmp_path / "encoder"))
        hub.fail_next(None, status=503)
        with pytest.raises(OSError, match="cannot load 'facebook/dinov2-base': the Hub is unavailable"):
            build("facebook/dinov2-base")


def test_settings_that_do_not_fit(folder):
    with pytest.raises(ValueError, match="latent_dim must be 12, the channels of the encoder's features .*, got 16"):
        build(folder, latent_dim=16)
    with pytest.raises(Exception, match="noise_tau must be 0 or more, got -1"):
        build(folder, noise_tau=-1)
    with pytest.raises(ValueError, match=r"images of 3 channels, or grey ones, but input_shape is \(2, 16, 16\)"):
        build(folder, (2, 16, 16))
    with pytest.raises(ValueError, match="needs images whose sides are multiples of the latent map's"):
        build(folder, (3, 18, 18))


def test_a_config_that_was_not_saved_by_a_model(folder, tmp_path):
    """Loading never looks for a missing encoder on the Hub."""
    build(folder).save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config["encoder_config"]["vision_config"] = None
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="no number hidden_size, patch_size, num_channels in its config"):
        AutoGAE.from_pretrained(tmp_path)


def test_the_default_is_the_encoder_of_the_paper():
    config = RepresentationAEConfig()
    assert config.encoder_config.model_name_or_path == "facebook/dinov2-with-registers-base"
    assert config.decoder_config.model_type == "gae_vit_decoder" and config.likelihood == "laplace"
    assert config.noise_tau == 0.8
