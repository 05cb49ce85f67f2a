"""Write checkpoints of Pythae 0.1.2 and its outputs: python pythae_checkpoints.py FOLDER [CASE ...].

For each case it writes the checkpoint FOLDER/<case>, and FOLDER/<case>.safetensors with Pythae's outputs for `images`
and `SEED`. It runs in a process of its own, because Pythae raises many warnings.
"""

import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

SHAPE, SEED, BATCH, LATENT = (1, 8, 8), 7, 6, 4
CASES = {  # case: (method, settings, keyword arguments of forward)
    "AE": ("AE", {}, {}),
    "VAE": ("VAE", {}, {}),
    "VAE-bce": ("VAE", {"reconstruction_loss": "bce"}, {}),
    "BetaVAE": ("BetaVAE", {"beta": 3.0}, {}),
    "DisentangledBetaVAE": ("DisentangledBetaVAE", {"C": 2.0, "warmup_epoch": 4}, {"epoch": 5}),
    "BetaTCVAE": ("BetaTCVAE", {"beta": 3.0, "use_mss": False}, {"dataset_size": 1000}),
    "BetaTCVAE-mss": ("BetaTCVAE", {"beta": 3.0}, {"dataset_size": 1000}),
    "FactorVAE": ("FactorVAE", {"gamma": 3.0}, {}),
    "INFOVAE_MMD": ("INFOVAE_MMD", {"lbd": 10.0, "alpha": 0.5}, {}),
    "WAE_MMD": ("WAE_MMD", {"reg_weight": 5.0, "kernel_choice": "rbf", "reconstruction_loss_scale": 0.3}, {}),
    "IWAE": ("IWAE", {"number_samples": 5}, {}),
    "IWAE-1": ("IWAE", {"number_samples": 1}, {}),
    "MIWAE": ("MIWAE", {"number_samples": 4, "number_gradient_estimates": 3}, {}),
    "PIWAE": ("PIWAE", {"number_samples": 4, "number_gradient_estimates": 3}, {}),
    "CIWAE": ("CIWAE", {"number_samples": 5, "beta": 1.0}, {}),
    "VAMP": ("VAMP", {"number_components": 9}, {}),
    "VAE_LinNF": ("VAE_LinNF", {"flows": ["Planar", "Radial", "Planar"]}, {}),
    "VAE_LinNF-singular": ("VAE_LinNF", {"flows": ["Planar"] * 12}, {}),
    "VAE_IAF": ("VAE_IAF", {"n_made_blocks": 2}, {}),
    "VAE_IAF-odd": ("VAE_IAF", {"n_made_blocks": 3, "n_hidden_in_made": 1, "hidden_size": 20}, {}),
    "VAE_IAF-narrow": ("VAE_IAF", {"n_made_blocks": 2, "hidden_size": 2}, {}),
    "HVAE": ("HVAE", {}, {}),
    "RHVAE": ("RHVAE", {}, {}),
    "Adversarial_AE": ("Adversarial_AE", {"adversarial_loss_scale": 0.4, "reconstruction_loss_scale": 0.7}, {}),
    "Adversarial_AE-point": ("Adversarial_AE", {"deterministic_posterior": True}, {}),
    "VAEGAN": ("VAEGAN", {"reconstruction_layer": 1}, {}),
    "VQVAE": ("VQVAE", {"num_embeddings": 32}, {}),
    "VQVAE-ema": ("VQVAE", {"num_embeddings": 32, "use_ema": True}, {}),
    "MSSSIM_VAE": ("MSSSIM_VAE", {"beta": 0.1}, {}),
    "SVAE": ("SVAE", {}, {}),
    "PoincareVAE": ("PoincareVAE", {"curvature": 0.7}, {}),
    "PoincareVAE-riemannian": (
        "PoincareVAE",
        {"posterior_distribution": "riemannian_normal", "prior_distribution": "riemannian_normal"},
        {},
    ),
    "RAE_L2": ("RAE_L2", {"embedding_weight": 0.1, "reg_weight": 1e-3}, {}),
    "RAE_GP": ("RAE_GP", {"embedding_weight": 0.1, "reg_weight": 1e-3}, {}),
    "VAE-conv": ("VAE", {"input_dim": (1, 28, 28)}, {}),
    "VAE-resnet": ("VAE", {"input_dim": (1, 28, 28)}, {}),
    "SVAE-resnet": ("SVAE", {"input_dim": (1, 28, 28)}, {}),
    "VQVAE-resnet": ("VQVAE", {"input_dim": (1, 28, 28), "num_embeddings": 16}, {}),
}


