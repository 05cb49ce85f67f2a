"""KL-GAN and VQ-GAN: gradients of each network, the adaptive weight, the delayed start, LPIPS, and reductions."""

import re
from copy import deepcopy
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from cases import ROWS, generator, images
from huggingface_hub.errors import StrictDataclassError

from gae_hub import AutoGAE, GAETrainer, GAETrainingArguments, KLGANConfig, VQGANConfig
from gae_hub.core.hooks import HOOKS
from gae_hub.modules.gradients import gradient_norm_ratio
from gae_hub.modules.lpips import BACKBONES, LPIPSNetwork, build_backbone

X = images(6, (3, 16, 16)).double()
CONV = {"model_type": "conv", "channels": [4, 8]}
SMALL = {"input_shape": (3, 16, 16), "encoder_config": CONV, "decoder_config": CONV, "discriminator_channels": [4, 6]}
BOTH = pytest.mark.parametrize("name", ["kl_gan", "vq_gan"])


@pytest.fixture(scope="module")
def lpips():
    """LPIPS of VGG with random weights."""
    torch.manual_seed(0)
    weights = {f"features.{name}": value for name, value in build_backbone(BACKBONES["vgg"]).state_dict().items()}
    widths = [64, 128, 256, 512, 512]
    return LPIPSNetwork(
        "vgg", weights, {f"lin{i}.model.1.weight": torch.rand(width) for i, width in enumerate(widths)}
    )


@pytest.fixture
def with_lpips(lpips, monkeypatch):
    """LPIPS loads the random weights."""
    monkeypatch.setattr(HOOKS, "load_lpips", lambda backbone, weights=None, heads=None: deepcopy(lpips))


def build(name, **fields):
    """A model in float64 whose codebook, if any, is initialised and does not change."""
    model = ROWS[name].build(**{**SMALL, **fields}).double()
    if name == "vq_gan":
        model.codebook.prepare(model.to_tokens(model.encode(X).mean.detach()), generator())
        model.codebook.revival_threshold = 0
    return model


def game(model):
    """The terms of the paper's two losses, of one batch, from the networks of the model."""
    posterior = model.encode(X)
    if "vq" in model.config.model_type:
        quantized, _ = model.quantize(posterior.mean)
        z = posterior.mean + (quantized - posterior.mean).detach()
        rest = model.config.commitment_weight * (posterior.mean - quantized).square().flatten(1).sum(1).mean()
    else:
        z = posterior.rsample(generator=generator())
        rest = model.config.kl_weight * posterior.kl().mean()
    fake = model.decode(z)
    distortion = (2 * fake - 2 * X).abs().flatten(1).sum(1).mean()  # of pixels in [-1, 1]
    if model.config.perceptual_weight:
        distortion = distortion + model.config.perceptual_weight * 768 * model.perceptual_network(fake, X).mean()
    return distortion, rest, -model.discriminator(fake).mean(), fake


def adaptive_weight(model, distortion, score):
    """As in the authors' code, from the weight of the decoder's last layer."""
    last = list(model.decoder.net)[-1].weight
    norms = [torch.autograd.grad(value, last, retain_graph=True)[0].norm() for value in (distortion, score)]
    return (norms[0] / (norms[1] + 1e-4)).clamp(0, 1e4).detach()


def gradients(model, loss, names=("",)):
    """Gradients by name of the parameters whose names start with one of the names."""
    chosen = {name: p for name, p in model.named_parameters() if name.startswith(tuple(names))}
    found = torch.autograd.grad(loss, list(chosen.values()), retain_graph=True, allow_unused=True)
    return dict(zip(chosen, found, strict=True))


@BOTH
@pytest.mark.parametrize("perceptual_weight", [0.0, 0.7])
def test_gradients_of_each_network(name, perceptual_weight, with_lpips):
    """Each network has the gradient of its own loss, as in a loop with two losses and two optimizers."""
    model = build(name, perceptual_weight=perceptual_weight, discriminator_weight=0.3)
    with torch.no_grad():
        model.discriminator.score.weight.mul_(1000)  # some logits beyond the hinges
    out = model.eval()(X, generator=generator())
    distortion, rest, score, fake = game(model)
    weight = adaptive_weight(model, distortion, score)
    hinge = 0.5 * (F.relu(1 - model.discriminator(X)).mean() + F.relu(1 + model.discriminator(fake.detach())).mean())
    autoencoder, ours = distortion + rest + 0.3 * weight * score, gradients(model, out.loss)
    theirs = gradients(model, autoencoder, ("encoder", "decoder", "head"))
    theirs |= gradients(model, hinge, ("discriminator",))
    assert ours.keys() == theirs.keys() and all(gradient.abs().max() > 0 for gradient in theirs.values())
    for key, gradient in theirs.items():
        torch.testing.assert_close(ours[key], gradient, msg=lambda text, key=key: f"{key}: {text}")
    torch.testing.assert_close(out.loss, autoencoder + hinge)
    torch.testing.assert_close(out.metrics["adaptive_weight"], weight)
    torch.testing.assert_close(out.metrics["distortion"], distortion.detach())
    assert 0 < weight < 1e4


