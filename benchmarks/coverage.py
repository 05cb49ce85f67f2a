"""Coverage of the 95 % intervals of metrics, by simulation: python -m benchmarks.coverage [--only REGEX] [--write].

A row draws data of a known distribution many times, and counts how often the interval contains its estimand:

- `interval`: the value for infinitely many images. It is known for FID, for KID of equal distributions and for one row
  of the mean squared error; elsewhere the estimate is unbiased, and its mean over all draws stands for it.
- `same_count_interval`: the expected value for as many images, which is the mean over all draws.

Draws are stored in a file, 10 at a time, so an interrupted run continues where it stopped.
"""

import argparse
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean

import torch
from torch import Tensor

from gae_hub.metrics import (
    Estimate,
    density_coverage,
    frechet_infinity,
    inception_score,
    interpolation_quality,
    kernel_distance,
    linear_probe,
    precision_recall,
    summarize_log_likelihoods,
)
from gae_hub.metrics.functional.likelihood import latent_usage
from gae_hub.metrics.functional.reconstruction import (
    multiscale_similarity,
    psnr,
    squared_error,
    structural_similarity,
)

from .page import replace_part

PAGE = Path(__file__).with_name("README.md")
NUMS = (500, 2000)
BATCH = 10  # draws between two writes of the file


@dataclass(frozen=True)
class Simulation:
    """A row: estimates of one draw of the data.

    Args:
        name: metric, number of images, dimensions and data, for the table.
        draw: function from a seeded generator to named estimates.
        truths: known estimands, by the number's name.
    """

    name: str
    draw: Callable[[torch.Generator], dict[str, Estimate]]
    truths: dict[str, float] = field(default_factory=dict)


