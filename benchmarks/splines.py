"""Neural splines against zuko's neural spline flow, on known densities in eight dimensions.

Both sides have the same networks, batches, numbers of steps, learning rates and standardization. A row is the mean
negative log density of fresh data over the seeds, in nats; each seed has its own data and initial weights. The last
column is that of the true density.

Run `python -m benchmarks.splines`; `--seeds`, `--epochs` and `--densities` set the effort.
"""

from argparse import ArgumentParser
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import log, pi, tau
from statistics import mean, stdev

import torch
import zuko
from torch import Tensor

from gae_hub import NeuralSplineSampler

DIM, NUM_TRAIN, NUM_TEST, BATCH_SIZE, LEARNING_RATE = 8, 5_000, 10_000, 250, 1e-3


@dataclass(frozen=True)
class Density:
    """A density in eight dimensions: `draw(num, generator)` returns points, `log_prob(points)` nats."""

    draw: Callable[[int, torch.Generator], Tensor]
    log_prob: Callable[[Tensor], Tensor]


def constants(*shape: int, seed: int) -> Tensor:
    """Standard normal numbers that define a density."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def build_mixture(num_components: int = 10) -> Density:
    """Ten Gaussians with full covariances."""
    means, scales = (
        3 * constants(num_components, DIM, seed=0),
        0.6 * constants(num_components, DIM, DIM, seed=1).tril(),
    )
    scales.diagonal(dim1=-2, dim2=-1).abs_().add_(0.1)
    components = torch.distributions.MultivariateNormal(means, scale_tril=scales)

    def draw(num: int, generator: torch.Generator) -> Tensor:
        chosen = torch.randint(num_components, (num,), generator=generator)
        noise = torch.randn(num, DIM, 1, generator=generator, dtype=torch.float64)
        return means[chosen] + (scales[chosen] @ noise).squeeze(-1)

    def log_prob(points: Tensor) -> Tensor:
        return components.log_prob(points.unsqueeze(1)).logsumexp(1) - log(num_components)

    return Density(draw, log_prob)


def build_student(freedom: int = 3) -> Density:
    """Student's t with three degrees of freedom and a full scale matrix: heavy, correlated tails."""
    scale = constants(DIM, DIM, seed=2)

    def draw(num: int, generator: torch.Generator) -> Tensor:
        squares = torch.randn(num, freedom, generator=generator, dtype=torch.float64).square()
        noise = torch.randn(num, DIM, generator=generator, dtype=torch.float64)
        return noise / squares.mean(1, keepdim=True).sqrt() @ scale.T

    def log_prob(points: Tensor) -> Tensor:
        squares = torch.linalg.solve(scale, points.T).square().sum(0)
        ends = torch.tensor([(freedom + DIM) / 2, freedom / 2], dtype=torch.float64).lgamma()
        constant = ends[0] - ends[1] - DIM / 2 * log(freedom * pi) - torch.linalg.slogdet(scale).logabsdet
        return constant - (freedom + DIM) / 2 * (squares / freedom).log1p()

    return Density(draw, log_prob)


def build_rings(std: float = 0.1) -> Density:
    """Two rings, of radius 1 and 2, in each of four planes, rotated together."""
    rotation = torch.linalg.qr(constants(DIM, DIM, seed=3)).Q

    def draw(num: int, generator: torch.Generator) -> Tensor:
        angle = tau * torch.rand(num, DIM // 2, generator=generator, dtype=torch.float64)
        radius = 1.0 + (torch.rand(num, DIM // 2, generator=generator) < 0.5)
        points = torch.stack([radius * angle.cos(), radius * angle.sin()], -1).flatten(1)
        return (points + std * torch.randn(num, DIM, generator=generator, dtype=torch.float64)) @ rotation.T

    def log_prob(points: Tensor) -> Tensor:
        distances = torch.linalg.vector_norm((points @ rotation).unflatten(1, (-1, 2)), dim=-1).unsqueeze(-1)
        radii = torch.tensor([1.0, 2.0], dtype=torch.float64)
        rings = -((distances - radii) / std).square() / 2 + torch.special.i0e(distances * radii / std**2).log()
        return (rings.logsumexp(-1) - log(2 * tau * std**2)).sum(1)

    return Density(draw, log_prob)


DENSITIES = {"mixture": build_mixture, "student": build_student, "rings": build_rings}


def fit_ours(latents: Tensor, epochs: int, seed: int) -> Callable[[Tensor], Tensor]:
    sampler = NeuralSplineSampler(seed=seed).fit(
        latents,
        num_train_epochs=epochs,
        per_device_train_batch_size=BATCH_SIZE,
        learning_rate=LEARNING_RATE,
        progress=False,
    )
    return sampler.log_prob


def fit_zuko(latents: Tensor, epochs: int, seed: int) -> Callable[[Tensor], Tensor]:
    """zuko's flow with the sizes of our defaults, trained by Adam with a cosine schedule, as ours is."""
    torch.manual_seed(seed)
    config = NeuralSplineSampler().config
    hidden = (config.hidden_size,) * config.num_hidden_layers
    flow = zuko.flows.NSF(DIM, bins=config.num_bins, transforms=config.num_flows, hidden_features=hidden)
    center, scale = latents.mean(0), latents.std(0)
    optimizer = torch.optim.Adam(flow.parameters(), LEARNING_RATE)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * len(latents) // BATCH_SIZE)
    for _ in range(epochs):
        for batch in ((latents - center) / scale)[torch.randperm(len(latents))].split(BATCH_SIZE):
            optimizer.zero_grad()
            (-flow().log_prob(batch).mean()).backward()
            optimizer.step()
            scheduler.step()
    return lambda points: flow().log_prob((points - center) / scale) - scale.log().sum()


def measure(name: str, seeds: Sequence[int], epochs: int) -> str:
    """A row of the table."""
    density = DENSITIES[name]()
    losses: dict[Callable, list[float]] = {fit_ours: [], fit_zuko: []}
    truth = []
    for seed in seeds:
        points = density.draw(NUM_TRAIN + NUM_TEST, torch.Generator().manual_seed(seed))
        truth.append(-density.log_prob(points[NUM_TRAIN:]).mean().item())
        train, test = points.float().split([NUM_TRAIN, NUM_TEST])
        for fit, found in losses.items():
            log_prob = fit(train, epochs, seed)
            with torch.no_grad():
                found.append(-log_prob(test).mean().item())
    ours, theirs = losses.values()
    gains = [b - a for a, b in zip(ours, theirs, strict=True)]
    cells = [f"{mean(values):.3f} ± {stdev(values) if len(values) > 1 else 0:.3f}" for values in (ours, theirs, gains)]
    return f"| {' | '.join([name, *cells, f'{mean(truth):.3f}'])} |"


def main():
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4], help="seeds of data and weights")
    parser.add_argument("--epochs", type=int, default=30, help="epochs of 20 steps")
    parser.add_argument("--densities", nargs="+", choices=DENSITIES, default=[*DENSITIES], help="rows to measure")
    args = parser.parse_args()
    print(f"| density, {args.epochs * NUM_TRAIN // BATCH_SIZE:,} steps | gae_hub | zuko | gain | truth |")
    print("|---|---|---|---|---|", flush=True)
    for name in args.densities:
        print(measure(name, args.seeds, args.epochs), flush=True)


if __name__ == "__main__":
    main()
