"""`embed_dataset`: order, batches, its cache, and several processes."""

import json

import pytest
import torch
from builders import hub_folder
from cases import CODES, VAE, images
from child_processes import run_in_two_processes

from gae_hub import embed_dataset, load_images
from gae_hub.data import reading
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


# The cache


class Counter:
    """Counts the images that a model embeds."""

    def __init__(self, model):
        self.model, self.count, embed = model, 0, model.embed

        def counting(pixel_values):
            self.count += len(pixel_values)
            return embed(pixel_values)

        model.embed = counting


def test_cache_depends_on_weights_and_data(tmp_path):
    model, data = VAE.build(), load_images(images(30))
    counter = Counter(model)
    first = embed_dataset(model, data, progress=False, cache=tmp_path)
    assert counter.count == 30 and torch.equal(first, VAE.build().embed(images(30)))
    assert torch.equal(embed_dataset(model, data, batch_size=7, progress=False, cache=tmp_path), first)
    assert counter.count == 30 and len(list(tmp_path.iterdir())) == 1
    embed_dataset(model, load_images(images(30, seed=1)), progress=False, cache=tmp_path)
    assert counter.count == 60  # other data
    with torch.no_grad():
        model.head.bias[0] += 1
    moved = embed_dataset(model, data, progress=False, cache=tmp_path)
    assert counter.count == 90 and not torch.equal(moved, first)  # other weights
    embed_dataset(model, data, progress=False, cache=False)
    embed_dataset(model, torch.utils.data.Subset(data, range(5)), progress=False, cache=tmp_path)
    assert counter.count == 125 and len(list(tmp_path.iterdir())) == 4  # the images of a Subset are hashed


def test_cache_of_images_on_demand(tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "MEMORY_SHARE", 0)
    (tmp_path / "data").mkdir()
    on_demand = load_images(hub_folder(tmp_path / "data")[0])
    assert isinstance(on_demand, OnDemandDataset)
    model = VAE.build(input_shape=(1, 6, 5))
    counter = Counter(model)
    once, again = (embed_dataset(model, on_demand, progress=False, cache=tmp_path / "cache") for _ in range(2))
    assert counter.count == 30 and torch.equal(once, again)


def test_cache_separates_codes_from_latents(tmp_path):
    model = CODES.build(encoder_config="conv", decoder_config="conv").eval()
    codes = [embed_dataset(model, images(12), progress=False, output="codes", cache=tmp_path) for _ in range(2)]
    assert torch.equal(*codes) and len(list(tmp_path.iterdir())) == 1
    assert embed_dataset(model, images(12), progress=False, cache=tmp_path).is_floating_point()


# Several processes

SCRIPT = """
import json, os, sys, torch, torch.distributed as dist
from cases import VAE, images
from gae_hub import embed_dataset, load_images
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