def images(case: str) -> torch.Tensor:
    """(BATCH, *input_dim) inputs of a case."""
    shape = CASES[case][1].get("input_dim", SHAPE)
    return torch.rand(BATCH, *shape, generator=torch.Generator().manual_seed(3))


def networks(case: str, config) -> dict:
    """Encoder and decoder of Pythae's benchmark, for cases that name one; no arguments otherwise."""
    if "-" not in case or case.split("-")[1] not in ("conv", "resnet"):
        return {}
    import pythae.models.nn.benchmarks.mnist as nets

    method, kind = case.split("-")
    kind = "Conv" if kind == "conv" else "ResNet"
    decoder = "VQVAE" if method == "VQVAE" else "AE"
    return {
        "encoder": getattr(nets, f"Encoder_{kind}_{method}_MNIST")(config),
        "decoder": getattr(nets, f"Decoder_{kind}_{decoder}_MNIST")(config),
    }


def make(folder: Path, case: str):
    """Write the checkpoint of a case and Pythae's outputs."""
    import pythae.models as zoo

    method, settings, kwargs = CASES[case]
    config_class = getattr(zoo, f"{method}Config", None) or getattr(zoo, f"{method}_Config")
    torch.manual_seed(0)
    config = config_class(**{"input_dim": SHAPE, "latent_dim": LATENT, **settings})
    model = getattr(zoo, method)(config, **networks(case, config))
    with torch.no_grad():  # make posteriors differ from each other and from the prior, and move codes to the tokens
        for name, parameter in model.named_parameters():
            if name.startswith(("encoder.embedding", "encoder.log_var", "encoder.log_conc")):
                parameter.mul_(0.7 if method == "PoincareVAE" else 2.0)
            if name.startswith("iaf_flow"):
                parameter.mul_(1.5)
            if name.startswith("net.") and name.endswith(".u") and case != "VAE_LinNF-singular":
                parameter.copy_(parameter * (parameter * model.get_parameter(name[:-1] + "w")).sum().sign())
            if name.startswith(("quantizer.embeddings", "pseudo_inputs.0.weight")):
                parameter.copy_(torch.randn_like(parameter) * 0.3)
        for name, buffer in model.named_buffers():
            if name.endswith("running_mean"):
                buffer.normal_(0, 0.1)
            if name in ("quantizer.embeddings", "quantizer.cluster_size"):
                buffer.uniform_(0.01, 0.4)
    x = images(case)
    if method == "RHVAE":
        model.train()
        model({"data": x})
        model.update()
    model.eval()
    model.save(str(folder / case))
    torch.manual_seed(SEED)
    output = model({"data": x.clone()}, **kwargs)
    expected = {key: torch.as_tensor(value).detach() for key, value in output.items() if value is not None}
    encoded = model.encoder(x)
    expected |= {f"encoder.{key}": value.detach() for key, value in encoded.items()}
    at = expected["z"] if method != "PoincareVAE" else encoded.embedding
    if method == "SVAE":
        at = encoded.embedding / encoded.embedding.norm(dim=-1, keepdim=True)
    if method in ("HVAE", "RHVAE"):
        at = encoded.embedding
    if method == "RHVAE":
        expected["inverse_metric"] = model.G_inv(encoded.embedding).detach()
    expected["at"], expected["decoded"] = at.detach(), model.decoder(at).reconstruction.detach()
    if hasattr(model, "discriminator") and method != "VAEGAN":
        answer = model.discriminator(at)
        expected["discriminator"] = (answer if torch.is_tensor(answer) else answer.embedding).detach()
    save_file({key: value.contiguous().clone() for key, value in expected.items()}, folder / f"{case}.safetensors")


if __name__ == "__main__":
    for name in sys.argv[2:] or CASES:
        make(Path(sys.argv[1]), name)
