"""Conversion of each of Pythae's methods: settings to the fields of our config, tensors to our names.

Encoder, decoder and head are converted by `convert`; a function here converts the rest. `c` is the checkpoint: `c.pop`
removes a setting, `c.take` a tensor, and `c.note` records a difference from Pythae.
"""

__all__ = ["METHODS"]

import reprlib
from collections.abc import Callable
from math import e, log, prod
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .reading import SETTINGS_FILE, Checkpoint

SQUARE_ERROR = 0.5**0.5  # the standard deviation for which the Gaussian term is ||x - x_hat||^2

Converted = tuple[dict[str, Any], dict[str, Tensor]]
"""Fields of our config, and tensors by our names."""


def _vae(c: Checkpoint) -> Converted:
    return {}, {}


def _ae(c: Checkpoint) -> Converted:
    return {"observation_std": SQUARE_ERROR}, {}


def _beta_vae(c: Checkpoint) -> Converted:
    return {"beta": c.pop("beta", float)}, {}


def _disentangled_beta_vae(c: Checkpoint) -> Converted:
    epochs = c.pop("warmup_epoch", int)
    c.note(f"the capacity rises over a fraction of the training steps, not over warmup_epoch = {epochs} epochs")
    return {"beta": c.pop("beta", float), "capacity": c.pop("C", float)}, {}


def _beta_tc_vae(c: Checkpoint) -> Converted:
    stratified = c.pop("use_mss", bool)
    if stratified:
        c.note("Pythae puts the stratified weights in the wrong columns, so the terms that need q(z) differ")
    weights = {name: c.pop(name, float) for name in ("alpha", "beta", "gamma")}
    return {**weights, "estimator": "stratified" if stratified else "weighted"}, {}


def _factor_vae(c: Checkpoint) -> Converted:
    num_hidden = 0
    while f"discriminator.layers.{2 * num_hidden + 2}.weight" in c.weights:
        num_hidden += 1
    tensors: dict[str, Tensor] = {}
    for kind in ("weight", "bias"):
        for n in range(num_hidden):
            tensors[f"discriminator.layers.{n}.{kind}"] = c.take(f"discriminator.layers.{2 * n}.{kind}")
        logits = c.take(f"discriminator.layers.{2 * num_hidden}.{kind}")
        tensors[f"discriminator.score.{kind}"] = logits[:1] - logits[1:]  # the difference of Pythae's two logits
    c.note("Pythae decodes only half of each batch, and lets the discriminator's gradient reach the encoder")
    sizes = [len(tensors[f"discriminator.layers.{n}.bias"]) for n in range(num_hidden)]
    return {"gamma": c.pop("gamma", float), "discriminator_hidden_sizes": sizes}, tensors


def _kernel(c: Checkpoint) -> dict[str, Any]:
    """Fields of the MMD's kernel."""
    kernel, scales = c.pop("kernel_choice", str), c.settings.pop("scales", None)
    if kernel == "imq" and scales != [0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0]:
        c.note("the kernel uses its seven standard scales, not the checkpoint's")
    return {"kernel": kernel, "bandwidth": c.pop("kernel_bandwidth", float)}


def _info_vae(c: Checkpoint) -> Converted:
    alpha = c.pop("alpha", float)
    weight = alpha + c.pop("lbd", float) - 1
    if weight < 0:
        c.note(f"the MMD had the weight {weight:g}, which rewards a large MMD; it is set to 0")
    return {"alpha": alpha, "mmd_weight": max(weight, 0.0), **_kernel(c)}, {}


def _wae_mmd(c: Checkpoint) -> Converted:
    std = (2 * c.pop_positive("reconstruction_loss_scale")) ** -0.5
    return {"observation_std": std, "mmd_weight": c.pop("reg_weight", float), **_kernel(c)}, {}


def _iwae(c: Checkpoint) -> Converted:
    c.note("Pythae reports the self-normalised average of the losses instead of the bound; the gradients are equal")
    mixing = {"elbo_weight": c.pop("beta", float)} if c.method == "CIWAE" else {}
    return {"num_samples": c.pop("number_samples", int), **mixing}, {}


def _miwae(c: Checkpoint) -> Converted:
    c.note("Pythae takes the logarithm over the estimates instead of over the samples")
    return {"num_samples": c.pop("number_samples", int), "num_estimates": c.pop("number_gradient_estimates", int)}, {}


def _vamp(c: Checkpoint) -> Converted:
    if c.pop("linear_scheduling_steps", int):
        c.note("the warm-up of the KL, which Pythae counts in epochs, is not converted")
    pixels = (c.take("pseudo_inputs.0.weight").T + c.take("pseudo_inputs.0.bias")).clamp(1e-7, 1 - 1e-7)
    tensors = {"pseudo_logits": pixels.logit().view(-1, *c.input_shape)}
    return {"num_components": c.pop("number_components", int)}, tensors