def normal(generator: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(shape, generator=generator, dtype=torch.float64)


# Means over images


def draw_pairs(generator: torch.Generator, num: int, size: int = 8) -> tuple[Tensor, Tensor]:
    """Images, and reconstructions whose errors have a skewed distribution over images."""
    x = torch.rand(num, 1, size, size, generator=generator, dtype=torch.float64)
    scale = torch.rand(num, 1, 1, 1, generator=generator, dtype=torch.float64).log().neg()
    return (x + 0.1 * scale * normal(generator, num, 1, size, size)).clamp(0, 1), x


def simulate_pairs(num: int) -> Iterator[Simulation]:
    for name, compare in {
        "mse": squared_error,
        "psnr": psnr,
        "ssim": structural_similarity,
        "ms_ssim": multiscale_similarity,
    }.items():
        yield Simulation(
            f"{name} | {num} | 64 | exponential noise",
            lambda g, name=name, compare=compare: {name: Estimate.mean(compare(*draw_pairs(g, num)))},
        )
    yield Simulation(
        f"mse | {num} | 64 | independent pixels",
        lambda g: {"mse": Estimate.mean(squared_error(*torch.rand(2, num, 64, generator=g, dtype=torch.float64)))},
        {"mse": 1 / 6},
    )


def simulate_latents(num: int) -> Iterator[Simulation]:
    def draw_log_likelihoods(g: torch.Generator) -> dict[str, Estimate]:
        return summarize_log_likelihoods(-90 - 5 * normal(g, num, 4).square().sum(1), num_dims=784)

    def draw_paths(g: torch.Generator) -> dict[str, Estimate]:
        paths = normal(g, num, 6, 4).cumsum(1)
        return interpolation_quality(paths, paths[:, [0, -1]] + 0.3 * normal(g, num, 2, 4))

    yield Simulation(f"log_likelihood | {num} | 784 | chi-squared", draw_log_likelihoods)
    yield Simulation(
        f"latent_usage | {num} | 8 | chi-squared",
        lambda g: {"kl": latent_usage(normal(g, num, 8), normal(g, num, 8).square())["kl"]},
    )
    yield Simulation(f"interpolation | {num} | 4 | random walks", draw_paths)


# Two sets of features


def draw_features(
    generator: torch.Generator, num: int, dim: int, offset: float, scale: float
) -> tuple[Tensor, Tensor]:
    """N(offset, scale^2) and N(0, 1) in each dimension."""
    return offset + scale * normal(generator, num, dim), normal(generator, num, dim)


def lognormal_moments(sigma: float) -> tuple[float, float]:
    """Mean and standard deviation of exp(sigma z)."""
    power = torch.tensor(sigma, dtype=torch.float64).square().exp().item()
    return power**0.5, (power * (power - 1)) ** 0.5


def simulate_frechet(num: int) -> Iterator[Simulation]:
    for dim, offset, scale in ((8, 0.0, 1.0), (32, 0.0, 1.0), (32, 0.1, 0.9), (64, 0.0, 1.0), (64, 0.1, 0.9)):
        yield Simulation(
            f"fid, extrapolate | {num} | {dim} | normal, moved by {offset}, scaled by {scale}",
            lambda g, d=dim, o=offset, s=scale: {"fid_infinity": frechet_infinity(*draw_features(g, num, d, o, s))},
            {"fid_infinity": dim * (offset**2 + (1 - scale) ** 2)},
        )
    first, second = lognormal_moments(0.6), lognormal_moments(0.5)
    for dim in (32, 64):
        yield Simulation(
            f"fid, extrapolate | {num} | {dim} | log-normal, sigma 0.6 and 0.5",
            lambda g, d=dim: {
                "fid_infinity": frechet_infinity((0.6 * normal(g, num, d)).exp(), (0.5 * normal(g, num, d)).exp())
            },
            {"fid_infinity": dim * sum((a - b) ** 2 for a, b in zip(first, second, strict=True))},
        )


def simulate_kernel(num: int) -> Iterator[Simulation]:
    for dim, offset in ((8, 0.0), (32, 0.0), (64, 0.0), (32, 0.2), (64, 0.2)):
        yield Simulation(
            f"kid | {num} | {dim} | normal, moved by {offset}",
            lambda g, d=dim, o=offset: {"kid": kernel_distance(*draw_features(g, num, d, o, 1.0))},
            {} if offset else {"kid": 0.0},
        )


def simulate_inception_score(num: int) -> Iterator[Simulation]:
    for num_classes, scale in ((10, 5.0), (10, 50.0), (1000, 5.0)):
        yield Simulation(
            f"inception_score | {num} | {num_classes} | normal logits, scaled by {scale}",
            lambda g, k=num_classes, s=scale: {"inception_score": inception_score(s * normal(g, num, k))},
        )


def simulate_neighbors(num: int) -> Iterator[Simulation]:
    for dim, offset, scale in ((2, 0.0, 1.0), (8, 0.5, 0.8), (32, 0.0, 1.0), (32, 0.3, 0.9), (64, 0.1, 0.9)):

        def draw(g: torch.Generator, d: int = dim, o: float = offset, s: float = scale) -> dict[str, Estimate]:
            samples, references = draw_features(g, num, d, o, s)
            return precision_recall(samples, references) | density_coverage(samples, references)

        yield Simulation(f"prdc | {num} | {dim} | normal, moved by {offset}, scaled by {scale}", draw)


# A fixed classifier


def draw_classes(generator: torch.Generator, num: int, num_classes: int = 10) -> tuple[Tensor, Tensor]:
    """Latents of 10 classes, which overlap, and their labels."""
    labels = torch.randint(num_classes, (num,), generator=generator)
    centres = 0.7 * normal(torch.Generator().manual_seed(0), num_classes, 8)
    return centres[labels] + normal(generator, num, 8), labels


def simulate_probe(num: int) -> Iterator[Simulation]:
    """The training set is the same in all draws: the interval is about one classifier."""
    train = draw_classes(torch.Generator().manual_seed(1), 500)
    yield Simulation(
        f"probe | {num} | 8 | classes that overlap, trained on 500",
        lambda g: linear_probe(*train, *draw_classes(g, num)),
    )


SIMULATIONS = (
    simulate_pairs,
    simulate_latents,
    simulate_frechet,
    simulate_kernel,
    simulate_inception_score,
    simulate_neighbors,
    simulate_probe,
)


def simulations() -> list[Simulation]:
    """All rows, smallest numbers of images first."""
    return [row for num in NUMS for simulate in SIMULATIONS for row in simulate(num)]


def extend(draws: list[dict[str, list]], row: Simulation, num_draws: int) -> list[dict[str, list]]:
    """Add draws to those of a row: the name of each number to value, low, high and the name of the interval."""
    for seed in range(len(draws), num_draws):
        found = row.draw(torch.Generator().manual_seed(seed))
        draws.append(
            {
                number: [estimate.value, *estimate.interval, estimate.interval_name]
                for number, estimate in found.items()
                if estimate.interval is not None
            }
        )
    return draws


def count_covered(draws: list[dict[str, list]], truths: dict[str, float]) -> dict[str, tuple[str, float]]:
    """Name of each number to the name of its interval, and the proportion of intervals that contain the estimand."""
    covered = {}
    for number in draws[0]:
        values, lows, highs, kinds = zip(*(draw[number] for draw in draws), strict=True)
        truth = truths.get(number, fmean(values))
        covered[number] = kinds[0], fmean(low <= truth <= high for low, high in zip(lows, highs, strict=True))
    return covered


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="simulate only rows whose name matches this regular expression")
    parser.add_argument("--num_draws", type=int, default=200, help="number of draws of each row")
    parser.add_argument("--file", type=Path, default=Path("coverage.json"), help="where draws are stored")
    parser.add_argument("--write", action="store_true", help="write the table into benchmarks/README.md")
    args = parser.parse_args()
    stored = json.loads(args.file.read_text()) if args.file.is_file() else {}
    lines = [
        "| metric | images | d | data | number | interval | covered | draws |",
        "|---|---|---|---|---|---|---|---|",
    ]
    print(*lines, sep="\n")
    for row in simulations():
        if not re.search(args.only, row.name):
            continue
        draws = stored.setdefault(row.name, [])
        while len(draws) < args.num_draws:
            extend(draws, row, min(args.num_draws, len(draws) + BATCH))
            args.file.write_text(json.dumps(stored))
        for number, (kind, share) in count_covered(draws, row.truths).items():
            lines.append(f"| {row.name} | {number} | {kind} | {share:.3f} | {len(draws)} |")
            print(lines[-1], flush=True)
    if args.write:
        command = "Measured by `python -m benchmarks.coverage`."
        PAGE.write_text(replace_part(PAGE.read_text(), "coverage", command + "\n\n" + "\n".join(lines)))


if __name__ == "__main__":
    main()
