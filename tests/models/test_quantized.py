"""What quantized models share: initialisation, layouts, quantization of all latents, and distributed training.

Run as a script, this file is one of two processes that train together, for the last test.
"""

import sys
from copy import deepcopy
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from cases import NETWORKS, QUANTIZERS, SHAPE, generator, images
from child_processes import run_in_two_processes
from safetensors.torch import load_file, save_file
from torch.nn.parallel import DistributedDataParallel

from gae_hub import AutoGAE, HRQVAEConfig, HRQVAEModel, VQVAEConfig, VQVAEModel

X = images(12)
FIELDS = {"input_shape": SHAPE, "latent_dim": 3, "num_embeddings": 6, **NETWORKS}
OWN = {"vq_vae": {}, "hrq_vae": {"codebook_init": "kmeans"}}
EVERY = pytest.mark.parametrize("case", QUANTIZERS, ids=lambda case: case.id)
BOTH = pytest.mark.parametrize("name", ["vq_vae", "hrq_vae"])
LAYOUTS = pytest.mark.parametrize("layout", ["spatial", "flat"])


def build(name="vq_vae", **fields):
    torch.manual_seed(0)
    cls, config = {"vq_vae": (VQVAEModel, VQVAEConfig), "hrq_vae": (HRQVAEModel, HRQVAEConfig)}[name]
    return cls(config(**{**FIELDS, **OWN[name], **fields}))


# Initialisation


@BOTH
def test_reloaded_model_is_not_initialised_again(name, tmp_path):
    model = build(name)
    model(X)
    model.save_pretrained(tmp_path)
    loaded = AutoGAE.from_pretrained(tmp_path).train()
    filled = build(name)
    filled.load_state_dict(model.state_dict())
    torch.manual_seed(1)
    losses = [model(images(12, seed=1)).loss]
    for other in (loaded, filled):
        torch.manual_seed(1)
        losses.append(other(images(12, seed=1)).loss)
        assert all(torch.equal(value, model.state_dict()[key]) for key, value in other.state_dict().items())
    assert losses[0] == losses[1] == losses[2]


def test_untrained_state_is_initialised_again():
    model = build()
    start = deepcopy(model.state_dict())
    model(X)
    model.load_state_dict(start)
    model(X)
    assert model.codebook.initialized and model.codebook.codes.abs().max() > 1 / 6


@BOTH
def test_only_training_changes_the_codebook(name):
    model = build(name)
    before = deepcopy(model.state_dict())
    model.eval()(X)
    model.encode_codes(X)
    model.train()
    model.reconstruct(X)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    model(X)
    assert not all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


@BOTH
def test_half_precision_keeps_codebooks_in_float32(name, tmp_path):
    model = build(name)
    model(X)
    model.save_pretrained(tmp_path)
    for half in (AutoGAE.from_pretrained(tmp_path, dtype=torch.bfloat16), deepcopy(model).to(torch.bfloat16)):
        books = {k: v for k, v in half.state_dict().items() if k.startswith("codebook")}
        assert all(torch.equal(value, model.state_dict()[key]) for key, value in books.items())
        assert half.head.weight.dtype == torch.bfloat16
        assert half.train()(X).latents.dtype == half.sample_prior(2).dtype == torch.float32
        moved = {k: v for k, v in half.state_dict().items() if k.endswith("counts")}
        assert all(v.dtype == torch.float32 and not torch.equal(v, v.bfloat16().float()) for v in moved.values())
    assert {v.dtype for v in model.double().state_dict().values()} == {torch.float64, torch.bool}


# Quantizers


@EVERY
def test_reloaded_quantizer_has_the_same_codes(case, tmp_path):
    """Also in bfloat16, where the quantizer stays in float32."""
    model = case.build()
    model(X)
    model.eval().save_pretrained(tmp_path)
    loaded, half = AutoGAE.from_pretrained(tmp_path), AutoGAE.from_pretrained(tmp_path, dtype=torch.bfloat16)
    assert torch.equal(loaded.encode_codes(X), model.encode_codes(X)) and torch.equal(loaded.embed(X), model.embed(X))
    z = model.encode(X).mean
    assert torch.equal(half.quantize(z)[0], model.quantize(z)[0]) and half.train()(X).latents.dtype == torch.float32
    cast = deepcopy(model).to(torch.bfloat16)
    for name, buffer in model.codebook.named_buffers():
        assert half.codebook.get_buffer(name).dtype == cast.codebook.get_buffer(name).dtype == buffer.dtype
    for name, parameter in model.codebook.named_parameters():
        assert half.codebook.get_parameter(name).dtype == cast.codebook.get_parameter(name).dtype == parameter.dtype
    assert model.double().embed(X.double()).dtype == torch.float64


