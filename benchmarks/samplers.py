"""Samplers and embedding against Pythae 0.1.2, with the same sizes, batches and numbers of steps."""

from collections import deque
from collections.abc import Iterator
from tempfile import TemporaryDirectory
from typing import Any, Literal

import torch
from pythae.data.datasets import BaseDataset, collate_dataset_output
from pythae.models import RHVAE, RHVAEConfig
from pythae.models.normalizing_flows import IAF, MAF, IAFConfig, MAFConfig, NFModel, PixelCNN, PixelCNNConfig
from pythae.samplers import RHVAESampler, RHVAESamplerConfig
from pythae.trainers import BaseTrainer, BaseTrainerConfig

from gae_hub import (
    IAFSampler,
    IAFSamplerConfig,
    MAFSampler,
    MAFSamplerConfig,
    PixelCNNSampler,
    PixelCNNSamplerConfig,
    RHVAEManifoldSampler,
    RHVAEManifoldSamplerConfig,
    embed_dataset,
    load_images,
)

from .comparison import Comparison
from .models import INPUT_SHAPE, our_model, pythae_model

TITLE, SIDES = "samplers and embedding", ("gae_hub", "Pythae 0.1.2")

Kind = Literal["maf", "iaf"]
PYTHAE_FLOWS = {"maf": (MAF, MAFConfig), "iaf": (IAF, IAFConfig)}
OUR_SAMPLERS = {"maf": (MAFSampler, MAFSamplerConfig), "iaf": (IAFSampler, IAFSamplerConfig)}


def pythae_flow(kind: Kind, dim: int) -> torch.nn.Module:
    """Build Pythae's flow with the sizes that our samplers have by default."""
    model, config = PYTHAE_FLOWS[kind]
    return model(
        config(input_dim=(dim,), n_made_blocks=2, n_hidden_in_made=3, hidden_size=128, include_batch_norm=False)
    )


def our_sampler(kind: Kind, dim: int) -> Any:
    """Build our sampler without fitting it."""
    sampler, config = OUR_SAMPLERS[kind]
    return sampler(config(latent_dim=dim, latent_shape=[dim])).eval()


