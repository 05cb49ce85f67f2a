"""Fit every sampler to known densities of the plane: python scripts/plot_samplers.py [--num_points 3000].

Writes docs/images/samplers.png, and prints the energy distance between each sampler's samples and fresh data. The
distance between two sets of data is the floor.
"""

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path

import matplotlib.figure
import torch
from PIL import Image
from torch import Tensor

from gae_hub import (
    EmpiricalSampler,
    FlowMatchingSampler,
    GAESampler,
    GaussianMixtureSampler,
    IAFSampler,
    KernelDensitySampler,
    MAFSampler,
    NeuralSplineSampler,
    PixelCNNSampler,
    PriorSampler,
    RHVAEManifoldSampler,
    RHVAEManifoldSamplerConfig,
    TwoStageVAESampler,
)
from gae_hub.cli.tables import print_table
from gae_hub.metrics import energy_distance

PICTURE = Path(__file__).parents[1] / "docs" / "images" / "samplers.png"
NUM_BINS = 40  # codes per coordinate, for the PixelCNN


# Densities


def two_moons(num: int, g: torch.Generator) -> Tensor:
    angle = torch.pi * torch.rand(num, generator=g)
    is_upper = torch.rand(num, generator=g) < 0.5
    x = torch.where(is_upper, angle.cos(), 1 - angle.cos())
    y = torch.where(is_upper, angle.sin(), 0.5 - angle.sin())
    return torch.stack([x - 0.5, y - 0.25], 1) * 1.4 + 0.07 * torch.randn(num, 2, generator=g)


def ring(num: int, g: torch.Generator) -> Tensor:
    angle, radius = 2 * torch.pi * torch.rand(num, generator=g), 1.5 + 0.1 * torch.randn(num, generator=g)
    return torch.stack([radius * angle.cos(), radius * angle.sin()], 1)


def five_gaussians(num: int, g: torch.Generator) -> Tensor:
    k = torch.randint(0, 5, (num,), generator=g)
    angle = 2 * torch.pi * k / 5
    return 1.5 * torch.stack([angle.cos(), angle.sin()], 1) + 0.2 * torch.randn(num, 2, generator=g)


def disc(num: int, g: torch.Generator) -> Tensor:
    angle, radius = 2 * torch.pi * torch.rand(num, generator=g), 1.8 * torch.rand(num, generator=g).sqrt()
    return torch.stack([radius * angle.cos(), radius * angle.sin()], 1)


DENSITIES = {"two moons": two_moons, "ring": ring, "five Gaussians": five_gaussians, "disc": disc}


# Samplers: functions of the data and of the settings for samplers that are trained

Fit = Callable[[Tensor, dict], GAESampler]


def estimated(build: Callable[[], GAESampler]) -> Fit:
    """Return the `Fit` of a sampler that is not trained."""
    return lambda data, training: build().fit(data)


def trained(build: Callable[[], GAESampler], **own: int) -> Fit:
    """Return the `Fit` of a sampler that is trained, with training arguments of its own."""
    return lambda data, training: build().fit(data, **training, **own)


def fit_manifold(data: Tensor, training: dict) -> RHVAEManifoldSampler:
    """The manifold of a metric whose centroids are 200 of the points, each with the identity as its matrix."""
    config = RHVAEManifoldSamplerConfig(
        latent_dim=2,
        latent_shape=[2],
        num_centroids=200,
        temperature=0.2,
        metric_regularization=0.01,
        reach=1.5,
        num_leapfrog_steps=5,
    )
    sampler = RHVAEManifoldSampler(config).eval()
    sampler.centroids.copy_(data[:200])
    sampler.matrices.copy_(torch.eye(2).expand(200, 2, 2))
    sampler.adapt_step_size()
    return sampler


