"""Time a training step of every method beside a plain VAE's: python -m benchmarks.methods [names].

Forward, backward and a fused Adam step on batches of 100 images of MNIST's shape, in 16 latent dimensions. Each round
times the VAE and then the method, so that both see the same machine; medians over rounds, and medians of the ratios.
"""

import argparse
import inspect
import time
from pathlib import Path
from statistics import median

import torch

from gae_hub import AutoGAE
from gae_hub.training.cpu_tuning import keep_freed_memory

NETWORKS = ("mlp", "resnet")
SHAPE, LATENT_DIM, BATCH = (1, 28, 28), 16, 100


def stepper(name: str, network: str):
    """A function that makes one training step and returns its seconds."""
    torch.manual_seed(0)
    cls = AutoGAE.model_class(name)
    fields = {"input_shape": SHAPE, "latent_dim": LATENT_DIM, "encoder_config": network, "decoder_config": network}
    model = cls(cls.config_class(**fields)).train().to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
    images = torch.rand(BATCH, *SHAPE)

    def step() -> float:
        start = time.perf_counter()
        model(images).loss.backward()
        model.before_optimizer_step()
        optimizer.step()
        optimizer.zero_grad()
        return time.perf_counter() - start

    step()  # codebooks and optimizer states are made in the first
    step()
    return step


def measure(name: str, network: str, rounds: int, seconds: float) -> tuple[float, float]:
    """Median milliseconds per step, and the median ratio to the VAE's."""
    vae, method = stepper("vae", network), stepper(name, network)
    steps = [max(1, int(seconds / step())) for step in (vae, method)]
    times, ratios = [], []
    for _ in range(rounds):
        plain = median(vae() for _ in range(steps[0]))
        times.append(median(method() for _ in range(steps[1])))
        ratios.append(times[-1] / plain)
    return 1000 * median(times), median(ratios)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="methods; all of them by default")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.2, help="for each method, network and round")
    args = parser.parse_args()
    keep_freed_memory()
    print("| method | lines | " + " | ".join(f"{network}, ms | / VAE" for network in NETWORKS) + " |")
    print("|---|---" + "|---|---" * len(NETWORKS) + "|")
    for name in args.names or AutoGAE.names():
        lines = len(Path(inspect.getfile(AutoGAE.model_class(name))).read_text(encoding="utf-8").splitlines())
        found = [measure(name, network, args.rounds, args.seconds) for network in NETWORKS]
        print(
            f"| `{name}` | {lines} | " + " | ".join(f"{ms:.1f} | {ratio:.2f}" for ms, ratio in found) + " |",
            flush=True,
        )


if __name__ == "__main__":
    main()