def test_the_gradient_norm_ratio_in_closed_form():
    """Of a linear layer's weight: the gradient of a . W b is a b^T, whose norm is |a| |b|."""
    w = torch.randn(3, 2, dtype=torch.float64, requires_grad=True)
    a, b, c = (torch.randn(size, dtype=torch.float64) for size in (3, 2, 3))
    ratio = gradient_norm_ratio(a @ w @ b, c @ w @ b, w)
    torch.testing.assert_close(ratio, a.norm() * b.norm() / (c.norm() * b.norm() + 1e-4))
    assert gradient_norm_ratio((2 * w).sum(), 0 * w.sum(), w) == pytest.approx(2 * 6**0.5 / 1e-4)


def test_the_adaptive_weight_is_bounded():
    model = build("kl_gan")
    with torch.no_grad():
        model.discriminator.score.weight.zero_()
    assert model(X).metrics["adaptive_weight"] == 1e4


@BOTH
def test_before_the_start_the_model_has_no_discriminator(name, with_lpips):
    """The loss and all gradients equal those of the model without one, to the bit."""
    model = build(name, perceptual_weight=0.7, discriminator_start=5)
    plain = build(name, perceptual_weight=0.7, discriminator_weight=0.0)
    plain.load_state_dict({k: v for k, v in model.state_dict().items() if not k.startswith("discriminator")})
    model.set_progress(4, 10)
    losses = [one(X, generator=generator()).loss for one in (model, plain)]
    assert torch.equal(*losses)
    for loss in losses:
        loss.backward()
    # DistributedDataParallel waits for a gradient of each parameter
    assert all(parameter.grad.eq(0).all() for parameter in model.discriminator.parameters())
    model.before_optimizer_step()
    for key, parameter in plain.named_parameters():
        assert torch.equal(parameter.grad, model.get_parameter(key).grad)
    assert all(parameter.grad is None for parameter in model.discriminator.parameters())
    model.set_progress(5, 10)
    assert model(X, generator=generator()).loss != losses[0]


@BOTH
def test_reductions(name, with_lpips):
    """Without discriminator and LPIPS, the VAE or VQ-VAE with a Laplace likelihood, and the absolute error in nats."""
    model = build(name, discriminator_weight=0.0, **({"kl_weight": 1.0} if name == "kl_gan" else {}))
    plain = ROWS[name].reduces_to(**{key: SMALL[key] for key in ("input_shape", "encoder_config", "decoder_config")})
    plain = plain.double()
    plain.load_state_dict(model.state_dict())
    if name == "vq_gan":
        plain.codebook.revival_threshold = 0
    outputs = [one(X, generator=generator()) for one in (model, plain)]
    torch.testing.assert_close(outputs[0].loss, outputs[1].loss, rtol=0, atol=0)
    error = (2 * outputs[0].reconstruction - 2 * X).abs().flatten(1).sum(1).mean()
    torch.testing.assert_close(outputs[0].losses["reconstruction"], error.detach())
    if name == "kl_gan":
        nats = [one.log_likelihood(X, 5, generator=generator()) for one in (model, plain)]
        assert torch.equal(*nats)


@BOTH
@pytest.mark.parametrize("start", [4, 0.5])
def test_the_discriminator_rests_until_its_start(name, start, tmp_path, monkeypatch):
    """Its weights stay the same, also with weight decay, and then learn. Outside training it plays."""
    model, seen = ROWS[name].build(discriminator_start=start), []
    step = type(model).before_optimizer_step

    def record(self):
        step(self)
        seen.append({k: v.clone() for k, v in self.state_dict().items() if "discriminator.layers" in k})

    monkeypatch.setattr(type(model), "before_optimizer_step", record)
    args = GAETrainingArguments(str(tmp_path), per_device_train_batch_size=4, max_steps=8, weight_decay=0.1)
    args.disable_tqdm = True
    GAETrainer(model, args, train_dataset=images(20)).train()
    weights = [state["discriminator.layers.0.weight"] for state in seen]
    moved = [not torch.equal(a, b) for a, b in zip(weights, weights[1:], strict=False)]
    assert moved == [False] * 4 + [True] * 3
    assert model.discriminator_plays and model.progress == 1