@EVERY
@pytest.mark.parametrize("network", ["mlp", "conv"])
def test_every_quantizer_through_the_model(case, network):
    """Codes and latents of all methods agree; the loss is the weighted sum of terms, which are sums over tokens."""
    model = case.build(encoder_config=network, decoder_config=network)
    model(X)
    model.eval()
    out, codes = model(X), model.encode_codes(X)
    assert torch.equal(out.codes, codes) and codes.shape == (12, *model.code_shape)
    torch.testing.assert_close(out.latents, model.embed(X))
    torch.testing.assert_close(model.lookup_codes(codes), model.embed(X))
    torch.testing.assert_close(model.decode_codes(codes), model.reconstruct(X))
    assert set(out.losses) == {"reconstruction", *case.terms}
    weights = {"reconstruction": 1.0, **model.loss_weights()}
    torch.testing.assert_close(out.loss, sum(weights[name] * value for name, value in out.losses.items()))
    tokens = model.to_tokens(model.encode(X).mean)
    for name, value in model.codebook.quantize(tokens).terms.items():
        torch.testing.assert_close(out.losses[name], value.sum() / 12)
    places = codes[0].numel()
    assert model.bits_per_example == 3 * places
    assert model.num_codes_per_token == (codes.shape[-1] if model.codebook.code_axes else 1)
    out.loss.backward()
    assert all(p.grad is not None for p in model.encoder.parameters())
    assert model.sample_prior(5).shape == (5, *model.latent_shape)


@EVERY
def test_every_quantizer_compiles_to_one_graph_after_the_first_step(case):
    torch._dynamo.reset()
    for training in (False, True):
        model = case.build(encoder_config="conv")
        model(X)
        model.train(training)
        compiled = torch.compile(deepcopy(model), backend="eager", fullgraph=True)
        for _ in range(2):
            torch.manual_seed(1)
            expected = model(X).loss
            torch.manual_seed(1)
            torch.testing.assert_close(compiled(X).loss, expected)


@EVERY
def test_training_every_quantizer_lowers_the_loss_and_uses_the_codes(case):
    wide = {"encoder_config": {"hidden_sizes": [64]}, "decoder_config": {"hidden_sizes": [64]}}
    model = case.build(**wide, observation_std=0.3).train()
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    patterns = torch.rand(8, *SHAPE, generator=generator(9))
    losses = []
    for seed in range(200):
        x = patterns[torch.randint(8, (64,), generator=generator(seed))]
        out = model(
            (x + 0.05 * torch.randn(x.shape, generator=generator(seed))).clamp(0, 1), generator=generator(seed)
        )
        optimizer.zero_grad()
        out.loss.backward()
        optimizer.step()
        losses.append(out.losses["reconstruction"].item())
    assert sum(losses[-20:]) < 0.7 * sum(losses[:20])
    assert len(model.eval().encode_codes(patterns).view(8, -1).unique(dim=0)) >= 4


# Layouts


@LAYOUTS
@BOTH
@pytest.mark.parametrize(
    ("networks", "positions"),
    [("conv", (2, 2)), ("resnet", (2, 2)), ("paper_conv", (1, 1)), ("paper_resnet", (4, 4))],
)
def test_every_network_with_every_layout(name, layout, networks, positions):
    shape = (1, 28, 28) if networks.startswith("paper") else (1, 16, 16)
    model = build(
        name, input_shape=shape, encoder_config=networks, decoder_config=networks, latent_layout=layout
    ).train()
    x = images(2, shape)
    out = model(x)
    out.loss.backward()
    places = positions if layout == "spatial" else ()
    assert out.latents.shape == model.embed(x).shape == (2, 3, *places)
    assert out.codes.shape == model.encode_codes(x).shape == (2, *places, *((4,) if name == "hrq_vae" else ()))
    assert out.codes.dtype == torch.long and 0 <= out.codes.min() and out.codes.max() < 6
    assert model.generate(2).shape == model.interpolate(x[:1], x[1:], 2)[0].shape == x.shape
    assert all(p.grad is not None for p in model.parameters())


