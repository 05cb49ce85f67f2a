"""Time a training step of every method against a plain VAE's: python -m benchmarks.methods [methods].

A step is forward, backward and fused Adam on a batch of 100 images of MNIST's shape, with 16 latent dimensions and the
defaults of each method. Each round times the VAE first and then the method, so that both meet the same machine. The
table holds the lines of the method's file, and for each network the median time and the median ratio to the VAE.
"""

import argparse
import inspect
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import torch

from gae_hub import AutoGAE

from .comparison import timed
from .training_step import training_step

NETWORKS = ("mlp", "resnet")
INPUT_SHAPE, LATENT_DIM, BATCH_SIZE = (1, 28, 28), 16, 100


def make_step(method: str, network: str) -> Callable[[], None]:
    """Return a function that makes one training step of a method."""
    torch.manual_seed(0)
    config_class = AutoGAE.config_class(method)
    # LPIPS needs published weights, and its cost is that of its own network
    fields: dict[str, Any] = {"perceptual_weight": 0.0} if hasattr(config_class(), "perceptual_weight") else {}
    config = config_class(
        input_shape=INPUT_SHAPE, latent_dim=LATENT_DIM, encoder_config=network, decoder_config=network, **fields
    )
    step = training_step(AutoGAE.from_config(config), torch.rand(BATCH_SIZE, *INPUT_SHAPE))
    step()  # the first step creates optimizer states and codebooks
    step()
    return step


def measure(method: str, network: str, num_rounds: int, seconds: float) -> tuple[float, float]:
    """Return the median milliseconds per step and the median ratio to the VAE's step."""
    vae_step, method_step = make_step("vae", network), make_step(method, network)
    vae_calls, method_calls = (max(1, int(seconds / timed(step))) for step in (vae_step, method_step))
    times, ratios = [], []
    for _ in range(num_rounds):
        vae = median(timed(vae_step) for _ in range(vae_calls))
        times.append(median(timed(method_step) for _ in range(method_calls)))
        ratios.append(times[-1] / vae)
    return 1000 * median(times), median(ratios)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("methods", nargs="*", help="names of methods, all by default")
    parser.add_argument("--rounds", type=int, default=5, help="number of rounds")
    parser.add_argument("--seconds", type=float, default=0.2, help="time per method, network and round")
    args = parser.parse_args()
    print("| method | lines | " + " | ".join(f"{network}, ms | / VAE" for network in NETWORKS) + " |")
    print("|---|---" + "|---|---" * len(NETWORKS) + "|")
    for method in args.methods or AutoGAE.names():
        lines = len(Path(inspect.getfile(AutoGAE.model_class(method))).read_text(encoding="utf-8").splitlines())
        results = [measure(method, network, args.rounds, args.seconds) for network in NETWORKS]
        cells = " | ".join(f"{milliseconds:.1f} | {ratio:.2f}" for milliseconds, ratio in results)
        print(f"| `{method}` | {lines} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
