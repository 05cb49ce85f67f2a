"""`embed_dataset`: order, batches, its cache, and several processes."""

import json

import pytest
import torch
from builders import hub_folder
from cases import CODES, ROWS, VAE, generator, images
from child_processes import run_in_two_processes
from torch import nn

from gae_hub import VAEModel, embed_dataset, load_images
from gae_hub.data import split_reading
from gae_hub.data.datasets import OnDemandDataset


def test_embed_dataset_keeps_order_and_mode(model, digits):
    train, _ = digits
    model.train()
    latents = embed_dataset(model, train, batch_size=100, progress=False, cache=False)
    assert latents.shape == (1397, 4) and model.training
    whole = embed_dataset(model, train, batch_size=1397, progress=True, cache=False)
    torch.testing.assert_close(latents, whole)
    torch.testing.assert_close(latents[:3], model.embed(train[:3]["pixel_values"]))


def test_codes():
    model = CODES.build(encoder_config="conv", decoder_config="conv").eval()
    found = embed_dataset(model, images(12), batch_size=5, progress=False, output="codes", cache=False)
    assert found.dtype == torch.long and torch.equal(found, model.encode_codes(images(12)))


# Samples of the posteriors


def test_samples_follow_the_posteriors():
    """Standardized by mean and standard deviation of its posterior, each sample is from N(0, I)."""
    model, data = VAE.build().double().eval(), images(500).double()
    posterior = model.encode(data)
    drawn = embed_dataset(model, data, progress=False, cache=False, sample=True)
    noise = (drawn - posterior.mean) / (0.5 * posterior.log_var).exp()
    count = noise.numel()
    assert abs(noise.mean()) < 4 / count**0.5 and abs(noise.square().mean() - 1) < 4 * (2 / count) ** 0.5
    assert abs((noise[1:] * noise[:-1]).mean()) < 4 / count**0.5  # no noise is used twice
    assert torch.equal(drawn, embed_dataset(model, data, progress=False, cache=False, sample=True))
    assert not torch.equal(drawn, embed_dataset(model, data, progress=False, cache=False, sample=True, seed=1))


def test_samples_leave_the_global_random_state():
    model, state = VAE.build(), torch.get_rng_state()
    embed_dataset(model, images(9), progress=False, cache=False, sample=True)
    assert torch.equal(torch.get_rng_state(), state)


def test_samples_without_noise():
    """The posterior of an autoencoder is a point."""
    model, data = ROWS["ae"].build(), images(9)
    drawn = embed_dataset(model, data, progress=False, cache=False, sample=True)
    assert torch.equal(drawn, embed_dataset(model, data, progress=False, cache=False))


def test_codes_are_not_sampled():
    with pytest.raises(ValueError, match="codes have no posterior to sample from: pass sample=False"):
        embed_dataset(CODES.build(), images(9), output="codes", sample=True)


def test_a_seed_must_be_an_integer():
    with pytest.raises(ValueError, match="seed must be an integer"):
        embed_dataset(VAE.build(), images(9), sample=True, seed="one")


def test_cache_of_samples(tmp_path):
    """Means, and samples by seed and batch size, have a file each."""
    model, data = VAE.build(), images(12)
    settings = [{}, {"sample": True}, {"sample": True, "seed": 1}, {"sample": True, "batch_size": 5}]
    first, again = (
        [embed_dataset(model, data, progress=False, cache=tmp_path, **setting) for setting in settings]
        for _ in range(2)
    )
    assert len(list(tmp_path.iterdir())) == 4
    assert all(torch.equal(one, other) for one, other in zip(first, again, strict=True))
    assert len({tuple(latents.flatten().tolist()) for latents in first}) == 4


# The cache


@pytest.fixture
def embedded(monkeypatch):
    """The numbers of images that models of the class VAEModel embed."""
    counts, embed = [], VAEModel.embed

    def count(self, pixel_values):
        counts.append(len(pixel_values))
        return embed(self, pixel_values)

    monkeypatch.setattr(VAEModel, "embed", count)
    return counts


def test_cache_depends_on_weights_and_data(tmp_path, embedded):
    model, data = VAE.build(), load_images(images(30))
    first = embed_dataset(model, data, progress=False, cache=tmp_path)
    assert sum(embedded) == 30 and torch.equal(first, VAE.build().encode(images(30)).mean)
    assert torch.equal(embed_dataset(model, data, batch_size=7, progress=False, cache=tmp_path), first)
    assert sum(embedded) == 30 and len(list(tmp_path.iterdir())) == 1
    embed_dataset(model, load_images(images(30, seed=1)), progress=False, cache=tmp_path)
    assert sum(embedded) == 60  # other data
    with torch.no_grad():
        model.head.bias[0] += 1
    moved = embed_dataset(model, data, progress=False, cache=tmp_path)
    assert sum(embedded) == 90 and not torch.equal(moved, first)  # other weights
    embed_dataset(model, data, progress=False, cache=False)
    embed_dataset(model, torch.utils.data.Subset(data, range(5)), progress=False, cache=tmp_path)
    assert sum(embedded) == 125 and len(list(tmp_path.iterdir())) == 4  # the images of a Subset are hashed


def test_cache_of_images_on_demand(tmp_path, monkeypatch, embedded):
    monkeypatch.setattr(split_reading, "MEMORY_SHARE", 0)
    (tmp_path / "data").mkdir()
    on_demand = load_images(hub_folder(tmp_path / "data")[0])
    assert isinstance(on_demand, OnDemandDataset)
    model = VAE.build(input_shape=(1, 6, 5))
    once, again = (embed_dataset(model, on_demand, progress=False, cache=tmp_path / "cache") for _ in range(2))
    assert sum(embedded) == 30 and torch.equal(once, again)