@BOTH
def test_latent_shapes_and_invalid_layouts(name):
    assert build(name).latent_shape == (3,)  # "auto" for features that are vectors
    maps = {"encoder_config": "conv", "decoder_config": "conv", "input_shape": (1, 32, 32)}
    assert build(name, **maps).latent_shape == (3, 4, 4)
    assert build(name, **{**maps, "decoder_config": "mlp"})(images(2, (1, 32, 32))).latents.shape == (2, 3, 4, 4)
    with pytest.raises(ValueError, match=r"latent_layout 'spatial' needs .* 'conv' or 'resnet', or .* 'flat'"):
        build(name, latent_layout="spatial")
    with pytest.raises(Exception, match="latent_layout"):
        build(name, latent_layout="rows")


def trained(name, layout="flat", **fields):
    """A model in eval mode, after three training steps without optimizer."""
    maps = {"encoder_config": {"model_type": "conv", "channels": [4]}, "latent_layout": layout}
    model = build(name, **maps, **fields)
    for seed in range(3):
        model(X, generator=generator(seed))
    return model.eval()


@LAYOUTS
@BOTH
def test_every_method_quantizes(name, layout):
    model = trained(name, layout)
    codes, embedding = model.encode_codes(X), model.embed(X)
    torch.testing.assert_close(model.lookup_codes(codes), embedding)
    assert not torch.allclose(model.encode(X).mean, embedding)
    out = model(X)
    assert torch.equal(out.codes, codes)
    torch.testing.assert_close(out.latents, embedding)
    torch.testing.assert_close(model.decode_codes(codes), model.reconstruct(X))
    torch.testing.assert_close(out.reconstruction, model.reconstruct(X))

    t = torch.linspace(0, 1, 7)
    path = model.interpolate_latents(embedding[:4], embedding[4:8], t)
    assert torch.equal(path[:, 0], embedding[:4]) and torch.equal(path[:, -1], embedding[4:8])
    line = torch.lerp(embedding[:4, None], embedding[4:8, None], t.view(1, -1, *[1] * (embedding.dim() - 1)))
    torch.testing.assert_close(path[:, 3], model.quantize(line[:, 3])[0])
    assert not torch.allclose(path[:, 3], line[:, 3])


@LAYOUTS
@BOTH
def test_latents_of_samplers_are_quantized(name, layout):
    model = trained(name, layout)
    drawn = torch.randn(4, *model.latent_shape, generator=generator())

    class Sampler:
        def sample(self, num_samples, generator=None):
            return drawn[:num_samples].double()

    torch.testing.assert_close(model.generate(3, Sampler()), model.decode(model.quantize(drawn[:3])[0]))
    assert not torch.allclose(model.generate(3, Sampler()), model.decode(drawn[:3]))  # decode does not quantize


@LAYOUTS
@BOTH
def test_prior_is_uniform_over_codes(name, layout):
    model = trained(name, layout)
    asked = []
    lookup, model.lookup_codes = model.lookup_codes, lambda codes: asked.append(codes) or lookup(codes)
    latents = model.sample_prior(3000, generator())
    assert latents.shape == (3000, *model.latent_shape) and torch.equal(latents, lookup(asked[0]))
    assert asked[0].shape == (3000, *model.encode_codes(X).shape[1:])
    for places in asked[0].view(3000, -1).T:
        assert ((places.bincount(minlength=6) - 500).square() / 500).sum() < 20.5  # 5 degrees of freedom, p = 0.001


def test_largest_uniform_number_is_a_valid_code():
    """Its product with the number of codes is not rounded up to that number."""
    sizes = torch.arange(1, 2**20)
    largest = torch.tensor(1 - 2.0**-24)
    assert largest < 1 and torch.equal((largest * sizes).long(), sizes - 1)


