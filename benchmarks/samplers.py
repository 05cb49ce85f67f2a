"""Samplers beside those of Pythae 0.1.2, by the same sizes, batches and numbers of steps."""

import tempfile
from collections import deque

import torch

from .comparison import Comparison

TITLE, PEER = "samplers and embedding", "Pythae 0.1.2"


def _quiet():
    import logging

    logging.disable(logging.INFO)  # each of Pythae's modules has a level of its own


def _flow(kind: str, d: int):
    """Pythae's flow, and our sampler of the same networks."""
    from pythae.models.normalizing_flows import IAF, MAF, IAFConfig, MAFConfig

    from gae_hub import IAFSampler, IAFSamplerConfig, MAFSampler, MAFSamplerConfig

    theirs = {"maf": (MAF, MAFConfig), "iaf": (IAF, IAFConfig)}[kind]
    ours = {"maf": (MAFSampler, MAFSamplerConfig), "iaf": (IAFSampler, IAFSamplerConfig)}[kind]
    fields = {"n_made_blocks": 2, "n_hidden_in_made": 3, "hidden_size": 128, "include_batch_norm": False}
    return (
        theirs[0](theirs[1](input_dim=(d,), **fields)),
        ours[0](ours[1](latent_dim=d, latent_shape=[d])).eval(),
    )


def _maf_draws(d: int, num: int, name: str) -> Comparison:
    theirs, ours = _flow("maf", d)
    theirs.eval()

    def their_draws():
        with torch.no_grad():  # which Pythae leaves out: that would cost it more
            for _ in range(num // 500):
                theirs.inverse(torch.randn(500, d))

    return Comparison(name, lambda: ours.sample(num), their_draws, 0.20)


def _fit(kind: str, num: int, d: int, name: str, target: float) -> Comparison:
    """One epoch in batches of 100 by the trainer of each library."""
    from pythae.data.datasets import BaseDataset
    from pythae.models.normalizing_flows import NFModel
    from pythae.trainers import BaseTrainer, BaseTrainerConfig

    from gae_hub import IAFSampler, MAFSampler

    latents = torch.randn(num, d)

    def theirs():
        flow, _ = _flow(kind, d)
        prior = torch.distributions.MultivariateNormal(torch.zeros(d), torch.eye(d))
        with tempfile.TemporaryDirectory() as folder:
            config = BaseTrainerConfig(
                output_dir=folder, num_epochs=1, per_device_train_batch_size=100, learning_rate=1e-3, no_cuda=True
            )
            data = BaseDataset(latents, torch.ones(num))
            BaseTrainer(NFModel(prior, flow), train_dataset=data, training_config=config).train()

    def ours():
        sampler = MAFSampler() if kind == "maf" else IAFSampler()
        sampler.fit(latents, num_train_epochs=1, per_device_train_batch_size=100, progress=False)

    return Comparison(name, ours, theirs, target)


def _pixel_cnn() -> Comparison:
    """500 images at once for both: a part of them would have another ratio."""
    from pythae.models.normalizing_flows import PixelCNN, PixelCNNConfig

    from gae_hub import PixelCNNSampler, PixelCNNSamplerConfig

    k, dim = 512, 16
    theirs = PixelCNN(PixelCNNConfig(input_dim=(1, 7, 7), n_embeddings=k, n_layers=10, kernel_size=5)).eval()
    fields = {"latent_dim": dim * 49, "latent_shape": [dim, 7, 7], "num_embeddings": k, "code_shape": [7, 7]}
    ours = PixelCNNSampler(PixelCNNSamplerConfig(num_hidden_layers=10, **fields)).eval()

    def their_draws():
        codes = torch.zeros(500, 1, 7, 7)
        with torch.no_grad():
            for row in range(7):
                for column in range(7):
                    out = theirs({"data": codes}).out[:, :, :, row, column].squeeze(2)
                    codes[:, 0, row, column] = torch.multinomial(out.softmax(1), 1).squeeze(1).float()

    return Comparison("PixelCNN, 500 draws of 7 x 7 codes", lambda: ours.sample(500), their_draws, 0.10)


def _manifold() -> Comparison:
    from pythae.models import RHVAE, RHVAEConfig
    from pythae.samplers import RHVAESampler, RHVAESamplerConfig

    from gae_hub import RHVAEManifoldSampler, RHVAEManifoldSamplerConfig

    d, n, num = 8, 200, 100
    centroids, factors = torch.randn(n, d), (0.3 * torch.randn(n, d, d)).tril()
    matrices = factors @ factors.mT
    model = RHVAE(RHVAEConfig(input_dim=(1, 8, 8), latent_dim=d, temperature=1.5, regularization=0.01))
    model.M, model.centroids = deque([matrices]), deque([centroids])
    model._update_metric()
    theirs = RHVAESampler(model, RHVAESamplerConfig(mcmc_steps_nbr=100, n_lf=15, eps_lf=0.03))
    config = RHVAEManifoldSamplerConfig(
        latent_dim=d, latent_shape=[d], num_centroids=n, temperature=1.5, metric_regularization=0.01
    )
    ours = RHVAEManifoldSampler(config).eval()
    ours.centroids.copy_(centroids)
    ours.matrices.copy_(matrices)
    ours.step_size.fill_(0.03)
    name = "RHVAE, 100 draws by 100 steps of 15 leapfrogs, d = 8, 200 centroids"
    return Comparison(name, lambda: ours.sample(num), lambda: theirs.hmc_sampling(num), 0.20)


def _embedding() -> Comparison:
    """The benchmark's networks for MNIST, as both libraries have them. Both go batch by batch, so a part of the images
    has the ratio of all."""
    from pythae.data.datasets import BaseDataset, collate_dataset_output
    from pythae.models import VAE, VAEConfig
    from pythae.models.nn.benchmarks.mnist import Decoder_Conv_AE_MNIST, Encoder_Conv_VAE_MNIST

    from gae_hub import VAEConfig as OurConfig
    from gae_hub import VAEModel, embed_dataset, load_images

    images = torch.randint(0, 256, (2_500, 1, 28, 28), dtype=torch.uint8)
    config = VAEConfig(input_dim=(1, 28, 28), latent_dim=16)
    theirs = VAE(config, Encoder_Conv_VAE_MNIST(config), Decoder_Conv_AE_MNIST(config)).eval()
    ours = VAEModel(
        OurConfig(input_shape=(1, 28, 28), latent_dim=16, encoder_config="paper_conv", decoder_config="paper_conv")
    )
    data = load_images(images)

    def their_embeddings():  # as its samplers' fit does
        floats = images.float() / 255
        loader = torch.utils.data.DataLoader(
            BaseDataset(floats, torch.ones(len(floats))), batch_size=100, collate_fn=collate_dataset_output
        )
        with torch.no_grad():
            return torch.cat([theirs(inputs).z for inputs in loader])

    name = "embedding 50,000 images of MNIST's size by the paper's ConvNet, timed on 2,500"
    return Comparison(name, lambda: embed_dataset(ours, data, progress=False, cache=False), their_embeddings, 0.40)


def comparisons():
    _quiet()
    yield _maf_draws(64, 10_000, "MAF, 10,000 draws, d = 64")
    yield _maf_draws(256, 2_000, "MAF, 10,000 draws in batches of 500, d = 256, timed on 2,000")
    yield _fit("iaf", 10_000, 64, "IAF fit, an epoch of 10,000 x 64", 0.20)
    yield _pixel_cnn()
    yield _manifold()
    yield _fit("maf", 50_000, 16, "MAF fit, an epoch of 50,000 x 16", 0.60)
    yield _embedding()
