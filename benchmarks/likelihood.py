"""`log_likelihood` of a VAE in 16 latent dimensions with 200 draws for each image, against Pythae's `get_nll`."""

from collections.abc import Callable, Iterator

import torch

from .comparison import Comparison, lazily
from .models import INPUT_SHAPE, our_model, pythae_model

TITLE, SIDES = "log_likelihood, 200 draws", ("gae_hub", "Pythae's get_nll")
NUM_DRAWS = 200
# Pythae loops over images, so that its time per image does not depend on their number: few suffice for large networks.
NUM_IMAGES = {"mlp": 1000, "paper_resnet": 50, "paper_conv": 50}


def our_likelihood(network: str, images: torch.Tensor) -> Callable[[], torch.Tensor]:
    model = our_model("vae", network).eval()
    return lambda: model.log_likelihood(images, NUM_DRAWS)


def pythae_likelihood(network: str, images: torch.Tensor) -> Callable[[], float]:
    model = pythae_model("vae", network).eval()
    model.device = "cpu"

    @torch.no_grad()
    def get_nll() -> float:
        return model.get_nll(images, n_samples=NUM_DRAWS, batch_size=100)

    return get_nll


def comparisons() -> Iterator[Comparison]:
    torch.manual_seed(0)
    for network, count in NUM_IMAGES.items():
        images = torch.rand(count, *INPUT_SHAPE)
        ours, baseline = (lazily(make, network, images) for make in (our_likelihood, pythae_likelihood))
        yield Comparison(f"{network}, {count:,} images", ours, baseline, 0.15)
