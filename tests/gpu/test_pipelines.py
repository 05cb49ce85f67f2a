"""Pipelines on a GPU: the device of the model, and the same results as on the CPU."""

import numpy as np
import pytest
import torch
from cases import VAE, images
from device import DEVICE
from transformers import pipeline

from gae_hub import GAEImageProcessor, GaussianMixtureSampler, GenerationPipeline, ReconstructionPipeline

pytestmark = pytest.mark.gpu
CALLS = {
    "unconditional-image-generation": lambda pipe: pipe(6, seed=0, batch_size=4),
    "image-reconstruction": lambda pipe: pipe(images(3).numpy(), batch_size=2),
    "image-interpolation": lambda pipe: sum(pipe([tuple(images(2).numpy())], num_steps=3), []),
    "latent-traversal": lambda pipe: pipe(images(1)[0].numpy(), dimensions=1)[0],
}


@pytest.mark.parametrize("task", CALLS)
def test_results_equal_the_cpu(task):
    found = []
    for device in ("cpu", DEVICE):
        pipe = pipeline(task, model=VAE.build(), image_processor=GAEImageProcessor((1, 8, 8)), device=device)
        assert pipe.model.device.type == torch.device(device).type
        found.append(np.stack([np.asarray(image) for image in CALLS[task](pipe)]).astype(int))
    assert abs(found[0] - found[1]).max() <= 1  # rounding of pixels


def test_embeddings_equal_the_cpu():
    found = []
    for device in ("cpu", DEVICE):
        extract = pipeline(
            "image-feature-extraction",
            model=VAE.build(),
            image_processor=GAEImageProcessor((1, 8, 8)),
            device=device,
        )
        found.append(torch.cat(extract(images(3).numpy(), return_tensors=True)))
    torch.testing.assert_close(found[1], found[0], rtol=1e-3, atol=1e-4)


def test_samplers_move_with_the_pipeline():
    sampler = GaussianMixtureSampler(num_components=1).fit(torch.randn(20, 3))
    pipe = GenerationPipeline(VAE.build(), sampler).to(DEVICE)
    assert pipe.sampler.device.type == pipe.model.device.type == pipe.device.type == DEVICE.type
    assert len(pipe(3, seed=0)) == 3
    assert ReconstructionPipeline(pipe.model)(images(1)[0]).size == (8, 8)