def compare_maf_draws(dim: int, num_draws: int, name: str) -> Comparison:
    """Draws in batches of 500. Pythae keeps gradients while it draws; here it runs without them, which is faster."""
    ours, baseline = our_sampler("maf", dim), pythae_flow("maf", dim).eval()

    @torch.no_grad()
    def baseline_draws():
        for _ in range(num_draws // 500):
            baseline.inverse(torch.randn(500, dim))

    return Comparison(name, lambda: ours.sample(num_draws), baseline_draws, 0.20)


def compare_fits(kind: Kind, num_latents: int, dim: int, name: str, target: float) -> Comparison:
    """One epoch in batches of 100, each library with its own trainer."""
    latents = torch.randn(num_latents, dim)

    def fit_baseline():
        prior = torch.distributions.MultivariateNormal(torch.zeros(dim), torch.eye(dim))
        with TemporaryDirectory() as folder:
            config = BaseTrainerConfig(
                output_dir=folder, num_epochs=1, per_device_train_batch_size=100, learning_rate=1e-3, no_cuda=True
            )
            data = BaseDataset(latents, torch.ones(num_latents))
            BaseTrainer(NFModel(prior, pythae_flow(kind, dim)), train_dataset=data, training_config=config).train()

    def fit_ours():
        sampler = OUR_SAMPLERS[kind][0]()
        sampler.fit(latents, num_train_epochs=1, per_device_train_batch_size=100, progress=False)

    return Comparison(name, fit_ours, fit_baseline, target)


def compare_pixel_cnn() -> Comparison:
    """500 draws at once on both sides. The ratio depends on the number of draws, so it is not timed on fewer."""
    num_embeddings, dim = 512, 16
    baseline = PixelCNN(
        PixelCNNConfig(input_dim=(1, 7, 7), n_embeddings=num_embeddings, n_layers=10, kernel_size=5)
    ).eval()
    ours = PixelCNNSampler(
        PixelCNNSamplerConfig(
            latent_dim=dim * 49,
            latent_shape=[dim, 7, 7],
            num_embeddings=num_embeddings,
            code_shape=[7, 7],
            num_hidden_layers=10,
        )
    ).eval()

    @torch.no_grad()
    def baseline_draws():
        codes = torch.zeros(500, 1, 7, 7)
        for row in range(7):
            for column in range(7):
                out = baseline({"data": codes}).out[:, :, :, row, column].squeeze(2)
                codes[:, 0, row, column] = torch.multinomial(out.softmax(1), 1).squeeze(1).float()

    return Comparison("PixelCNN, 500 draws of 7 x 7 codes", lambda: ours.sample(500), baseline_draws, 0.10)


def compare_rhvae_manifold() -> Comparison:
    """Hamiltonian Monte Carlo in a random metric, the same on both sides."""
    torch.manual_seed(0)
    dim, num_centroids, num_draws = 8, 200, 100
    centroids, factors = torch.randn(num_centroids, dim), (0.3 * torch.randn(num_centroids, dim, dim)).tril()
    matrices = factors @ factors.mT
    model = RHVAE(RHVAEConfig(input_dim=(1, 8, 8), latent_dim=dim, temperature=1.5, regularization=0.01))
    model.M, model.centroids = deque([matrices]), deque([centroids])
    model._update_metric()
    baseline = RHVAESampler(model, RHVAESamplerConfig(mcmc_steps_nbr=100, n_lf=15, eps_lf=0.03))
    config = RHVAEManifoldSamplerConfig(
        latent_dim=dim, latent_shape=[dim], num_centroids=num_centroids, temperature=1.5, metric_regularization=0.01
    )
    ours = RHVAEManifoldSampler(config).eval()
    ours.centroids.copy_(centroids)
    ours.matrices.copy_(matrices)
    ours.step_size.fill_(0.03)
    return Comparison(
        "RHVAE, 100 draws by 100 steps of 15 leapfrogs, d = 8, 200 centroids",
        lambda: ours.sample(num_draws),
        lambda: baseline.hmc_sampling(num_draws),
        0.20,
    )


def compare_embedding() -> Comparison:
    """Embedding with the paper's ConvNet. Both sides go batch by batch, so a part of the images has the same ratio."""
    images = torch.randint(0, 256, (2_500, *INPUT_SHAPE), dtype=torch.uint8)
    ours, baseline = our_model("vae", "paper_conv"), pythae_model("vae", "paper_conv").eval()
    data = load_images(images)

    @torch.no_grad()
    def baseline_embeddings() -> torch.Tensor:  # as in the fit of Pythae's samplers
        floats = images.float() / 255
        loader = torch.utils.data.DataLoader(
            BaseDataset(floats, torch.ones(len(floats))), batch_size=100, collate_fn=collate_dataset_output
        )
        return torch.cat([baseline(inputs).z for inputs in loader])

    return Comparison(
        "embedding 50,000 images of MNIST's size by the paper's ConvNet, timed on 2,500",
        lambda: embed_dataset(ours, data, progress=False, cache=False),
        baseline_embeddings,
        0.40,
    )


def comparisons() -> Iterator[Comparison]:
    yield compare_maf_draws(64, 10_000, "MAF, 10,000 draws, d = 64")
    yield compare_maf_draws(256, 2_000, "MAF, 10,000 draws in batches of 500, d = 256, timed on 2,000")
    yield compare_fits("iaf", 10_000, 64, "IAF fit, an epoch of 10,000 x 64", 0.20)
    yield compare_pixel_cnn()
    yield compare_rhvae_manifold()
    yield compare_fits("maf", 50_000, 16, "MAF fit, an epoch of 50,000 x 16", 0.60)
    yield compare_embedding()
