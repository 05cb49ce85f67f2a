"""Users may pickle and copy what they hold, and send it to processes. The library itself never reads pickles."""

import multiprocessing
import pickle
from copy import deepcopy

import numpy as np
import pytest
import torch
from cases import MODELS, SAMPLERS, generator, images

from gae_hub import GAEImageProcessor, load_images

COPIES = pytest.mark.parametrize(
    "copy", [lambda x: pickle.loads(pickle.dumps(x)), deepcopy], ids=["pickle", "deepcopy"]
)
QUICK = {"num_train_epochs": 1, "progress": False}
VARIANTS = {  # fields that choose other functions or modules
    "vae_iaf": {"encoder_config": "resnet", "decoder_config": "conv", "likelihood": "laplace"},
    "vae_lin_nf": {"likelihood": "bernoulli"},
    "poincare_vae": {"posterior": "riemannian_normal", "prior": "riemannian_normal"},
    "vae": {"observation_std": "optimal"},
    "vq_vae": {"codebook_update": "gradient"},
}


@COPIES
@pytest.mark.parametrize("case", MODELS, ids=lambda case: case.id)
def test_models(case, copy):
    """A copy has the same loss, and can be trained."""
    model = case.build(**VARIANTS.get(case.id, {})).train()
    model(images(24))
    again = copy(model)
    assert again.config.to_dict() == model.config.to_dict() == copy(model.config).to_dict()
    losses = [network.eval()(images(4), generator=generator()).loss for network in (model, again)]
    assert torch.equal(*losses)
    again.train()(images(4)).loss.backward()


@COPIES
@pytest.mark.parametrize("case", SAMPLERS, ids=lambda case: case.id)
def test_samplers(case, copy):
    sampler, _ = case.fit_to_source(30, **(QUICK if case.training else {}))
    again = copy(sampler)
    assert again.config.to_dict() == copy(sampler.config).to_dict() == sampler.config.to_dict()
    assert torch.equal(again.sample(5, generator()), sampler.sample(5, generator()))


@COPIES
def test_processors_and_datasets(copy):
    model, pixels = MODELS[0].build(), (255 * images(6)).to(torch.uint8)
    processor, dataset = GAEImageProcessor.for_model(model), load_images(pixels.numpy())
    array = np.zeros((8, 8), dtype=np.uint8)
    for found, expected in (
        (copy(processor)(array)["pixel_values"], processor(array)["pixel_values"]),
        (copy(dataset).read([0, 3]), dataset.read([0, 3])),
    ):
        assert torch.equal(torch.as_tensor(found), torch.as_tensor(expected))


@torch.no_grad()
def _loss(model, dataset, sampler, processor, queue):
    pixels = processor(dataset.read([0, 1]).squeeze(1).numpy())["pixel_values"]
    queue.put(
        (float(model(torch.as_tensor(pixels), generator=generator()).loss), sampler.sample(2, generator()).tolist())
    )


@pytest.mark.slow
def test_a_spawned_process_receives_them():
    case = next(case for case in SAMPLERS if case.id == "maf")
    sampler, model = case.fit_to_source(30, **QUICK)
    dataset = load_images((255 * images(6)).to(torch.uint8).numpy())
    arguments = model.eval(), dataset, sampler, GAEImageProcessor.for_model(model)
    context = multiprocessing.get_context("spawn")
    queue, own = context.Queue(), multiprocessing.Queue()
    process = context.Process(target=_loss, args=(*arguments, queue))
    process.start()
    found = queue.get(timeout=100)
    process.join()
    _loss(*arguments, own)
    assert process.exitcode == 0 and found == own.get(timeout=10)
