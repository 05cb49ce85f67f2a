"""Measures Pythae next to gae_hub: losses of the same weights, gradients of Pythae's trainers, and other numbers.

Each model is small: images of handwritten digits, 8 x 8 pixels, four latent dimensions, Pythae's default networks with
initial weights. The last layers of the encoder are multiplied by 3, so that the posteriors differ from the prior.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pythae.models as pythae_models
import torch
from pythae.samplers import VAMPSampler
from pythae.trainers import AdversarialTrainer, CoupledOptimizerAdversarialTrainer, CoupledOptimizerTrainer
from torch import Tensor, nn

from gae_hub import AutoGAE, load_images
from gae_hub.conversion.pythae.methods import METHODS

SHAPE, LATENT_DIM, NUM_IMAGES, NUM_DRAWS, DATASET_SIZE = (1, 8, 8), 4, 100, 20, 1397

# settings other than the defaults, with the reason
CHANGED: dict[str, tuple[dict[str, Any], str]] = {
    "BetaTCVAE": ({"beta": 50.0}, "with beta=50"),
    "RAE_GP": ({"reg_weight": 10.0}, "with reg_weight=10"),
    "RAE_L2": ({"reg_weight": 0.01}, "with reg_weight=0.01"),
    "INFOVAE_MMD": (
        {"lbd": 10.0},
        "with lbd=10: at the default, 0.001, the MMD has the weight -0.999, which rewards a large MMD",
    ),
    "VAEGAN": ({"reconstruction_layer": 1}, "the loss of the encoder, with reconstruction_layer=1"),
}
FORWARD: dict[str, dict[str, Any]] = {
    "DisentangledBetaVAE": {"epoch": 1000},  # after its warm-up
    "BetaTCVAE": {"dataset_size": DATASET_SIZE},
}
PER_PIXEL = ("MSSSIM_VAE",)  # Pythae's loss is a mean over pixels, ours the sum


@dataclass
class Loss:
    """The loss of the same weights in both packages, averaged over draws of the noise, and why they differ."""

    method: str
    pythae: float
    gae_hub: float
    reasons: list[str]


def config_of(method: str) -> type:
    """Pythae's config class of a method."""
    return getattr(pythae_models, f"{method}Config", None) or getattr(pythae_models, f"{method}_Config")


def read_digits() -> Tensor:
    """(NUM_IMAGES, *SHAPE) images in [0, 1]."""
    digits = load_images("digits")
    return torch.stack([torch.as_tensor(digits[i]["pixel_values"]) for i in range(NUM_IMAGES)]).float()