def _vae_lin_nf(c: Checkpoint) -> Converted:
    flows, rows = [str(name).lower() for name in c.pop("flows", list)], []
    if not flows or not set(flows) <= {"planar", "radial"}:
        raise ValueError(
            f"{SETTINGS_FILE} of '{c.name}' has flows = {reprlib.repr(flows)}, expected planar and radial ones"
        )
    for k, flow in enumerate(flows):
        if flow == "planar":
            u, w, b = (c.take(f"net.{k}.{name}").double().flatten() for name in ("u", "w", "b"))
            along = _before_stretch(c, k, w @ u)
            rows += [u + (along - w @ u) * w / w.square().sum(), w, b]
        else:
            centre, alpha, beta = (
                c.take(f"net.{k}.{name}").double().flatten() for name in ("x0", "log_alpha", "beta")
            )
            alpha = alpha.exp()
            pull = _before_stretch(c, k, F.softplus(beta) / alpha - 1)
            rows += [pull, (alpha - 1e-6).expm1().log(), centre]
    return {"flows": flows, "amortized": False}, {"flow_parameters": torch.cat(rows).float().unsqueeze(0)}


def _before_stretch(c: Checkpoint, k: int, value: Tensor) -> Tensor:
    """Inverse of `constrain_above_minus_one`, whose values are above -0.999. `k` is the index of the flow."""
    if (value <= -0.9989).any():
        c.note(
            f"step {k} of the flow had no inverse, and so no density; it was replaced by the nearest invertible step"
        )
        value = value.clamp(min=-0.9989)
    return (value / 0.999 + 1).expm1().log() - log(e - 1)


def _vae_iaf(c: Checkpoint) -> Converted:
    num_flows, num_layers = c.pop("n_made_blocks", int), c.pop("n_hidden_in_made", int)
    width = c.pop("hidden_size", int)
    names = ["first", *(f"others.{i}" for i in range(num_layers - 1)), "last"]
    tensors: dict[str, Tensor] = {}
    for k in range(num_flows):
        theirs = f"iaf_flow.net.{num_flows - 1 - k}.net."  # Pythae samples through the flows from the last
        reverse = (k + num_flows) % 2 == 0  # this flow runs from the last of Pythae's dimensions to the first
        for i, name in enumerate(names):
            c.take(f"{theirs}{2 * i}.mask")
            for kind in ("weight", "bias"):
                value = c.take(f"{theirs}{2 * i}.{kind}")
                value = value if name == "last" else _sort_units(value, c.latent_dim)
                if name != "first" and kind == "weight":
                    value = _sort_units(value.T, c.latent_dim).T
                if reverse and name == "first" and kind == "weight":
                    value = value.flip(1)
                if reverse and name == "last":
                    value = value.unflatten(0, (2, -1)).flip(1).flatten(0, 1)
                tensors[f"flows.{k}.made.{name}.{kind}"] = value
    if num_flows % 2:
        c.reverse_latents = True
        c.note("the latents before the flow are in reverse order")
    return {
        "num_flows": num_flows,
        "num_hidden_layers": num_layers,
        "hidden_size": max(width, c.latent_dim - 1),
        "flow_update": "affine",
        "activation": "relu",
        "log_scale_bound": None,
        "reverse": num_flows % 2 == 0,
        "context_size": 0,
    }, tensors


def _sort_units(value: Tensor, latent_dim: int) -> Tensor:
    """Order the hidden units of a MADE, the first axis, by degree, as ours are.

    Pythae's units have the degrees 1 to latent_dim - 1 in turn. Each degree without a unit gets a unit of zeros.

    Raises:
        ValueError: if most units would be such zeros, so that a small file cannot allocate much memory.
    """
    missing, count = max(0, latent_dim - 1 - len(value)), len(value)
    if missing > 3 * count:
        raise ValueError(
            f"hidden_size = {count} is too small for latent_dim = {latent_dim}: the flow ignores most latents"
        )
    value = torch.cat([value, value.new_zeros(missing, *value.shape[1:])])
    return value[(torch.arange(len(value)) % max(1, latent_dim - 1)).argsort(stable=True)]


def _hamiltonian(c: Checkpoint, learned: bool, beta_zero: float, step: float) -> Converted:
    """Fields and tensors of the leapfrog integrator. `step` is the step size, a parameter if `learned`."""
    fields = {"num_leapfrog_steps": c.pop("n_lf", int), "learn_step_size": learned, "learn_beta_zero": False}
    fields |= {"step_size": step, "max_step_size": max(0.5, 2 * step), "beta_zero": beta_zero}
    logit = log(step / fields["max_step_size"]) - log(1 - step / fields["max_step_size"])
    return fields, {"step_logits": torch.full((c.latent_dim,), logit)} if learned else {}