@pytest.mark.parametrize(
    "fields",
    [
        {"num_embeddings": 0},
        {"codebook_decay": 1.0},
        {"codebook_decay": -0.1},
        {"revival_threshold": 1.0},
        {"revival_threshold": -0.1},
        {"num_kmeans_iterations": -1},
    ],
)
def test_invalid_fields(fields):
    with pytest.raises(Exception, match=next(iter(fields))):
        VQVAEConfig(**fields)


# Several processes

BATCH, STEPS = 16, 4
SETTINGS = {
    "ema": ("vq_vae", {}),
    "gradient": ("vq_vae", {"codebook_update": "gradient"}),
    "many": ("vq_vae", {"num_embeddings": 40}),  # more codes than tokens
    "levels": ("hrq_vae", {"num_levels": 2}),
    "spheres": ("hrq_vae", {"num_levels": 2, "codebook_init": "sphere"}),
    "groups": ("vq_vae", {"num_groups": 3}),
    "residual": ("vq_vae", {"quantizer": "residual_vq", "num_levels": 2}),
}
# the entropy of all codes is that of the codes of both processes
COMPUTED = {
    "fsq": {"quantizer": "fsq", "fsq_levels": (2, 3), "latent_dim": 2},
    "lfq": {"quantizer": "lfq", "num_embeddings": 8, "entropy_temperature": 1.0, "entropy_weight": 3.0},
    "bsq": {"quantizer": "bsq", "num_embeddings": 8, "entropy_temperature": 1.0, "entropy_weight": 3.0},
    "sim_vq": {"quantizer": "sim_vq"},
}
SETTINGS |= {name: ("vq_vae", fields) for name, fields in COMPUTED.items()}


def train(setting: str, number: int, world: int) -> dict[str, torch.Tensor]:
    """State, loss and averaged gradients of process `number` of `world`, after some steps on its share of the data."""
    name, fields = SETTINGS[setting]
    adapting = {} if setting in COMPUTED else {"revival_threshold": 0.5, "codebook_decay": 0.5}
    model = build(name, **adapting, **fields).double().train()
    net = DistributedDataParallel(model) if world > 1 else model
    optimizer = torch.optim.SGD(model.parameters(), 0.05)
    share, revived = BATCH // world, 0
    for seed in range(STEPS):
        own = images(BATCH, seed=seed).double()[number * share : (number + 1) * share]
        optimizer.zero_grad()
        torch.manual_seed(seed + 100 * number)  # different noise; codebooks use that of process 0
        out = net(own)
        out.loss.backward()
        optimizer.step()
        revived += out.metrics.get("dead_codes", 0)
    loss = out.loss.detach().clone()
    if world > 1:
        dist.all_reduce(loss)
        loss /= world
    found = {f"gradient.{key}": p.grad for key, p in model.named_parameters()} | model.state_dict()
    found |= {"loss": loss, "perplexity": out.metrics["perplexity"], "revived": torch.as_tensor(revived)}
    return {key: value.clone().contiguous() for key, value in found.items()}


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory):
    """A folder with the results of both processes."""
    folder = tmp_path_factory.mktemp("quantizers")
    run_in_two_processes(__file__, folder)
    return folder


@pytest.mark.parametrize("setting", SETTINGS)
def test_two_processes_equal_one_process(two_processes, setting):
    """For k-means, revivals, moving averages, loss and gradients. HRQ-VAE's random codes depend on the process, so
    only the agreement between the two processes is tested."""
    one, other = (load_file(two_processes / f"{setting}.{number}.safetensors") for number in "01")
    assert one["revived"] > 0 or setting in COMPUTED
    for key, value in one.items():
        torch.testing.assert_close(other[key], value, msg=lambda text, key=key: f"{key}: {text}")
    if SETTINGS[setting][0] == "vq_vae":
        for key, value in train(setting, 0, 1).items():
            torch.testing.assert_close(one[key], value, msg=lambda text, key=key: f"{key}: {text}")


if __name__ == "__main__":
    dist.init_process_group("gloo")
    rank = dist.get_rank()
    for each in SETTINGS:
        save_file(train(each, rank, 2), Path(sys.argv[1]) / f"{each}.{rank}.safetensors")
    dist.barrier()