@BOTH
def test_a_run_that_is_resumed_before_the_start_continues_exactly(name, tmp_path):
    """Discriminator, statistics of its batch normalisation and optimizer are those of an uninterrupted run."""
    steps = {"max_steps": 8, "save_steps": 3, "save_strategy": "steps"}
    args = GAETrainingArguments(str(tmp_path), per_device_train_batch_size=4, **steps)
    args.disable_tqdm, args.save_total_limit = True, None
    whole, resumed = (ROWS[name].build(**SMALL, discriminator_start=5) for _ in range(2))
    GAETrainer(whole, args, train_dataset=X.float().repeat(4, 1, 1, 1)).train()
    again = GAETrainer(resumed, args, train_dataset=X.float().repeat(4, 1, 1, 1))
    again.train(resume_from_checkpoint=str(tmp_path / "checkpoint-3"))
    assert all(torch.equal(value, resumed.state_dict()[key]) for key, value in whole.state_dict().items())


def test_a_start_beyond_the_last_step_raises(tmp_path):
    args = GAETrainingArguments(str(tmp_path), per_device_train_batch_size=4, max_steps=3, disable_tqdm=True)
    args.overwrite_output_dir = True
    for start in (3, 50_000):
        trainer = GAETrainer(ROWS["kl_gan"].build(discriminator_start=start), args, train_dataset=images(20))
        with pytest.raises(ValueError, match=f"discriminator_start = {start} lies beyond the last step .* 3 steps"):
            trainer.train()
    for start in (2, 0.999):
        GAETrainer(ROWS["kl_gan"].build(discriminator_start=start), args, train_dataset=images(20)).train()
    absent = ROWS["kl_gan"].build(discriminator_start=50_000, discriminator_weight=0.0)
    GAETrainer(absent, args, train_dataset=images(20)).train()


def test_evaluation_without_gradients_has_no_adaptive_weight():
    model = build("kl_gan").eval()
    with torch.no_grad():
        out = model(X)
    assert out.losses["adversarial"] == 0 and not out.loss.requires_grad
    with torch.inference_mode():
        assert model(X).loss.isfinite()


def test_a_frozen_decoder_has_the_adaptive_weight_of_its_images():
    """Without a trainable weight, the gradients are those with respect to the reconstruction."""
    model = build("kl_gan").eval()
    model.decoder.requires_grad_(False)
    model.encoder(X)
    out = model(X, generator=generator())
    distortion, rest, score, fake = game(model)
    norms = [torch.autograd.grad(value, fake, retain_graph=True)[0].norm() for value in (distortion + rest, score)]
    torch.testing.assert_close(out.metrics["adaptive_weight"], (norms[0] / (norms[1] + 1e-4)).clamp(max=1e4))


# LPIPS


@BOTH
def test_the_network_of_lpips_is_a_constant(name, with_lpips, tmp_path):
    """It is neither trained nor saved, moves with the model, and stays in float32."""
    model = ROWS[name].build(**SMALL, perceptual_weight=1.0)
    x = X.float()
    names = [key for key, _ in model.named_parameters()]
    model(x).loss.backward()
    network = model.perceptual_network
    assert [key for key, _ in model.named_parameters()] == names and not list(network.parameters())
    assert not [key for key in model.state_dict() if "perceptual" in key]
    before = {key: value.clone() for key, value in network.named_buffers()}
    args = GAETrainingArguments(str(tmp_path / "run"), max_steps=2, per_device_train_batch_size=4, disable_tqdm=True)
    GAETrainer(model, args, train_dataset=x).train()
    assert all(torch.equal(value, before[key]) for key, value in network.named_buffers())
    model.init_weights()
    assert all(torch.equal(value, before[key]) for key, value in network.named_buffers())
    model.save_pretrained(tmp_path / "model")
    assert not [key for key in AutoGAE.from_pretrained(tmp_path / "model").state_dict() if "perceptual" in key]
    assert {value.device.type for value in deepcopy(model).to("meta").perceptual_network.buffers()} == {"meta"}
    half = deepcopy(model).bfloat16()
    assert all(torch.equal(value, before[key]) for key, value in half.perceptual_network.named_buffers())
    assert half(x).loss.isfinite()
    assert {value.dtype for value in model.double().perceptual_network.buffers()} == {torch.float64}