def fit_pixel_cnn(data: Tensor, training: dict) -> PixelCNNSampler:
    """A PixelCNN that sees a point as two codes, the bins of its coordinates."""
    centres = torch.linspace(-2.4, 2.4, NUM_BINS)
    codes = (data.unsqueeze(-1) - centres).abs().argmin(-1).unsqueeze(1)
    sampler = PixelCNNSampler(hidden_size=32, num_hidden_layers=2, kernel_size=3)
    return sampler.fit(codes, centres.unsqueeze(1), **training)


SAMPLERS: dict[str, Fit] = {
    "one Gaussian": estimated(partial(GaussianMixtureSampler, num_components=1)),
    "mixture, BIC": estimated(partial(GaussianMixtureSampler, num_components=[1, 2, 5, 10, 15])),
    "MAF": trained(MAFSampler),
    "MAF, 5 blocks": trained(partial(MAFSampler, num_flows=5)),
    "MAF, batch norm": trained(partial(MAFSampler, batch_norm=True)),
    "IAF": trained(IAFSampler),
    "IAF, 5 blocks": trained(partial(IAFSampler, num_flows=5)),
    "neural spline": trained(NeuralSplineSampler),
    "flow matching": trained(FlowMatchingSampler, per_device_train_batch_size=100),  # as for the others
    "two-stage VAE": trained(partial(TwoStageVAESampler, hidden_sizes=(128, 128))),
    "PixelCNN, 2 codes": fit_pixel_cnn,
    "kernel density": estimated(KernelDensitySampler),
    "empirical": estimated(EmpiricalSampler),
    "RHVAE manifold": fit_manifold,
    "prior, N(0, I)": estimated(PriorSampler),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--num_points", type=int, default=3000, help="number of points to fit and to compare")
    parser.add_argument("--num_train_epochs", type=int, default=60, help="epochs of the samplers that are trained")
    args = parser.parse_args()
    training = {"num_train_epochs": args.num_train_epochs, "learning_rate": 2e-3, "progress": False}
    draws = {name: {} for name in ("data", *SAMPLERS)}
    distances = {name: [] for name in ("other data (the floor)", *SAMPLERS)}
    for density, make in DENSITIES.items():
        data, fresh, other = (make(args.num_points, torch.Generator().manual_seed(seed)) for seed in range(3))
        draws["data"][density] = data
        distances["other data (the floor)"].append(energy_distance(other, fresh))
        for name, fit in SAMPLERS.items():
            drawn = fit(data, training).sample(args.num_points, torch.Generator().manual_seed(3)).flatten(1)
            draws[name][density] = drawn
            distances[name].append(energy_distance(drawn, fresh))
            print(f"{density}: {name} {distances[name][-1]:.5f}", flush=True)
    print_table(["energy distance", *DENSITIES], [[n, *(f"{v:.4f}" for v in row)] for n, row in distances.items()])
    plot(draws)


def plot(draws: dict[str, dict[str, Tensor]]):
    """Write the picture: histograms of the samples, one column per sampler and one row per density."""
    figure = matplotlib.figure.Figure((1.25 * len(draws), 1.3 * len(DENSITIES) + 0.3), layout="constrained", dpi=100)
    axes = figure.subplots(len(DENSITIES), len(draws))
    for column, (name, points) in zip(axes.T, draws.items(), strict=True):
        for axis, density in zip(column, DENSITIES, strict=True):
            counts = torch.histogramdd(points[density], [60, 60], range=[-2.7, 2.7, -2.7, 2.7]).hist
            axis.imshow(counts.T.sqrt(), origin="lower", cmap="Blues", vmin=0, vmax=4)
            axis.set_xticks([])
            axis.set_yticks([])
        column[0].set_title(name, fontsize=8)
    for axis, density in zip(axes[:, 0], DENSITIES, strict=True):
        axis.set_ylabel(density, fontsize=8)
    PICTURE.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(PICTURE)
    with Image.open(PICTURE) as picture:  # 32 shades of one colour are enough, at a third of the size
        small = picture.convert("RGB").quantize(32)
    small.save(PICTURE, optimize=True)


if __name__ == "__main__":
    main()
