"""Many images to disk: what is written, and that it is the same whatever the batch size; embeddings, once."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from cases import CODES, VAE, generator, images
from PIL import Image

from gae_hub import GaussianMixtureSampler, GenerationPipeline, embed_dataset, load_images
from gae_hub.data.datasets import DecodedOnDemand, ImageDataset
from gae_hub.images import writing as image_output
from gae_hub.images.writing import write_images
from gae_hub.pipelines import generation as pipelines


@pytest.fixture
def pipe():
    sampler = GaussianMixtureSampler(num_components=2).fit(torch.randn(50, 3, generator=generator()))
    return GenerationPipeline(VAE.build().eval(), sampler)


def arrays(pictures):
    return np.stack([np.asarray(picture) for picture in pictures])


def test_a_stream_is_a_call_whatever_the_batch_size(pipe, monkeypatch):
    monkeypatch.setattr(pipelines, "_DRAWN", 8)
    expected = arrays(pipe(20, seed=3))
    for batch_size in (1, 3, 8, 500):
        np.testing.assert_array_equal(arrays(pipe.stream(20, seed=3, batch_size=batch_size)), expected)
    assert not np.array_equal(arrays(pipe.stream(20, seed=4)), expected)
    with pytest.raises(ValueError, match="num_samples must be 1 or more, got 0"):
        pipe(0)


def test_a_stream_holds_few_images(pipe, monkeypatch):
    """A million images begin at once: no more latents are drawn than a part."""
    asked = []
    draw = pipe.sampler.sample
    monkeypatch.setattr(pipe.sampler, "sample", lambda num, *args: (asked.append(num), draw(num, *args))[1])
    next(pipe.stream(1_000_000, seed=0))
    assert asked == [1000]


@pytest.mark.parametrize("format", ["folder", "npz", "dataset"])
def test_formats(pipe, tmp_path, monkeypatch, format):
    monkeypatch.setattr(image_output, "_SHARD", 8)
    expected, output = arrays(pipe(20, seed=0)), tmp_path / "out" / ("a.npz" if format == "npz" else "a")
    pipe.write(output, 20, seed=0, format=format, batch_size=7, progress=False)
    if format == "folder":
        names = sorted(output.iterdir())
        assert [path.name for path in names] == [f"{i:06d}.png" for i in range(20)]
        found = arrays([Image.open(path) for path in names])
    elif format == "npz":
        with np.load(output, allow_pickle=False) as file:
            found = file["arr_0"]
        assert found.dtype == np.uint8
    else:
        assert len(list(output.rglob("*.parquet"))) == 3
        found = load_images(output).pixel_values.squeeze(1).numpy()
    np.testing.assert_array_equal(found, expected)
    with pytest.raises(ValueError, match="exists already: choose another output"):
        pipe.write(output, 2, format=format, progress=False)


def test_colour(tmp_path):
    pictures = [Image.fromarray(np.full((4, 5, 3), i, np.uint8)) for i in range(3)]
    write_images(pictures, 3, tmp_path / "a.npz", "npz")
    assert np.load(tmp_path / "a.npz")["arr_0"].shape == (3, 4, 5, 3)
    write_images(pictures, 3, tmp_path / "b", "dataset")
    assert load_images(tmp_path / "b").pixel_values[:, 2, 1, 3].tolist() == [0, 1, 2]
    with pytest.raises(ValueError, match="format must be one of folder, npz, dataset, got 'jpg'"):
        write_images(pictures, 3, tmp_path / "c", "jpg")


# Embeddings, once


class Counted:
    """A model that counts the images it embeds."""

    def __init__(self, model):
        self.model, self.count, embed = model, 0, model.embed

        def counting(pixel_values):
            self.count += len(pixel_values)
            return embed(pixel_values)

        model.embed = counting


def test_embeddings_are_kept_by_weights_and_data(tmp_path):
    model, data = VAE.build(), load_images(images(30))
    counted = Counted(model)
    first = embed_dataset(model, data, progress=False, cache=tmp_path)
    assert counted.count == 30 and torch.equal(first, VAE.build().embed(images(30)))
    assert torch.equal(embed_dataset(model, data, batch_size=7, progress=False, cache=tmp_path), first)
    assert counted.count == 30 and len(list(tmp_path.iterdir())) == 1
    embed_dataset(model, load_images(images(30, seed=1)), progress=False, cache=tmp_path)
    assert counted.count == 60  # other data
    with torch.no_grad():
        model.head.bias[0] += 1
    moved = embed_dataset(model, data, progress=False, cache=tmp_path)
    assert counted.count == 90 and not torch.equal(moved, first)  # other weights
    embed_dataset(model, data, progress=False, cache=False)
    embed_dataset(model, torch.utils.data.Subset(data, range(5)), progress=False, cache=tmp_path)
    assert counted.count == 125 and len(list(tmp_path.iterdir())) == 3  # a Subset has no digest


def test_embeddings_of_images_on_demand_are_kept(tmp_path, monkeypatch):
    from builders import hub_folder

    from gae_hub.data import sources

    monkeypatch.setattr(sources, "MEMORY_SHARE", 0)
    (tmp_path / "data").mkdir()
    lazy = load_images(hub_folder(tmp_path / "data")[0])
    assert isinstance(lazy, DecodedOnDemand)
    model = VAE.build(input_shape=(1, 6, 5))
    counted = Counted(model)
    once, again = (embed_dataset(model, lazy, progress=False, cache=tmp_path / "cache") for _ in range(2))
    assert counted.count == 30 and torch.equal(once, again)


def test_codes_are_embedded_too(tmp_path):
    model = CODES.build(encoder_config="conv", decoder_config="conv").eval()
    found = embed_dataset(model, images(12), batch_size=5, progress=False, what="codes", cache=tmp_path)
    assert found.dtype == torch.long and torch.equal(found, model.encode_codes(images(12)))
    assert torch.equal(embed_dataset(model, images(12), progress=False, what="codes", cache=tmp_path), found)
    assert embed_dataset(model, images(12), progress=False, cache=tmp_path).is_floating_point()


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
    process = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
        + [str(tmp_path / "embed.py"), str(tmp_path / "cache")],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=140,
    )
    assert process.returncode == 0, process.stderr[-3000:]
    assert process.stdout.count(json.dumps("right")) == 2
    assert {len(list(folder.iterdir())) for folder in (tmp_path / "cache").iterdir()} == {1}


def test_parts_of_a_data_set():
    from gae_hub.data.loading import iterate_batches

    whole = images(10)
    for data in (ImageDataset(whole), torch.utils.data.TensorDataset(whole)):
        found = list(iterate_batches(data, 4, start=3, stop=9))
        assert [len(part) for part in found] == [4, 2] and torch.equal(torch.cat(found), whole[3:9])
