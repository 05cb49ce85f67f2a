"""Training steps with the training argument `keep_freed_memory` and without it, which is the default."""

from collections.abc import Callable, Iterator

from gae_hub.training.cpu_tuning import keep_freed_memory

from .comparison import Comparison, lazily
from .steps import our_step

TITLE, SIDES = "step of 100 images, fp32", ("keep_freed_memory", "default")
NETWORKS = {
    "vae": ("mlp", "conv", "resnet", "paper_resnet", "paper_conv"),
    "iwae": ("mlp", "conv"),
    "miwae": ("mlp",),
}


def step_with_kept_memory(method: str, network: str) -> Callable[[], None]:
    """Return one training step. Freed memory is kept until the process of this side ends."""
    keep_freed_memory()
    return our_step(method, network)


def comparisons() -> Iterator[Comparison]:
    for method, networks in NETWORKS.items():
        for network in networks:
            ours, baseline = (lazily(make, method, network) for make in (step_with_kept_memory, our_step))
            yield Comparison(f"{network}, {method}", ours, baseline)