def _hvae(c: Checkpoint) -> Converted:
    c.discard("eps_lf", "beta_zero", "learn_beta_zero")
    beta_zero = min(c.take_number("beta_zero_sqrt") ** 2, 1.0)
    c.note(
        "Pythae's samples have another variance than its entropy term assumes; it omits the tempering, and moves by "
        "the momentum of the whole step"
    )
    return _hamiltonian(c, c.pop("learn_eps_lf", bool), beta_zero, c.take_number("eps_lf"))


def _rhvae(c: Checkpoint) -> Converted:
    c.discard("beta_zero")
    # Pythae initialises it with beta_zero, not with its square root
    beta_zero = min(c.take_number("beta_zero_sqrt") ** 2, 1.0)
    fields, tensors = _hamiltonian(c, False, beta_zero, c.pop_positive("eps_lf"))
    centroids, matrices = c.take("centroids"), c.take("M")
    if (torch.linalg.eigvalsh(matrices) < -1e-4).any() or not torch.allclose(matrices, matrices.mT, atol=1e-4):
        c.note("the checkpoint is untrained, with a random metric; here the metric is one identity at the origin")
        centroids, matrices = torch.zeros(1, c.latent_dim), torch.eye(c.latent_dim).unsqueeze(0)
    tensors |= {"centroids": centroids, "matrices": matrices, "next_place": torch.zeros((), dtype=torch.long)}
    network = "factor_network."
    for kind in ("weight", "bias"):
        tensors[f"{network}1.0.{kind}"] = c.take(f"metric.layers.0.{kind}")
    tensors |= {f"{network}2.{kind}": value for kind, value in c.take_layers("metric.diag", "metric.lower").items()}
    c.discard("temperature", "regularization")  # the weights have them too
    fields |= {"temperature": c.take_number("temperature"), "metric_regularization": c.take_number("lbd")}
    c.note("Pythae omits half of log det G, and samples the momentum with another matrix than G(z_0)")
    sizes = [len(tensors[f"{network}1.0.bias"])]
    return {**fields, "num_centroids": len(centroids), "metric_hidden_sizes": sizes}, tensors


def _discriminator(c: Checkpoint) -> tuple[list[int], dict[str, Tensor]]:
    """Hidden sizes and tensors of a discriminator of linear layers, "layers.0.0" to "layers.n.0"."""
    num_hidden = 0
    while f"discriminator.layers.{num_hidden + 1}.0.weight" in c.weights:
        num_hidden += 1
    names = [*(f"layers.{n}" for n in range(num_hidden)), "score"]
    tensors = {
        f"discriminator.{name}.{kind}": c.take(f"discriminator.layers.{n}.0.{kind}")
        for n, name in enumerate(names)
        for kind in ("weight", "bias")
    }
    return [len(tensors[f"discriminator.layers.{n}.bias"]) for n in range(num_hidden)], tensors


def _aae(c: Checkpoint) -> Converted:
    sizes, tensors = _discriminator(c)
    scale, weight = c.pop_positive("reconstruction_loss_scale"), c.pop("adversarial_loss_scale", float)
    fields = {"observation_std": scale**-0.5, "adversarial_weight": weight, "discriminator_hidden_sizes": sizes}
    if c.settings.get("reconstruction_loss") == "bce":
        fields |= {"observation_std": 1.0, "adversarial_weight": weight / scale}
    if c.pop("deterministic_posterior", bool):
        c.take_layers("encoder.log_var")  # not used
        fields["posterior"] = "deterministic"
    return fields, tensors


def _vae_gan(c: Checkpoint) -> Converted:
    fields = {"reconstruction_weight": 1 - c.pop("adversarial_loss_scale", float), "discriminator_slope": 0.0}
    fields |= {name: c.pop(name, float) for name in ("equilibrium", "margin")}
    layer, first = c.pop("reconstruction_layer", int), c.weights.get("discriminator.layers.0.0.weight")
    c.note("Pythae trains its decoder to help the discriminator, which does not see reconstructions")
    if first is None or first.dim() != 2:
        c.take_all("discriminator.")
        c.initial = ("discriminator.",)
        c.note("the discriminator has no counterpart in gae_hub: further training starts with a new one")
        return fields, {}
    sizes, tensors = _discriminator(c)
    if not 1 <= layer <= len(sizes):
        c.note(f"images are compared at layer {len(sizes)} of the discriminator, not at its output, layer {layer}")
        layer = len(sizes)
    return {
        **fields,
        "discriminator_layers": "linear",
        "discriminator_channels": sizes,
        "feature_layer": layer,
    }, tensors


