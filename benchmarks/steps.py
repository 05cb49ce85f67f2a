"""Training steps: forward, backward and optimizer step on 100 images of MNIST's shape, in 16 latent dimensions.

Networks, precision, batch and threads are the same on both sides, and so are counts such as draws, flows and widths;
everything else is what each library does by default. Pythae's steps are those of its own trainers, with their several
optimizers, and ours what `GAETrainer` does with its default arguments. Pythae's precision is always fp32.
"""

from collections.abc import Callable
from tempfile import TemporaryDirectory

import pythae.models as peers
import torch
from pythae import trainers
from pythae.data.datasets import BaseDataset
from pythae.models.base.base_utils import ModelOutput
from pythae.models.nn import BaseDiscriminator
from pythae.models.nn.benchmarks import mnist
from torch import nn

from gae_hub import AutoGAE
from gae_hub.training.cpu_tuning import keep_freed_memory

from .comparison import Comparison

TITLE, PEER = "step of 100 images", "Pythae, fp32"
SHAPE, LATENT_DIM, BATCH = (1, 28, 28), 16, 100
TARGETS = {  # by network, for fp32 and bf16 autocast
    "mlp": (0.75, None),
    "paper_resnet": (0.90, 0.45),
    "paper_conv": (0.85, 0.40),
}
SLOW_PEERS = {"msssim_vae", "rhvae", "factor_vae", "miwae"}  # to be at 0.40 with an MLP

# name: (Pythae's class, its config's class, fields of its config, fields of ours)
METHODS = {
    "ae": (peers.AE, peers.AEConfig, {}, {}),
    "vae": (peers.VAE, peers.VAEConfig, {}, {}),
    "beta_vae": (peers.BetaVAE, peers.BetaVAEConfig, {}, {}),
    "disentangled_beta_vae": (peers.DisentangledBetaVAE, peers.DisentangledBetaVAEConfig, {}, {}),
    "beta_tc_vae": (peers.BetaTCVAE, peers.BetaTCVAEConfig, {}, {"dataset_size": 50_000}),
    "factor_vae": (peers.FactorVAE, peers.FactorVAEConfig, {}, {"discriminator_hidden_sizes": (1000,) * 5}),
    "info_vae": (peers.INFOVAE_MMD, peers.INFOVAE_MMD_Config, {"kernel_choice": "imq"}, {}),
    "wae_mmd": (peers.WAE_MMD, peers.WAE_MMD_Config, {"kernel_choice": "imq"}, {}),
    "aae": (peers.Adversarial_AE, peers.Adversarial_AE_Config, {}, {}),
    "vae_gan": (peers.VAEGAN, peers.VAEGANConfig, {"reconstruction_layer": 2}, {}),
    "rae_l2": (peers.RAE_L2, peers.RAE_L2_Config, {}, {}),
    "rae_gp": (peers.RAE_GP, peers.RAE_GP_Config, {}, {}),
    "vq_vae": (peers.VQVAE, peers.VQVAEConfig, {"num_embeddings": 512}, {"codebook_update": "gradient"}),
    "msssim_vae": (peers.MSSSIM_VAE, peers.MSSSIM_VAEConfig, {}, {}),
    "iwae": (peers.IWAE, peers.IWAEConfig, {"number_samples": 10}, {"num_samples": 10}),
    "miwae": (
        *(peers.MIWAE, peers.MIWAEConfig, {"number_gradient_estimates": 5, "number_samples": 10}),
        {"num_estimates": 5, "num_samples": 10},
    ),
    "piwae": (
        *(peers.PIWAE, peers.PIWAEConfig, {"number_gradient_estimates": 5, "number_samples": 10}),
        {"num_estimates": 5, "num_samples": 10},
    ),
    "ciwae": (peers.CIWAE, peers.CIWAEConfig, {"number_samples": 10}, {"num_samples": 10}),
    "vamp": (peers.VAMP, peers.VAMPConfig, {"number_components": 50}, {"num_components": 50}),
    "vae_iaf": (peers.VAE_IAF, peers.VAE_IAF_Config, {}, {"num_hidden_layers": 3, "context_size": 0}),
    "vae_lin_nf": (peers.VAE_LinNF, peers.VAE_LinNF_Config, {"flows": ["Planar"] * 5}, {}),
    "hvae": (peers.HVAE, peers.HVAEConfig, {}, {"learn_step_size": False, "learn_beta_zero": False}),
    "rhvae": (
        *(peers.RHVAE, peers.RHVAEConfig, {}),
        {"num_centroids": BATCH, "learn_step_size": False, "learn_beta_zero": False},
    ),
    "svae": (peers.SVAE, peers.SVAEConfig, {}, {}),
    "poincare_vae": (peers.PoincareVAE, peers.PoincareVAEConfig, {}, {}),
}
ONE_POINT = {"ae", "wae_mmd", "rae_l2", "rae_gp", "vq_vae"}  # encoders without a variance
TRAINERS = {
    **dict.fromkeys(("aae", "factor_vae"), (trainers.AdversarialTrainer, trainers.AdversarialTrainerConfig)),
    **dict.fromkeys(("rae_l2", "piwae"), (trainers.CoupledOptimizerTrainer, trainers.CoupledOptimizerTrainerConfig)),
    "vae_gan": (trainers.CoupledOptimizerAdversarialTrainer, trainers.CoupledOptimizerAdversarialTrainerConfig),
}