def test_cache_separates_codes_from_latents(tmp_path):
    model = CODES.build(encoder_config="conv", decoder_config="conv").eval()
    codes = [embed_dataset(model, images(12), progress=False, output="codes", cache=tmp_path) for _ in range(2)]
    assert torch.equal(*codes) and len(list(tmp_path.iterdir())) == 1
    assert embed_dataset(model, images(12), progress=False, cache=tmp_path).is_floating_point()


class Scaled(nn.Module):
    """An encoder with an attribute, and a buffer that is not saved."""

    def __init__(self, scale=1.0, shift=0.0):
        super().__init__()
        self.trunk, self.scale = nn.Sequential(nn.Flatten(), nn.Linear(64, 8)), scale
        self.register_buffer("shift", torch.tensor(shift), persistent=False)

    def forward(self, pixel_values):
        return self.scale * self.trunk(pixel_values) + self.shift


Other = type("Scaled", (Scaled,), {"forward": lambda self, x: -Scaled.forward(self, x), "__module__": __name__})


def with_encoder(encoder):
    """A VAE with the same weights for each encoder."""
    torch.manual_seed(0)
    model = VAEModel(VAE.build().config, encoder=encoder).eval()
    for index, parameter in enumerate(model.parameters()):
        nn.init.normal_(parameter, generator=generator(index))
    return model


@pytest.mark.parametrize("other", [lambda: Scaled(2.0), lambda: Scaled(shift=1.0), Other])
def test_custom_encoders_are_not_cached(tmp_path, other):
    """Another attribute, another buffer or another class of the same name, with the same weights."""
    models = [with_encoder(Scaled()), with_encoder(other())]
    first, second = ({**model.state_dict()} for model in models)
    assert first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)
    found = [embed_dataset(model, images(20), progress=False, cache=tmp_path) for model in models]
    assert not torch.allclose(*found) and list(tmp_path.iterdir()) == []
    for model, embeddings in zip(models, found, strict=True):
        assert torch.equal(embeddings, model.embed(images(20)))


def test_an_encoder_of_torch_is_cached(tmp_path, embedded):
    """By attributes too that its text does not show."""
    layers = [nn.Sequential(nn.Flatten(), nn.TransformerEncoderLayer(64, 2, 8, norm_first=first)) for first in (0, 1)]
    found = [embed_dataset(with_encoder(layer), images(9), progress=False, cache=tmp_path) for layer in layers]
    assert str(layers[0]) == str(layers[1]) and not torch.allclose(*found)
    again = [embed_dataset(with_encoder(layer), images(9), progress=False, cache=tmp_path) for layer in layers]
    assert all(map(torch.equal, found, again)) and sum(embedded) == 18 and len(list(tmp_path.iterdir())) == 2


def test_hooks_and_replaced_methods_are_not_cached(tmp_path):
    def embed(model):
        return embed_dataset(model, images(9), progress=False, cache=tmp_path)

    plain = embed(VAE.build())
    hooked, replaced = VAE.build(), VAE.build()
    handle = hooked.encoder.register_forward_hook(lambda module, args, output: output + 1)
    assert torch.equal(embed(hooked), hooked.embed(images(9))) and not torch.allclose(embed(hooked), plain)
    encode = replaced.encode
    replaced.encode = lambda x: encode(1 - x)
    assert torch.equal(embed(replaced), replaced.embed(images(9))) and not torch.allclose(embed(replaced), plain)
    assert len(list(tmp_path.iterdir())) == 1
    handle.remove()
    assert torch.equal(embed(hooked), plain)


def test_a_custom_data_set_is_not_cached(tmp_path, monkeypatch):
    monkeypatch.setattr(split_reading, "MEMORY_SHARE", 0)
    (tmp_path / "data").mkdir()
    on_demand = load_images(hub_folder(tmp_path / "data")[0])

    class Inverted(OnDemandDataset):
        def read(self, indices):
            return 1 - super().read(indices)

    inverted = Inverted(on_demand.source, on_demand.name, on_demand.split)
    model = VAE.build(input_shape=(1, 6, 5))
    plain, other = (embed_dataset(model, d, progress=False, cache=tmp_path / "c") for d in (on_demand, inverted))
    assert not torch.allclose(plain, other) and len(list((tmp_path / "c").iterdir())) == 1


# Several processes

SCRIPT = """
import json, os, sys, torch, torch.distributed as dist
from cases import VAE, images
from gae_hub import VAEModel, embed_dataset, load_images
dist.init_process_group("gloo")
for num in (1, 5, 20):
    data, whole = load_images(images(num)), VAE.build().embed(images(num))
    for cache in (sys.argv[1] + f"/{num}", sys.argv[1] + f"/{num}", False):
        found = embed_dataset(VAE.build(), data, batch_size=3, progress=False, cache=cache)
        torch.testing.assert_close(found, whole)
print(json.dumps("right"), flush=True)
dist.barrier()
os._exit(0)
"""


@pytest.mark.slow
def test_two_processes_embed_a_part_each(tmp_path):
    (tmp_path / "embed.py").write_text(SCRIPT)
    stdout = run_in_two_processes(tmp_path / "embed.py", tmp_path / "cache")
    assert stdout.count(json.dumps("right")) == 2
    assert {len(list(folder.iterdir())) for folder in (tmp_path / "cache").iterdir()} == {1}