def build(method: str, images: Tensor) -> Any:
    """A model of Pythae, in eval mode."""
    torch.manual_seed(0)
    config = config_of(method)(input_dim=SHAPE, latent_dim=LATENT_DIM, **CHANGED.get(method, ({}, ""))[0])
    model = getattr(pythae_models, method)(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.startswith(("encoder.embedding", "encoder.log_var", "encoder.log_conc")):
                parameter.mul_(1 if method == "PoincareVAE" else 3)  # the means of the Poincare VAE may leave its ball
            if name.startswith("net.") and name.endswith(".u"):  # planar flows with an inverse
                parameter.mul_((parameter * model.get_parameter(name[:-1] + "w")).sum().sign())
    if method == "RHVAE":  # its metric is built in training
        model.train()
        model({"data": images.clone()})
        model.update()
    return model.eval()


def measure_losses(folder: Path) -> list[Loss]:
    """The loss of every method of Pythae that gae_hub converts. Checkpoints are written to `folder`."""
    images, rows = read_digits(), []
    for method in METHODS:
        theirs = build(method, images)
        theirs.save(str(folder / method))
        ours = AutoGAE.from_pythae(folder / method)
        if method == "BetaTCVAE":
            ours.config.dataset_size = DATASET_SIZE
        torch.manual_seed(7)
        outputs = [theirs({"data": images.clone()}, **FORWARD.get(method, {})) for _ in range(NUM_DRAWS)]
        pythae = _mean(output.encoder_loss if method == "VAEGAN" else output.loss for output in outputs)
        torch.manual_seed(7)
        results = [ours(images) for _ in range(NUM_DRAWS)]
        if method == "VAEGAN":
            gae_hub = _mean(result.losses["kl"] + result.losses["feature"] for result in results)
        else:
            gae_hub = _mean(result.loss for result in results)
        reasons = list((ours.facts or {})["imported"]["notes"])
        if method in PER_PIXEL:
            gae_hub /= images[0].numel()
            reasons.append(f"our loss is divided by the {images[0].numel()} pixels here")
        if method in CHANGED:
            reasons.append(CHANGED[method][1])
        rows.append(Loss(method, pythae, gae_hub, reasons))
    return rows


def _mean(values: Iterable[Tensor]) -> float:
    return torch.stack([value.detach().float().mean() for value in values]).mean().item()


@dataclass
class Gradient:
    """What one step of a trainer of Pythae applies to a network, as weights of the gradients of two losses.

    Attributes:
        method: Pythae's name of the method.
        network: "encoder" or "decoder".
        own_loss: the loss that the method defines for this network.
        own_weight: its weight, which should be 1.
        other_loss: the loss of another network.
        other_weight: its weight, which should be 0; None if it does not depend on this network.
    """

    method: str
    network: str
    own_loss: str
    own_weight: float
    other_loss: str
    other_weight: float | None


PAIR = {"encoder": "encoder", "decoder": "decoder"}
TRAINERS: dict[str, tuple[type, dict[str, str]]] = {
    # method: its trainer, and the networks of each of its optimizers
    "Adversarial_AE": (AdversarialTrainer, {"autoencoder": "encoder decoder", "discriminator": "discriminator"}),
    "FactorVAE": (AdversarialTrainer, {"autoencoder": "encoder decoder", "discriminator": "discriminator"}),
    "PIWAE": (CoupledOptimizerTrainer, PAIR),
    "RAE_L2": (CoupledOptimizerTrainer, PAIR),
    "VAEGAN": (CoupledOptimizerAdversarialTrainer, PAIR | {"discriminator": "discriminator"}),
}
STEPS = (  # method, network, its own loss, the loss of another network
    ("Adversarial_AE", "encoder", "autoencoder_loss", "discriminator_loss"),
    ("FactorVAE", "encoder", "autoencoder_loss", "discriminator_loss"),
    ("PIWAE", "encoder", "encoder_loss", "decoder_loss"),
    ("RAE_L2", "encoder", "encoder_loss", "decoder_loss"),
    ("VAEGAN", "encoder", "encoder_loss", "decoder_loss"),
    ("VAEGAN", "decoder", "decoder_loss", "discriminator_loss"),
)


def measure_gradients() -> list[Gradient]:
    """One optimizer step of each trainer of Pythae that has several optimizers, with SGD at a rate of 1."""
    images = read_digits()
    return [_measure_step(images, *step) for step in STEPS]


def _measure_step(images: Tensor, method: str, network: str, own_loss: str, other_loss: str) -> Gradient:
    trainer, optimizers = TRAINERS[method]
    model = build(method, images)
    torch.manual_seed(7)
    output = model({"data": images.clone()})
    if method == "VAEGAN":
        output.update_decoder = output.update_discriminator = True  # both are updated while the game is balanced
    parameters = list(getattr(model, network).parameters())
    own, other = (
        torch.autograd.grad(output[loss], parameters, retain_graph=True, allow_unused=True)
        for loss in (own_loss, other_loss)
    )
    before = [parameter.detach().clone() for parameter in parameters]
    parts = {
        f"{name}_optimizer": torch.optim.SGD(
            [parameter for part in networks.split() for parameter in getattr(model, part).parameters()], lr=1.0
        )
        for name, networks in optimizers.items()
    }
    trainer._optimizers_step(SimpleNamespace(**parts), output)
    applied = [old - parameter.detach() for old, parameter in zip(before, parameters, strict=True)]
    left, right = _flatten(own, parameters), _flatten(other, parameters)
    if torch.allclose(left, right):  # one loss under two names
        right = torch.zeros_like(left)
    target = _flatten(applied, parameters).unsqueeze(1)
    weights = torch.linalg.lstsq(torch.stack([left, right], 1), target, driver="gelsd").solution.flatten()
    other_weight = weights[1].item() if right.any() else None
    return Gradient(method, network, own_loss, weights[0].item(), other_loss, other_weight)


def _flatten(gradients: Iterable[Tensor | None], parameters: list[nn.Parameter]) -> Tensor:
    """One vector of all gradients, with zeros where a loss does not depend on a parameter."""
    return torch.cat(
        [
            (torch.zeros_like(parameter) if gradient is None else gradient).detach().flatten().double()
            for gradient, parameter in zip(gradients, parameters, strict=True)
        ]
    )


def measure_calls(folder: Path) -> Mapping[str, tuple[str, str]]:
    """What else differs, by name: the numbers of Pythae and of gae_hub, as text. Needs `measure_losses(folder)`."""
    images = read_digits()
    theirs = {name: build(name, images) for name in ("VAE", "FactorVAE", "VAMP", "VQVAE")}
    ours = {name: AutoGAE.from_pythae(folder / name) for name in theirs}
    with torch.no_grad():
        torch.manual_seed(7)
        twice = [theirs["VAE"].embed(images) for _ in range(2)]
        same = [ours["VAE"].embed(images) for _ in range(2)]
        torch.manual_seed(7)
        one = float(theirs["VAE"].get_nll(images[:4], n_samples=1))
        torch.manual_seed(7)
        hundred = float(theirs["VAE"].get_nll(images[:4], n_samples=100))
        vamp = _spread_prior(theirs["VAMP"])
        decoder = vamp.decoder
        vamp.decoder = _Identity()
        torch.manual_seed(7)
        drawn = VAMPSampler(vamp).sample(num_samples=5000, batch_size=50)
        vamp.decoder = decoder
        vamp.save(str(folder / "VAMP-narrow"))
        prior = AutoGAE.from_pythae(folder / "VAMP-narrow").sample_prior(5000, torch.Generator().manual_seed(7))
        generator = torch.Generator().manual_seed(7)
        likelihood = ours["VAE"].log_likelihood(images[:4], num_samples=100, generator=generator)
    return {
        "largest difference between two calls of `embed` of a VAE": (
            f"{(twice[0] - twice[1]).abs().max():.2f}",
            f"{(same[0] - same[1]).abs().max():.2f}",
        ),
        "rows that `embed` of a FactorVAE returns for 100 images": (
            str(len(theirs["FactorVAE"].embed(images))),
            str(len(ours["FactorVAE"].embed(images))),
        ),
        "log-likelihood of a VAE with 100 samples, nats (`get_nll`, despite its name)": (
            f"{hundred:.1f}",
            f"{likelihood.mean():.1f}",
        ),
        "samples that `get_nll(n_samples=1)` uses (its value is that of 100)": ("100" if one == hundred else "1", "1"),
        "standard deviation of samples of a VAMP prior whose components have 0.08": (
            f"{drawn.std(0).mean():.2f}",
            f"{prior.std(0).mean():.2f}",
        ),
        "size of a code of a VQ-VAE with the default networks and 4 latent dimensions": (
            str(theirs["VQVAE"].model_config.embedding_dim),
            str(_count_code_dimensions()),
        ),
    }


class _Identity(nn.Module):
    """A decoder of Pythae that returns the latents."""

    def forward(self, latents: Tensor) -> dict[str, Tensor]:
        return {"reconstruction": latents}


def _spread_prior(model: Any) -> Any:
    """A VAMP whose posteriors all have the mean 0 and the standard deviation exp(-2.5) = 0.08."""
    for layer, value in ((model.encoder.embedding, 0.0), (model.encoder.log_var, -5.0)):
        layer.weight.zero_()
        layer.bias.fill_(value)
    return model


def _count_code_dimensions() -> int:
    """Size of a code of our VQ-VAE with the default networks."""
    config = AutoGAE.config_class("vq_vae")(input_shape=SHAPE, latent_dim=LATENT_DIM)
    model: Any = AutoGAE.from_config(config)
    return model.codebook.codes.shape[1]
