"""The same models in both libraries: methods, networks and sizes of the benchmarks.

Counts such as draws, flows and widths are equal on both sides. All other settings are the defaults of each library.
"""

from dataclasses import dataclass, field
from typing import Any

import pythae.models as pythae
import torch
from pythae.models.base.base_utils import ModelOutput
from pythae.models.nn import BaseDiscriminator
from pythae.models.nn.benchmarks import mnist
from torch import nn

from gae_hub import AutoGAE

INPUT_SHAPE, LATENT_DIM, BATCH_SIZE = (1, 28, 28), 16, 100


@dataclass(frozen=True)
class Method:
    """A method in Pythae: classes of model and config, and the config fields that make both libraries equal."""

    model: type
    config: type
    pythae_fields: dict[str, Any] = field(default_factory=dict)
    our_fields: dict[str, Any] = field(default_factory=dict)


METHODS = {
    "ae": Method(pythae.AE, pythae.AEConfig),
    "vae": Method(pythae.VAE, pythae.VAEConfig),
    "beta_vae": Method(pythae.BetaVAE, pythae.BetaVAEConfig),
    "disentangled_beta_vae": Method(pythae.DisentangledBetaVAE, pythae.DisentangledBetaVAEConfig),
    "beta_tc_vae": Method(pythae.BetaTCVAE, pythae.BetaTCVAEConfig, {}, {"dataset_size": 50_000}),
    "factor_vae": Method(
        pythae.FactorVAE, pythae.FactorVAEConfig, {}, {"discriminator_hidden_sizes": (1000, 1000, 1000, 1000, 1000)}
    ),
    "info_vae": Method(pythae.INFOVAE_MMD, pythae.INFOVAE_MMD_Config, {"kernel_choice": "imq"}),
    "wae_mmd": Method(pythae.WAE_MMD, pythae.WAE_MMD_Config, {"kernel_choice": "imq"}),
    "aae": Method(pythae.Adversarial_AE, pythae.Adversarial_AE_Config),
    "vae_gan": Method(pythae.VAEGAN, pythae.VAEGANConfig, {"reconstruction_layer": 2}),
    "rae_l2": Method(pythae.RAE_L2, pythae.RAE_L2_Config),
    "rae_gp": Method(pythae.RAE_GP, pythae.RAE_GP_Config),
    "vq_vae": Method(pythae.VQVAE, pythae.VQVAEConfig, {"num_embeddings": 512}, {"codebook_update": "gradient"}),
    "msssim_vae": Method(pythae.MSSSIM_VAE, pythae.MSSSIM_VAEConfig),
    "iwae": Method(pythae.IWAE, pythae.IWAEConfig, {"number_samples": 10}, {"num_samples": 10}),
    "miwae": Method(
        pythae.MIWAE,
        pythae.MIWAEConfig,
        {"number_gradient_estimates": 5, "number_samples": 10},
        {"num_estimates": 5, "num_samples": 10},
    ),
    "piwae": Method(
        pythae.PIWAE,
        pythae.PIWAEConfig,
        {"number_gradient_estimates": 5, "number_samples": 10},
        {"num_estimates": 5, "num_samples": 10},
    ),
    "ciwae": Method(pythae.CIWAE, pythae.CIWAEConfig, {"number_samples": 10}, {"num_samples": 10}),
    "vamp": Method(pythae.VAMP, pythae.VAMPConfig, {"number_components": 50}, {"num_components": 50}),
    "vae_iaf": Method(pythae.VAE_IAF, pythae.VAE_IAF_Config, {}, {"num_hidden_layers": 3, "context_size": 0}),
    "vae_lin_nf": Method(pythae.VAE_LinNF, pythae.VAE_LinNF_Config, {"flows": ["Planar"] * 5}),
    "hvae": Method(pythae.HVAE, pythae.HVAEConfig, {}, {"learn_step_size": False, "learn_beta_zero": False}),
    "rhvae": Method(
        pythae.RHVAE,
        pythae.RHVAEConfig,
        {},
        {"num_centroids": BATCH_SIZE, "learn_step_size": False, "learn_beta_zero": False},
    ),
    "svae": Method(pythae.SVAE, pythae.SVAEConfig),
    "poincare_vae": Method(pythae.PoincareVAE, pythae.PoincareVAEConfig),
}
_DETERMINISTIC = {"ae", "wae_mmd", "rae_l2", "rae_gp", "vq_vae"}  # Pythae has encoders without variance for these


class PythaeDiscriminator(BaseDiscriminator):
    """The layers of our VAEGAN's discriminator, behind Pythae's interface."""

    def __init__(self):
        super().__init__()
        widths = (1, 32, 64, 128)
        blocks = [nn.Sequential(nn.Conv2d(i, o, 4, 2, 1), nn.ReLU()) for i, o in zip(widths, widths[1:], strict=False)]
        self.layers = nn.ModuleList([*blocks, nn.Sequential(nn.Flatten(), nn.Linear(128 * 9, 1), nn.Sigmoid())])
        self.depth = len(self.layers)

    def forward(self, x: torch.Tensor, output_layer_levels: list[int] | None = None) -> ModelOutput:
        output = ModelOutput()
        for level, layer in enumerate(self.layers, 1):
            x = layer(x)
            if output_layer_levels is not None and level in output_layer_levels:
                output[f"embedding_layer_{level}"] = x
        output["embedding"] = x
        return output


def _pythae_networks(method: str, network: str, config: Any) -> dict[str, nn.Module]:
    """Pythae's networks for a method, as arguments of its model. Without them, Pythae builds an MLP."""
    modules: dict[str, nn.Module] = {"discriminator": PythaeDiscriminator()} if method == "vae_gan" else {}
    if network == "mlp":
        return modules
    kind = {"paper_conv": "Conv", "paper_resnet": "ResNet"}[network]
    spatial = method == "vq_vae" and kind == "ResNet"
    posterior = "VQVAE" if spatial else "AE" if method in _DETERMINISTIC else "SVAE" if method == "svae" else "VAE"
    return {
        "encoder": getattr(mnist, f"Encoder_{kind}_{posterior}_MNIST")(config),
        "decoder": getattr(mnist, f"Decoder_{kind}_{'VQVAE' if spatial else 'AE'}_MNIST")(config),
        **modules,
    }


def pythae_model(method: str, network: str) -> nn.Module:
    """Build Pythae's model for MNIST."""
    entry = METHODS[method]
    config = entry.config(input_dim=INPUT_SHAPE, latent_dim=LATENT_DIM, **entry.pythae_fields)
    return entry.model(config, **_pythae_networks(method, network, config))


def our_config(method: str, network: str, input_shape: tuple[int, ...] = INPUT_SHAPE) -> Any:
    """Build the config of `our_model`."""
    fields = dict(METHODS[method].our_fields)
    if method == "vq_vae":
        fields["latent_layout"] = "spatial" if network == "paper_resnet" else "flat"
    return AutoGAE.config_class(method)(
        input_shape=input_shape, latent_dim=LATENT_DIM, encoder_config=network, decoder_config=network, **fields
    )


def our_model(method: str, network: str, input_shape: tuple[int, ...] = INPUT_SHAPE) -> nn.Module:
    """Build our model with the same settings as Pythae's."""
    return AutoGAE.from_config(our_config(method, network, input_shape))
