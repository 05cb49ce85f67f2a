"""Fit every sampler to known densities of the plane: python scripts/plot_samplers.py [--num_points 3000].

Writes docs/images/samplers.png, and prints the energy distance of each sampler's draws from fresh data, beside that of
other fresh data, which is the floor, and of a plain Gaussian.
"""

import argparse
from pathlib import Path

import matplotlib.figure
import torch
from PIL import Image

from gae_hub import samplers
from gae_hub.cli.tables import print_table
from gae_hub.metrics import energy_distance

PICTURE = Path(__file__).parents[1] / "docs" / "images" / "samplers.png"
BINS = 40  # codes of each coordinate, for the PixelCNN


def two_moons(num, g):
    angle = torch.pi * torch.rand(num, generator=g)
    upper = torch.rand(num, generator=g) < 0.5
    x = torch.where(upper, angle.cos(), 1 - angle.cos())
    y = torch.where(upper, angle.sin(), 0.5 - angle.sin())
    return torch.stack([x - 0.5, y - 0.25], 1) * 1.4 + 0.07 * torch.randn(num, 2, generator=g)


def ring(num, g):
    angle, radius = 2 * torch.pi * torch.rand(num, generator=g), 1.5 + 0.1 * torch.randn(num, generator=g)
    return torch.stack([radius * angle.cos(), radius * angle.sin()], 1)


def five_gaussians(num, g):
    k = torch.randint(0, 5, (num,), generator=g)
    angle = 2 * torch.pi * k / 5
    return 1.5 * torch.stack([angle.cos(), angle.sin()], 1) + 0.2 * torch.randn(num, 2, generator=g)


def disc(num, g):
    angle, radius = 2 * torch.pi * torch.rand(num, generator=g), 1.8 * torch.rand(num, generator=g).sqrt()
    return torch.stack([radius * angle.cos(), radius * angle.sin()], 1)


DENSITIES = {"two moons": two_moons, "ring": ring, "five Gaussians": five_gaussians, "disc": disc}


def manifold(data, **_):
    """The metric of a model whose centroids are embeddings: isotropic, and large near them."""
    config = samplers.RHVAEManifoldSamplerConfig(
        latent_dim=2, latent_shape=[2], num_centroids=200, temperature=0.2, metric_regularization=0.01, reach=1.5,
        num_leapfrog_steps=5,
    )  # fmt: skip
    sampler = samplers.RHVAEManifoldSampler(config).eval()
    sampler.centroids.copy_(data[:200])
    sampler.matrices.copy_(torch.eye(2).expand(200, 2, 2))
    sampler.adapt()
    return sampler


def pixel_cnn(data, **training):
    """A point as two codes, its coordinates' bins."""
    centres = torch.linspace(-2.4, 2.4, BINS)
    codes = (data.unsqueeze(-1) - centres).abs().argmin(-1).unsqueeze(1)
    sampler = samplers.PixelCNNSampler(hidden_size=32, num_hidden_layers=2, kernel_size=3)
    return sampler.fit(codes, centres.unsqueeze(1), **training)


SAMPLERS = {
    "one Gaussian": lambda data, **_: samplers.GaussianMixtureSampler(num_components=1).fit(data),
    "mixture, BIC": lambda data, **_: samplers.GaussianMixtureSampler(num_components=[1, 2, 5, 10, 15]).fit(data),
    "MAF": lambda data, **training: samplers.MAFSampler().fit(data, **training),
    "MAF, 5 blocks": lambda data, **training: samplers.MAFSampler(num_flows=5).fit(data, **training),
    "MAF, batch norm": lambda data, **training: samplers.MAFSampler(batch_norm=True).fit(data, **training),
    "IAF": lambda data, **training: samplers.IAFSampler().fit(data, **training),
    "IAF, 5 blocks": lambda data, **training: samplers.IAFSampler(num_flows=5).fit(data, **training),
    "neural spline": lambda data, **training: samplers.NeuralSplineSampler().fit(data, **training),
    "two-stage VAE": lambda data, **training: samplers.TwoStageVAESampler(hidden_sizes=(128, 128)).fit(
        data, **training
    ),
    "PixelCNN, 2 codes": pixel_cnn,
    "kernel density": lambda data, **_: samplers.KernelDensitySampler().fit(data),
    "empirical": lambda data, **_: samplers.EmpiricalSampler().fit(data),
    "RHVAE manifold": manifold,
    "prior, N(0, I)": lambda data, **_: samplers.PriorSampler().fit(data),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--num_points", type=int, default=3000, help="number of points to fit and to compare")
    parser.add_argument("--num_train_epochs", type=int, default=60, help="passes over the points")
    args = parser.parse_args()
    training = {"num_train_epochs": args.num_train_epochs, "learning_rate": 2e-3, "progress": False}
    draws = {name: {} for name in ("data", *SAMPLERS)}
    distances = {name: [] for name in ("other data (the floor)", *SAMPLERS)}
    for density, make in DENSITIES.items():
        data, fresh, other = (make(args.num_points, torch.Generator().manual_seed(seed)) for seed in range(3))
        draws["data"][density] = data
        distances["other data (the floor)"].append(energy_distance(other, fresh))
        for name, fit in SAMPLERS.items():
            drawn = fit(data, **training).sample(args.num_points, torch.Generator().manual_seed(3)).flatten(1)
            draws[name][density] = drawn
            distances[name].append(energy_distance(drawn, fresh))
            print(f"{density}: {name} {distances[name][-1]:.5f}", flush=True)
    print_table(["energy distance", *DENSITIES], [[n, *(f"{v:.4f}" for v in row)] for n, row in distances.items()])

    figure = matplotlib.figure.Figure((1.25 * len(draws), 1.3 * len(DENSITIES) + 0.3), layout="constrained", dpi=100)
    axes = figure.subplots(len(DENSITIES), len(draws))
    for column, (name, points) in zip(axes.T, draws.items(), strict=True):
        for axis, density in zip(column, DENSITIES, strict=True):
            counts = torch.histogramdd(points[density], [60, 60], range=[-2.7, 2.7, -2.7, 2.7]).hist
            axis.imshow(counts.T.sqrt(), origin="lower", cmap="Blues", vmin=0, vmax=4)
            axis.set_xticks([])
            axis.set_yticks([])
            if column is axes.T[0]:
                axis.set_ylabel(density, fontsize=8)
        column[0].set_title(name, fontsize=8)
    PICTURE.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(PICTURE)
    with Image.open(PICTURE) as picture:  # 32 colours are enough for shades of one, at a third of the size
        small = picture.convert("RGB").quantize(32)
    small.save(PICTURE, optimize=True)


if __name__ == "__main__":
    main()
