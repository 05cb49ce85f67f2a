"""log_likelihood of 1,000 images with 200 draws each, of a VAE in 16 latent dimensions, and Pythae's `get_nll`."""

import torch

from .comparison import Comparison
from .steps import SHAPE, our_model, peer_model

TITLE, PEER = "log_likelihood, 200 draws", "Pythae's get_nll"
IMAGES, DRAWS, FEW = 1000, 200, 50


def comparisons():
    """Pythae's loop over images costs as much for each of them, so of the larger networks it gets few images."""
    torch.manual_seed(0)
    images = torch.rand(IMAGES, *SHAPE)
    for network, count in (("mlp", IMAGES), ("paper_resnet", FEW), ("paper_conv", FEW)):
        ours, theirs = our_model("vae", network).eval(), peer_model("vae", network).eval()
        theirs.device = "cpu"

        def peer(model=theirs, batch=images[:count]):
            with torch.no_grad():
                return model.get_nll(batch, n_samples=DRAWS, batch_size=100)

        yield Comparison(
            f"{network}, {count:,} images", lambda m=ours, x=images[:count]: m.log_likelihood(x, DRAWS), peer, 0.15
        )