def _vq_vae(c: Checkpoint) -> Converted:
    ema = c.pop("use_ema", bool)
    if ema:
        codes, counts = c.take("quantizer.embeddings"), c.take("quantizer.cluster_size")
        c.take("quantizer.ema_embed")
    else:
        codes = c.take("quantizer.embeddings.weight")
        counts = torch.ones(len(codes))
    scalar = codes.shape[1] == 1 and c.latent_dim > 1
    size = c.latent_dim if scalar else c.latent_dim * 16  # the latent maps of Pythae's networks are 4 x 4
    c.note(
        f"Pythae 0.1.2 averages the quantizer's terms over the {size} numbers of an example's latents; here they are "
        f"sums, with weights divided by {size}"
    )
    fields = {
        "observation_std": SQUARE_ERROR,
        "num_embeddings": c.pop("num_embeddings", int),
        "latent_layout": "scalar" if scalar else "spatial",
        "codebook_decay": c.pop("decay", float),
        "codebook_update": "ema" if ema else "gradient",
        "commitment_weight": c.pop("commitment_loss_factor", float) / size,
        "codebook_weight": c.pop("quantization_loss_factor", float) / size,
    }
    ready = torch.ones((), dtype=torch.bool)
    return fields, {"codebook.codes": codes, "codebook.counts": counts, "codebook.initialized": ready}


def _msssim_vae(c: Checkpoint) -> Converted:
    c.note("Pythae computes one MS-SSIM of the whole batch, with the last level too often in its product")
    return {"beta": prod(c.input_shape) * c.pop("beta", float), "window_size": c.pop("window_size", int)}, {}


def _poincare_vae(c: Checkpoint) -> Converted:
    c.take("_pz_mu")
    fields = {
        "prior_scale": float(c.take("_pz_logvar").exp()),
        "curvature": c.pop("curvature", float),
        "coordinates": "ball",
    }
    return {**fields, "prior": c.pop("prior_distribution", str), "posterior": c.pop("posterior_distribution", str)}, {}


def _rae_l2(c: Checkpoint) -> Converted:
    c.note("the L2 penalty of the decoder is a weight decay in Pythae's optimizer, and a loss term here")
    fields = {
        "embedding_weight": c.pop("embedding_weight", float),
        "decoder_penalty_weight": c.pop("reg_weight", float) / 2,
    }
    return {"observation_std": SQUARE_ERROR, **fields}, {}


def _rae_gp(c: Checkpoint) -> Converted:
    c.note("Pythae penalises the gradient of the sum of all pixels with respect to the image, not the Jacobian")
    fields = {
        "embedding_weight": c.pop("embedding_weight", float),
        "decoder_penalty_weight": c.pop("reg_weight", float),
    }
    return {"observation_std": SQUARE_ERROR, **fields}, {}


METHODS: dict[str, tuple[str, Callable[[Checkpoint], Converted]]] = {
    "AE": ("ae", _ae),
    "VAE": ("vae", _vae),
    "BetaVAE": ("beta_vae", _beta_vae),
    "DisentangledBetaVAE": ("disentangled_beta_vae", _disentangled_beta_vae),
    "BetaTCVAE": ("beta_tc_vae", _beta_tc_vae),
    "FactorVAE": ("factor_vae", _factor_vae),
    "INFOVAE_MMD": ("info_vae", _info_vae),
    "WAE_MMD": ("wae_mmd", _wae_mmd),
    "IWAE": ("iwae", _iwae),
    "CIWAE": ("ciwae", _iwae),
    "MIWAE": ("miwae", _miwae),
    "PIWAE": ("piwae", _miwae),
    "VAMP": ("vamp", _vamp),
    "VAE_LinNF": ("vae_lin_nf", _vae_lin_nf),
    "VAE_IAF": ("vae_iaf", _vae_iaf),
    "HVAE": ("hvae", _hvae),
    "RHVAE": ("rhvae", _rhvae),
    "Adversarial_AE": ("aae", _aae),
    "VAEGAN": ("vae_gan", _vae_gan),
    "VQVAE": ("vq_vae", _vq_vae),
    "MSSSIM_VAE": ("msssim_vae", _msssim_vae),
    "SVAE": ("svae", _vae),
    "PoincareVAE": ("poincare_vae", _poincare_vae),
    "RAE_L2": ("rae_l2", _rae_l2),
    "RAE_GP": ("rae_gp", _rae_gp),
}
"""Pythae's name of a method to our short name and the function that converts it."""