def test_inference_needs_no_weights_of_lpips(monkeypatch, tmp_path):
    """A loaded model encodes and decodes without them, and its loss names the remedy."""

    def fail(*args, **kwargs):
        raise OSError("no connection")

    monkeypatch.setattr("urllib.request.urlopen", fail)
    monkeypatch.setenv("GAE_HUB_CACHE", str(tmp_path / "cache"))
    model = ROWS["kl_gan"].build(**SMALL, perceptual_weight=1.0)
    model.save_pretrained(tmp_path / "model")
    loaded, x = AutoGAE.from_pretrained(tmp_path / "model"), X.float()
    assert loaded.reconstruct(x).shape == loaded(x, return_loss=False).reconstruction.shape == x.shape
    assert loaded.generate(2).shape == (2, 3, 16, 16)
    with pytest.raises(OSError, match=r"model.load_perceptual_network\(weights=BACKBONE, heads=HEADS\)"):
        loaded.load_perceptual_network(weights=tmp_path / "no.pth")


def test_files_of_lpips(lpips, tmp_path, monkeypatch):
    """The paths of downloaded files, laid out as the published ones."""
    monkeypatch.setitem(BACKBONES, "vgg", replace(BACKBONES["vgg"], sha256=""))
    state = lpips.state_dict()
    torch.save({key: value for key, value in state.items() if key.startswith("features")}, tmp_path / "vgg.pth")
    heads = {f"lin{i}.model.1.weight": state[f"head{i}"].view(1, -1, 1, 1) for i in range(5)}
    torch.save(heads, tmp_path / "heads.pth")
    model = ROWS["kl_gan"].build(**SMALL, perceptual_weight=1.0)
    model.load_perceptual_network(tmp_path / "vgg.pth", tmp_path / "heads.pth")
    out, y = model(X.float(), generator=generator()), model(X.float(), generator=generator()).reconstruction
    torch.testing.assert_close(out.losses["perceptual"], 768 * lpips(y, X.float()).mean())


def test_gradients_of_lpips_are_finite_where_features_are_zero(lpips):
    """Channels that are all 0 have no direction, and the slope of their norm is infinite; ReLUs mask it."""
    network = deepcopy(lpips)
    for layer in network.features:
        if isinstance(layer, torch.nn.Conv2d):
            layer.bias.fill_(-100.0)
    x = torch.rand(2, 3, 16, 16, requires_grad=True)
    network(x, torch.rand(2, 3, 16, 16)).sum().backward()
    assert x.grad.isfinite().all()


@pytest.mark.parametrize(
    ("config_class", "fields", "message"),
    [
        (KLGANConfig, {"discriminator_start": 1.0}, r"a float in \[0, 1\), got 1.0"),
        (KLGANConfig, {"discriminator_start": -1}, "an int of 0 or more"),
        (KLGANConfig, {"discriminator_weight": -0.1}, "discriminator_weight must be 0 or more"),
        (KLGANConfig, {"kl_weight": -1.0}, "kl_weight must be 0 or more"),
        (KLGANConfig, {"scaling_factor": 0.0}, "scaling_factor"),
        (VQGANConfig, {"discriminator_channels": []}, "discriminator_channels must name at least one layer"),
        (VQGANConfig, {"input_shape": (5,)}, r"input_shape must be \(channels, height, width\)"),
        (VQGANConfig, {"input_shape": (3, 8, 8)}, "perceptual_network 'vgg' needs .* sides of at least 16 pixels"),
        (VQGANConfig, {"input_shape": (2, 32, 32)}, "1 or 3 channels"),
        (KLGANConfig, {"perceptual_network": "alex"}, "at least 31 pixels"),
        (KLGANConfig, {"perceptual_network": "squeeze"}, "perceptual_network"),
    ],
)
def test_invalid_fields(config_class, fields, message):
    with pytest.raises(StrictDataclassError) as error:
        config_class(**fields)
    assert re.search(message, str(error.value) + str(error.value.__cause__))


def test_images_too_small_for_the_discriminator():
    with pytest.raises(ValueError, match=r"discriminator_channels with 4 layers needs images of at least 24 x 24"):
        ROWS["kl_gan"].build(discriminator_channels=(64, 128, 256, 512), input_shape=(1, 16, 16))