class PeerDiscriminator(BaseDiscriminator):
    """The layers of our VAEGAN's discriminator, as Pythae takes them."""

    def __init__(self):
        super().__init__()
        widths = (1, 32, 64, 128)
        blocks = [nn.Sequential(nn.Conv2d(i, o, 4, 2, 1), nn.ReLU()) for i, o in zip(widths, widths[1:], strict=False)]
        self.layers = nn.ModuleList([*blocks, nn.Sequential(nn.Flatten(), nn.Linear(128 * 9, 1), nn.Sigmoid())])
        self.depth = len(self.layers)

    def forward(self, x, output_layer_levels=None):
        output = ModelOutput()
        for level, layer in enumerate(self.layers, 1):
            x = layer(x)
            if output_layer_levels is not None and level in output_layer_levels:
                output[f"embedding_layer_{level}"] = x
        output["embedding"] = x
        return output


def peer_networks(name: str, network: str, config) -> dict:
    """Pythae's encoder and decoder for a method; its own default, an MLP, without them."""
    modules = {"discriminator": PeerDiscriminator()} if name == "vae_gan" else {}
    if network == "mlp":
        return modules
    kind = {"paper_conv": "Conv", "paper_resnet": "ResNet"}[network]
    maps = name == "vq_vae" and kind == "ResNet"
    posterior = "VQVAE" if maps else "AE" if name in ONE_POINT else "SVAE" if name == "svae" else "VAE"
    return {
        "encoder": getattr(mnist, f"Encoder_{kind}_{posterior}_MNIST")(config),
        "decoder": getattr(mnist, f"Decoder_{kind}_{'VQVAE' if maps else 'AE'}_MNIST")(config),
        **modules,
    }


def peer_model(name: str, network: str):
    """A model of Pythae for MNIST."""
    cls, config_class, fields, _ = METHODS[name]
    config = config_class(input_dim=SHAPE, latent_dim=LATENT_DIM, **fields)
    return cls(config, **peer_networks(name, network, config))


def our_model(name: str, network: str):
    """A model of ours for MNIST, in the memory format that the trainer uses."""
    cls, fields = AutoGAE.model_class(name), METHODS[name][3]
    if name == "vq_vae":
        fields = {**fields, "latent_layout": "spatial" if network == "paper_resnet" else "flat"}
    common = {"input_shape": SHAPE, "latent_dim": LATENT_DIM, "encoder_config": network, "decoder_config": network}
    return cls(cls.config_class(**common, **fields)).to(memory_format=torch.channels_last)


def peer_step(name: str, network: str, batch: int = BATCH):
    """One step of Pythae's trainer for a method."""
    torch.manual_seed(0)
    trainer_class, arguments_class = TRAINERS.get(name, (trainers.BaseTrainer, trainers.BaseTrainerConfig))
    images = torch.rand(batch, *SHAPE)
    data = BaseDataset(images, torch.zeros(batch))
    with TemporaryDirectory() as folder:
        arguments = arguments_class(output_dir=folder, per_device_train_batch_size=batch, no_cuda=True)
        trainer = trainer_class(peer_model(name, network), data, training_config=arguments)
        trainer.prepare_training()
    model = trainer.model.train()

    def step():
        output = model({"data": images}, epoch=1, dataset_size=50_000, uses_ddp=False)
        trainer._optimizers_step(output)

    return step


def our_step(name: str, network: str, half: bool):
    """One step as GAETrainer makes it."""
    torch.manual_seed(0)
    model, images = our_model(name, network).train(), torch.rand(BATCH, *SHAPE)
    groups = [{"params": parameters} for parameters in model.parameter_groups().values()]
    optimizer = torch.optim.Adam(groups, lr=1e-4, fused=True)

    def step():
        keep_freed_memory()
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            loss = model(images).loss
        loss.backward()
        model.before_optimizer_step()
        optimizer.step()
        optimizer.zero_grad()

    return step


def lazily(make: Callable, *args) -> Callable:
    """What `make` makes, at its first call: each side builds only what it runs."""
    made = []

    def work():
        if not made:
            made.append(make(*args))
        made[0]()

    return work


def comparisons():
    for network, targets in TARGETS.items():
        for name in METHODS:
            rows = [(f"{network}, {name}", BATCH)]
            if name == "factor_vae":  # Pythae's decodes one half of its batch: with 200, both decode 100
                rows = [
                    (f"{rows[0][0]}, which decodes 50 in Pythae", BATCH),
                    (f"{rows[0][0]}, 200 in Pythae", 2 * BATCH),
                ]
            for row, batch in rows:
                peer = lazily(peer_step, name, network, batch)
                for half, target in zip((False, True), targets, strict=True):
                    if network == "mlp" and not half and name in SLOW_PEERS:
                        target = 0.40
                    label = f"{row}, {'bf16' if half else 'fp32'}"
                    yield Comparison(label, lazily(our_step, name, network, half), peer, target)
