"""Samplers and metrics compute the same on a GPU as on the CPU."""

import pytest
import torch
from cases import SAMPLERS, generator
from device import DEVICE

from gae_hub.metrics import Moments, energy_distance, frechet_distance, kernel_distance, linear_probe
from gae_hub.metrics.functional.kmeans import kmeans

pytestmark = pytest.mark.gpu


def latents(num=400, dim=3):
    mix = torch.randn(dim, dim, generator=generator(1))
    return torch.randn(num, dim, generator=generator()) @ mix + 1


@pytest.mark.slow
@pytest.mark.parametrize("case", SAMPLERS, ids=lambda case: case.id)
def test_fit_and_sample_on_the_device(case):
    """With a CPU generator, samples equal those drawn after a move to the CPU."""
    if case.fits_latents:
        sampler = case.build().fit(latents().to(DEVICE), **case.brief())
    else:
        sampler, _ = case.fit_to_source(**case.brief())
        sampler = sampler.to(DEVICE)
    assert sampler.device.type == DEVICE.type
    drawn = sampler.sample(50, generator())
    assert drawn.device.type == DEVICE.type and drawn.isfinite().all()
    if case.id != "rhvae_manifold":  # a chain that accepts by comparison may take another turn in the last bit
        torch.testing.assert_close(drawn.cpu(), sampler.to("cpu").sample(50, generator()), rtol=1e-3, atol=1e-3)


def test_distances():
    x, y = latents(600, 16), latents(500, 16) + 0.3
    for distance in (
        lambda a, b: frechet_distance(Moments(a), Moments(b)),
        lambda a, b: kernel_distance(a, b).value,
        energy_distance,
    ):
        expected, found = distance(x, y), distance(x.to(DEVICE), y.to(DEVICE))
        assert float(found) == pytest.approx(float(expected), rel=1e-4)


def test_clusters_and_probe():
    centres = torch.tensor([[-8.0, 0, 0], [8, 0, 0], [0, 8, 8]])
    labels = torch.arange(300) % 3
    points = centres[labels] + latents(300)
    expected, found = kmeans(points, 3, num_fits=4), kmeans(points.to(DEVICE), 3, num_fits=4)
    assert torch.equal(found[0].cpu(), expected[0])
    torch.testing.assert_close(found[1].cpu(), expected[1])
    on_device = (points.to(DEVICE), labels.to(DEVICE))
    accuracy = linear_probe(*on_device, *on_device)["probe_accuracy"]
    assert accuracy.value > 0.95
