"""Import of checkpoints of Pythae (Chadebec, Vincent & Allassonnière, 2022), arXiv:2206.08309, version 0.1.2.

`model_config.json` and the tensors of `model.pt` are read, never a pickled object. What a checkpoint means is kept
where Pythae's method is the paper's; where it is not, the model is the paper's with Pythae's weights, and a note says
what differs. The notes are on the card of the model.
"""

__all__ = ["from_pythae"]

import json
import zipfile
from collections.abc import Callable
from functools import partial
from math import e, log, prod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModel
from transformers.utils import logging

from ...auto import AutoGAE
from ...core.hub_files import fetch_file
from ...models.base import GAEPreTrainedModel
from ...modules.backbones import backbone_config

logger = logging.get_logger(__name__)

CONFIG, WEIGHTS = "model_config.json", "model.pt"
LARGEST_CONFIG = 1 << 20  # bytes
SQUARE_ERROR = 0.5**0.5  # the standard deviation for which the Gaussian's term is ||x - x_hat||^2
NETWORKS = ({"model_type": "mlp", "hidden_sizes": [512]}, {"model_type": "paper_conv"}, {"model_type": "paper_resnet"})


class Checkpoint:
    """The settings and tensors that are not yet used, and what is to be said of the import.

    Args:
        name: where it comes from, for messages.
        settings: the content of model_config.json.
        weights: the content of model.pt.
    """

    def __init__(self, name: str, settings: dict[str, Any], weights: dict[str, Tensor]):
        self.name, self.settings, self.weights = name, dict(settings), dict(weights)
        self.notes: list[str] = []
        self.fresh: tuple[str, ...] = ()  # beginnings of our parameters' names that keep their initial values

    def note(self, text: str):
        self.notes.append(text)

    def pop(self, setting: str, default=None):
        return self.settings.pop(setting, default)

    def take(self, name: str) -> Tensor:
        if name not in self.weights:
            raise ValueError(
                f"{WEIGHTS} of '{self.name}' has no '{name}', which its {CONFIG} calls for; it has "
                + ", ".join(sorted(self.weights)[:12])
            )
        return self.weights.pop(name)

    def stacked(self, *layers: str) -> dict[str, Tensor]:
        """Weight and bias of one layer that gives what these layers give, one after the other."""
        return {kind: torch.cat([self.take(f"{layer}.{kind}") for layer in layers]) for kind in ("weight", "bias")}

    def under(self, prefix: str) -> dict[str, Tensor]:
        """What is left below a name, taken."""
        return {
            name.removeprefix(prefix): self.weights.pop(name)
            for name in list(self.weights)
            if name[: len(prefix)] == prefix
        }


def from_pythae(
    name: str | Path,
    encoder: nn.Module | None = None,
    decoder: nn.Module | None = None,
    token: str | bool | None = None,
    revision: str | None = None,
) -> GAEPreTrainedModel:
    """A model of gae_hub with the weights of a Pythae checkpoint.

    Args:
        name: a folder, or a repository on the Hub, with model_config.json and model.pt.
        encoder, decoder: networks of one's own that the checkpoint was made with, as gae_hub takes them: a trunk
            without its last linear layers, a decoder without its sigmoid. Pythae's own networks, the default ones
            and those of its benchmark, are recognised by the names and shapes of their parameters.
        token, revision: for the Hub.

    Returns:
        The model in eval mode. `model.facts["imported"]["notes"]` lists what differs from Pythae.

    Raises:
        ValueError: for a file that is no checkpoint of Pythae, sizes that the weights do not have, or parameters that
            do not fit the networks, each by its name.
        OSError: if the files are not there.
    """
    settings, weights = _read_settings(_file(name, CONFIG, token, revision)), _file(name, WEIGHTS, token, revision)
    kind = str(settings.pop("name", ""))
    short = kind.removesuffix("Config").removesuffix("_")
    if short not in METHODS:
        raise ValueError(
            f"{CONFIG} of '{name}' is of '{kind}', which is none of Pythae's methods: {', '.join(METHODS)}"
        )
    checkpoint = Checkpoint(str(name), settings, {})
    checkpoint.weights.update(_read_weights(weights, checkpoint))
    method, convert = METHODS[short]
    shape, latent_dim = _sizes(checkpoint)
    own = {"encoder": encoder, "decoder": decoder}

    fields, tensors = convert(checkpoint, latent_dim, shape)
    head = checkpoint.stacked(*_heads(checkpoint))
    flip = tensors.pop("flip", None)  # of the latents' order
    if flip is not None:
        head = {kind: torch.cat([part.flip(0) for part in value.split(latent_dim)]) for kind, value in head.items()}
    tensors |= {f"head.{kind}": value for kind, value in head.items()}
    if checkpoint.pop("reconstruction_loss", "mse") == "bce":
        fields["likelihood"] = "bernoulli"
    networks = {}
    maps = (latent_dim, 4, 4) if head["weight"].dim() == 4 else (latent_dim,)  # in the networks for 28 pixels
    for role in own:
        stored = checkpoint.under(f"{role}.")
        if role == "decoder" and (first := next(iter(stored.values()))).dim() == 4 and first.shape[2:] == (1, 1):
            stored[next(iter(stored))] = first.transpose(0, 1)  # 1 x 1, transposed: a linear layer for each place
        found, renamed = _network(checkpoint, role, stored, own[role], shape, maps)
        networks[f"{role}_config"] = found
        tensors |= {f"{role}.{key}": value for key, value in renamed.items()}

    config = AutoGAE.config_class(method)(input_shape=shape, latent_dim=latent_dim, **fields, **networks)
    build = partial(AutoGAE.model_class(method), config, encoder=encoder, decoder=decoder)
    with torch.device("meta"):  # before memory is taken for sizes that the weights may not have
        _compare(build(), tensors, checkpoint)
    model = build().eval()
    model.load_state_dict(tensors, strict=not checkpoint.fresh)
    for key in checkpoint.weights:
        checkpoint.note(f"{key} of {WEIGHTS} has no counterpart, and is left out")
    for key in checkpoint.settings.keys() - IGNORED:
        checkpoint.note(f"{key} of {CONFIG} has no counterpart, and is left out")
    for note in checkpoint.notes:
        logger.warning(f"import of '{name}': {note}")
    model.facts = {"imported": {"from": short, "source": Path(name).name, "notes": checkpoint.notes}}
    return model


IGNORED = {"uses_default_encoder", "uses_default_decoder", "uses_default_discriminator", "uses_default_metric"} | {
    "discriminator_input_dim",
    "embedding_dim",
}


# Reading


def _file(name: str | Path, file: str, token, revision) -> Path:
    path = fetch_file(name, file, token=token, revision=revision)
    if path is None:
        raise OSError(f"there is no {file} in '{name}', so it holds no checkpoint of Pythae")
    return path


def _read_settings(path: Path) -> dict[str, Any]:
    if path.stat().st_size > LARGEST_CONFIG:
        raise ValueError(f"'{path}' has {path.stat().st_size:,} bytes, more than a {CONFIG} can need: it is not read")
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"'{path}' is no JSON: {error}") from error
    if not isinstance(settings, dict):
        raise ValueError(f"'{path}' must hold a JSON object with Pythae's settings")
    return settings


def _read_weights(path: Path, checkpoint: Checkpoint) -> dict[str, Tensor]:
    size = path.stat().st_size
    try:
        with zipfile.ZipFile(path) as records:
            unpacked = sum(record.file_size for record in records.infolist())
        if unpacked > size:
            raise ValueError(f"its {size:,} bytes unpack to {unpacked:,}")
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (
        torch.serialization.pickle.UnpicklingError,
        zipfile.BadZipFile,
        RuntimeError,
        EOFError,
        ValueError,
    ) as error:
        raise ValueError(
            f"'{path}' is damaged, or holds more than tensors, which could run code; it is not loaded "
            f"({str(error).partition(chr(10))[0]})"
        ) from error
    weights = content.get("model_state_dict") if isinstance(content, dict) else None
    if not isinstance(weights, dict) or not all(isinstance(value, Tensor) for value in weights.values()):
        raise ValueError(f"'{path}' must hold tensors by name under 'model_state_dict', as Pythae writes them")
    extra = {key: content[key] for key in ("M", "centroids") if isinstance(content.get(key), Tensor)}  # of RHVAE
    weights = {**weights, **extra}
    for name, weight in weights.items():
        if weight.layout != torch.strided or _bytes(weight) > weight.untyped_storage().nbytes():
            raise ValueError(f"{name} of '{path}', of shape {tuple(weight.shape)}, has more numbers than are stored")
    total = sum(_bytes(weight) for weight in weights.values())
    if total > 2 * size:  # once more is usual: an untrained codebook has its numbers by two names
        raise ValueError(f"the tensors of '{path}' have {total:,} bytes in all, and the file {size:,}")
    return weights


def _bytes(weight: Tensor) -> int:
    return weight.numel() * weight.element_size()


def _sizes(checkpoint: Checkpoint) -> tuple[tuple[int, ...], int]:
    """input_shape and latent_dim; no number of the settings can be larger than the number of weights."""
    most = sum(weight.numel() for weight in checkpoint.weights.values())
    for key, value in checkpoint.settings.items():
        for number in value if isinstance(value, list) else [value]:
            if isinstance(number, int) and number > most:
                raise ValueError(
                    f"{CONFIG} of '{checkpoint.name}' asks for {key} = {number:,}, but {WEIGHTS} has {most:,} numbers "
                    "in all: they do not belong together"
                )
    shape, latent_dim = checkpoint.pop("input_dim"), checkpoint.pop("latent_dim")
    if not isinstance(shape, list) or not all(isinstance(n, int) and n > 0 for n in shape) or prod(shape) > most:
        raise ValueError(f"{CONFIG} of '{checkpoint.name}' needs an input_dim that fits its weights, got {shape}")
    if not isinstance(latent_dim, int):
        raise ValueError(f"{CONFIG} of '{checkpoint.name}' needs a latent_dim, got {latent_dim}")
    return tuple(shape), latent_dim


# Networks


def _heads(checkpoint: Checkpoint) -> list[str]:
    """The last layers of the encoder, in the order of our head, by Pythae's names for them."""
    heads = ("embedding", "log_var", "log_concentration", "pre_qantized")
    found = [f"encoder.{name}" for name in heads if f"encoder.{name}.weight" in checkpoint.weights]
    if not found:
        raise ValueError(
            f"the encoder of '{checkpoint.name}' has none of the layers {', '.join(heads)}; it has "
            + ", ".join(key for key in checkpoint.weights if key.startswith("encoder."))
        )
    return found


def _network(checkpoint, role: str, stored: dict[str, Tensor], own: nn.Module | None, shape, latent_shape):
    """A network's config, and its tensors by our names: the person's own, or one whose parameters look like these."""
    if own is not None:
        expected = own.state_dict()
        renamed = stored if _alike(stored, expected, names=True) else _in_order(stored, expected)
        if renamed is None:
            raise ValueError(_mismatch(checkpoint, role, type(own).__name__, stored, expected))
        return None, renamed
    sizes = {"input_shape": shape} if role == "encoder" else {"output_shape": shape, "latent_shape": latent_shape}
    for spec in NETWORKS:
        config = backbone_config(role, spec)
        try:
            with torch.device("meta"):
                expected = AutoModel.from_config(config, **sizes).state_dict()
        except ValueError:  # not made for images of this shape
            continue
        renamed = _in_order(stored, expected)
        if renamed is not None:
            return config, renamed
    listed = "\n".join(f"  {role}.{key} {tuple(value.shape)}" for key, value in stored.items())
    raise ValueError(
        f"the {role} of '{checkpoint.name}' is none of Pythae's own networks. Pass one that has its parameters as "
        f"{role}=, or --{role} module:Class in a shell. These are to be mapped:\n{listed}"
    )


def _alike(stored: dict[str, Tensor], expected: dict[str, Tensor], names: bool = False) -> bool:
    def signs(tensors):
        return [(key if names else key.rpartition(".")[2], value.shape) for key, value in tensors.items()]

    return sorted(signs(stored)) == sorted(signs(expected)) if names else signs(stored) == signs(expected)


def _in_order(stored: dict[str, Tensor], expected: dict[str, Tensor]) -> dict[str, Tensor] | None:
    """The stored tensors by the expected names, if kinds and shapes agree one by one."""
    return dict(zip(expected, stored.values(), strict=True)) if _alike(stored, expected) else None


def _mismatch(checkpoint, role: str, own: str, stored: dict[str, Tensor], expected: dict[str, Tensor]) -> str:
    def only(one, other):
        lines = [f"  {k} {tuple(v.shape)}" for k, v in one.items() if k not in other or other[k].shape != v.shape]
        return "\n".join(lines) or "  none"

    return (
        f"the {role} of '{checkpoint.name}' does not map onto {own}, neither by name nor in order.\n"
        f"Only in the checkpoint:\n{only(stored, expected)}\nOnly in {own}:\n{only(expected, stored)}"
    )


def _compare(model: GAEPreTrainedModel, tensors: dict[str, Tensor], checkpoint: Checkpoint):
    """Raise ValueError unless these are the tensors of the model, but for those that are to be fresh."""
    expected = {name: value for name, value in model.state_dict().items() if not name.startswith(checkpoint.fresh)}
    faults = [f"{name} is missing" for name in expected.keys() - tensors.keys()]
    faults += [f"{name} is not expected" for name in tensors.keys() - expected.keys()]
    faults += [
        f"{name} has shape {tuple(tensors[name].shape)} instead of {tuple(expected[name].shape)}"
        for name in expected.keys() & tensors.keys()
        if tensors[name].shape != expected[name].shape
    ]
    if faults:
        raise ValueError(
            f"the weights of '{checkpoint.name}' do not fit a {type(model).__name__}: {'; '.join(sorted(faults)[:6])}"
        )


# Methods: the fields of our config, and our tensors beside encoder, head and decoder

Converted = tuple[dict[str, Any], dict[str, Tensor]]


def _vae(c: Checkpoint, latent_dim: int, shape) -> Converted:
    return {}, {}


def _ae(c: Checkpoint, latent_dim: int, shape) -> Converted:
    return {"observation_std": SQUARE_ERROR}, {}


def _beta_vae(c: Checkpoint, latent_dim: int, shape) -> Converted:
    return {"beta": c.pop("beta")}, {}


def _disentangled_beta_vae(c: Checkpoint, latent_dim: int, shape) -> Converted:
    c.note(f"capacity rises over a share of the steps, not over warmup_epoch = {c.pop('warmup_epoch')} epochs")
    return {"beta": c.pop("beta"), "capacity": c.pop("C")}, {}


def _beta_tc_vae(c: Checkpoint, latent_dim: int, shape) -> Converted:
    stratified = c.pop("use_mss")
    if stratified:
        c.note("Pythae puts the stratified weights in the wrong columns: the terms of q(z) differ")
    weights = {name: c.pop(name) for name in ("alpha", "beta", "gamma")}
    return {**weights, "estimator": "stratified" if stratified else "weighted"}, {}


def _factor_vae(c: Checkpoint, latent_dim: int, shape) -> Converted:
    layers = c.under("discriminator.layers.")
    last = max(int(key.partition(".")[0]) for key in layers)
    hidden = [i for i in range(0, last, 2)]
    tensors = {
        f"discriminator.layers.{n}.{kind}": layers[f"{i}.{kind}"]
        for n, i in enumerate(hidden)
        for kind in ("weight", "bias")
    }
    for kind in ("weight", "bias"):  # the log odds of two classes are one number
        tensors[f"discriminator.score.{kind}"] = layers[f"{last}.{kind}"][:1] - layers[f"{last}.{kind}"][1:]
    c.note("Pythae uses each half of a batch for one purpose, and leaks the discriminator's gradient to the encoder")
    return {
        "gamma": c.pop("gamma"),
        "discriminator_hidden_sizes": [len(layers[f"{i}.bias"]) for i in hidden],
    }, tensors


def _kernel(c: Checkpoint) -> dict[str, Any]:
    if (c.pop("scales") or [1.0]) != [0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0] and c.settings["kernel_choice"] == "imq":
        c.note("the kernel has its seven usual scales, and not those of the checkpoint")
    return {"kernel": c.pop("kernel_choice"), "bandwidth": c.pop("kernel_bandwidth")}


def _info_vae(c: Checkpoint, latent_dim: int, shape) -> Converted:
    alpha = c.pop("alpha")
    weight = alpha + c.pop("lbd") - 1
    if weight < 0:
        c.note(f"the MMD had the weight {weight:g}, which rewards a large one; it is 0 now")
    return {"alpha": alpha, "mmd_weight": max(weight, 0.0), **_kernel(c)}, {}


def _wae_mmd(c: Checkpoint, latent_dim: int, shape) -> Converted:
    std = (2 * c.pop("reconstruction_loss_scale")) ** -0.5
    return {"observation_std": std, "mmd_weight": c.pop("reg_weight"), **_kernel(c)}, {}


def _iwae(c: Checkpoint, latent_dim: int, shape) -> Converted:
    c.note(
        "Pythae reports the self-normalised average of the losses in place of the bound; its gradients are the same"
    )
    mixing = {"elbo_weight": c.pop("beta")} if "beta" in c.settings else {}
    return {"num_samples": c.pop("number_samples"), **mixing}, {}


def _miwae(c: Checkpoint, latent_dim: int, shape) -> Converted:
    c.note("Pythae puts the logarithm over the estimates in place of the samples")
    return {"num_samples": c.pop("number_samples"), "num_estimates": c.pop("number_gradient_estimates")}, {}


def _vamp(c: Checkpoint, latent_dim: int, shape) -> Converted:
    if c.pop("linear_scheduling_steps"):
        c.note("the KL's warm-up, in epochs, is left out")
    pixels = (c.take("pseudo_inputs.0.weight").T + c.take("pseudo_inputs.0.bias")).clamp(1e-7, 1 - 1e-7)
    return {"num_components": c.pop("number_components")}, {"pseudo_logits": pixels.logit().view(-1, *shape)}


def _vae_lin_nf(c: Checkpoint, latent_dim: int, shape) -> Converted:
    flows, rows = [name.lower() for name in c.pop("flows")], []
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
            pull = _before_stretch(c, k, torch.nn.functional.softplus(beta) / alpha - 1)
            rows += [pull, (alpha - 1e-6).expm1().log(), centre]
    return {"flows": flows, "amortized": False}, {"flow_parameters": torch.cat(rows).float().unsqueeze(0)}


def _before_stretch(c: Checkpoint, k: int, value: Tensor) -> Tensor:
    """The argument for which `constrain_above_minus_one` gives a value, which must lie above -0.999."""
    if (value <= -0.9989).any():
        c.note(f"step {k} of the flow had no inverse, and so no density: it is moved to the nearest one that has")
        value = value.clamp(min=-0.9989)
    return (value / 0.999 + 1).expm1().log() - log(e - 1)


def _vae_iaf(c: Checkpoint, latent_dim: int, shape) -> Converted:
    num_flows, num_layers, width = c.pop("n_made_blocks"), c.pop("n_hidden_in_made"), c.pop("hidden_size")
    names = ["first", *(f"others.{i}" for i in range(num_layers - 1)), "last"]
    tensors: dict[str, Any] = {}
    for k in range(num_flows):
        theirs = f"iaf_flow.net.{num_flows - 1 - k}.net."  # sampling walks through them from the last
        reverse = (k + num_flows) % 2 == 0  # a step from the last dimension to the first, in their order of them
        for i, name in enumerate(names):
            c.take(f"{theirs}{2 * i}.mask")
            for kind in ("weight", "bias"):
                value = c.take(f"{theirs}{2 * i}.{kind}")
                value = value if name == "last" else _units(value, latent_dim)
                if name != "first" and kind == "weight":
                    value = _units(value.T, latent_dim).T
                if reverse and name == "first" and kind == "weight":
                    value = value.flip(1)
                if reverse and name == "last":
                    value = value.unflatten(0, (2, -1)).flip(1).flatten(0, 1)
                tensors[f"flows.{k}.made.{name}.{kind}"] = value
    if num_flows % 2:
        tensors["flip"] = torch.ones(())
        c.note("the latents before the flow are in the order from last to first")
    sizes = {"num_flows": num_flows, "num_hidden_layers": num_layers, "hidden_size": max(width, latent_dim - 1)}
    kind = {"update": "affine", "activation": "relu", "log_scale_bound": None, "reverse": num_flows % 2 == 0}
    return {**sizes, **kind, "context_size": 0}, tensors


def _units(value: Tensor, latent_dim: int) -> Tensor:
    """A tensor of the hidden units of a MADE, by rising degree as ours are. Pythae's have the degrees 1 to d - 1 in
    turn; where a degree has no unit, ours has one of zeros.

    Raises:
        ValueError: where these would be most of the network: a small file must not take a large memory.
    """
    missing, count = max(0, latent_dim - 1 - len(value)), len(value)
    if missing > 3 * count:
        raise ValueError(
            f"hidden_size = {count} is too narrow for latent_dim = {latent_dim}: most latents are left out"
        )
    value = torch.cat([value, value.new_zeros(missing, *value.shape[1:])])
    return value[(torch.arange(len(value)) % max(1, latent_dim - 1)).argsort(stable=True)]


def _hamiltonian(c: Checkpoint, latent_dim: int, learned: bool, beta_zero: float, steps) -> Converted:
    fields = {"num_leapfrog_steps": c.pop("n_lf"), "learn_step_size": learned, "learn_beta_zero": False}
    step = steps if isinstance(steps, float) else float(steps)
    fields |= {"step_size": step, "max_step_size": max(0.5, 2 * step), "beta_zero": beta_zero}
    logit = log(step / fields["max_step_size"]) - log(1 - step / fields["max_step_size"])
    return fields, {"step_logits": torch.full((latent_dim,), logit)} if learned else {}


def _hvae(c: Checkpoint, latent_dim: int, shape) -> Converted:
    for name in ("eps_lf", "beta_zero", "learn_beta_zero"):
        c.pop(name)
    beta_zero = min(float(c.take("beta_zero_sqrt").square()), 1.0)
    c.note(
        "Pythae draws with another deviation than its entropy has, drops the tempering, and moves by a full momentum"
    )
    return _hamiltonian(c, latent_dim, c.pop("learn_eps_lf"), beta_zero, c.take("eps_lf"))


def _rhvae(c: Checkpoint, latent_dim: int, shape) -> Converted:
    c.pop("beta_zero")
    beta_zero = min(float(c.take("beta_zero_sqrt").square()), 1.0)  # which they have not taken the root of
    fields, tensors = _hamiltonian(c, latent_dim, False, beta_zero, c.pop("eps_lf"))
    centroids, matrices = c.take("centroids"), c.take("M")
    if (torch.linalg.eigvalsh(matrices) < -1e-4).any() or not torch.allclose(matrices, matrices.mT, atol=1e-4):
        c.note("it was saved untrained, with random numbers for its metric, which is the identity at the origin now")
        centroids, matrices = torch.zeros(1, latent_dim), torch.eye(latent_dim).unsqueeze(0)
    tensors |= {"centroids": centroids, "matrices": matrices, "next_place": torch.zeros((), dtype=torch.long)}
    network = "factor_network."
    for kind in ("weight", "bias"):
        tensors[f"{network}1.0.{kind}"] = c.take(f"metric.layers.0.{kind}")
    tensors |= {f"{network}2.{kind}": value for kind, value in c.stacked("metric.diag", "metric.lower").items()}
    for name, parameter in (("temperature", "temperature"), ("metric_regularization", "lbd")):
        c.pop(name)
        fields[name] = float(c.take(parameter))
    c.note("Pythae leaves out half of log det G, and draws the momentum from another matrix than G(z_0)")
    sizes = [len(tensors[f"{network}1.0.bias"])]
    return {**fields, "num_centroids": len(centroids), "metric_hidden_sizes": sizes}, tensors


def _discriminator(c: Checkpoint) -> tuple[list[int], dict[str, Tensor]]:
    """Hidden sizes and tensors of a discriminator of linear layers, "layers.0.0" to "layers.n.0"."""
    layers = c.under("discriminator.layers.")
    last = max(int(key.partition(".")[0]) for key in layers)
    tensors = {
        f"discriminator.{'score' if i == last else f'layers.{i}'}.{kind}": layers[f"{i}.0.{kind}"]
        for i in range(last + 1)
        for kind in ("weight", "bias")
    }
    return [len(layers[f"{i}.0.bias"]) for i in range(last)], tensors


def _aae(c: Checkpoint, latent_dim: int, shape) -> Converted:
    sizes, tensors = _discriminator(c)
    scale, weight = c.pop("reconstruction_loss_scale"), c.pop("adversarial_loss_scale")
    fields = {"observation_std": scale**-0.5, "adversarial_weight": weight, "discriminator_hidden_sizes": sizes}
    if c.settings.get("reconstruction_loss") == "bce":
        fields |= {"observation_std": 1.0, "adversarial_weight": weight / scale}
    if c.pop("deterministic_posterior"):
        c.stacked("encoder.log_var")  # not used
        fields["posterior"] = "deterministic"
    return fields, tensors


def _vae_gan(c: Checkpoint, latent_dim: int, shape) -> Converted:
    fields = {"reconstruction_weight": 1 - c.pop("adversarial_loss_scale"), "discriminator_slope": 0.0}
    fields |= {name: c.pop(name) for name in ("equilibrium", "margin")}
    layer, first = c.pop("reconstruction_layer"), c.weights.get("discriminator.layers.0.0.weight")
    c.note("Pythae's decoder helps its discriminator, which does not see reconstructions")
    if first is None or first.dim() != 2:
        c.under("discriminator.")
        c.fresh = ("discriminator.",)
        c.note("its discriminator is none that gae_hub has: a further training starts with a fresh one")
        return fields, {}
    sizes, tensors = _discriminator(c)
    if not 1 <= layer <= len(sizes):
        c.note(f"images are compared by layer {len(sizes)} of the discriminator, and not by its answer, layer {layer}")
        layer = len(sizes)
    return {
        **fields,
        "discriminator_layers": "linear",
        "discriminator_channels": sizes,
        "feature_layer": layer,
    }, tensors


def _vq_vae(c: Checkpoint, latent_dim: int, shape) -> Converted:
    ema, codes = c.pop("use_ema"), None
    if ema:
        codes, counts = c.take("quantizer.embeddings"), c.take("quantizer.cluster_size")
        c.take("quantizer.ema_embed")
    else:
        codes = c.take("quantizer.embeddings.weight")
        counts = torch.ones(len(codes))
    scalar = codes.shape[1] == 1 and latent_dim > 1
    tokens = latent_dim if scalar else latent_dim * 16  # maps are of 4 x 4 in the networks that are recognised
    c.note("Pythae 0.1.2 averages the quantizer's terms over their numbers: the weights are divided by as many")
    fields = {
        "observation_std": SQUARE_ERROR,
        "num_embeddings": c.pop("num_embeddings"),
        "latent_layout": "scalar" if scalar else "spatial",
        "ema_decay": c.pop("decay"),
        "codebook_update": "ema" if ema else "gradient",
        "commitment_weight": c.pop("commitment_loss_factor") / tokens,
        "codebook_weight": c.pop("quantization_loss_factor") / tokens,
    }
    ready = torch.ones((), dtype=torch.bool)
    return fields, {"codebook.codes": codes, "codebook.counts": counts, "codebook.initialized": ready}


def _msssim_vae(c: Checkpoint, latent_dim: int, shape) -> Converted:
    c.note("Pythae takes one MS-SSIM of the whole batch, with the last level too often in its product")
    return {"beta": prod(shape) * c.pop("beta"), "window_size": c.pop("window_size")}, {}


def _poincare_vae(c: Checkpoint, latent_dim: int, shape) -> Converted:
    c.take("_pz_mu")
    fields = {"prior_scale": float(c.take("_pz_logvar").exp()), "curvature": c.pop("curvature"), "coordinates": "ball"}
    return {**fields, "prior": c.pop("prior_distribution"), "posterior": c.pop("posterior_distribution")}, {}


def _rae_l2(c: Checkpoint, latent_dim: int, shape) -> Converted:
    c.note("the decoder's L2 penalty was a weight decay in Pythae's optimizer; here it is a term of the loss")
    fields = {"embedding_weight": c.pop("embedding_weight"), "decoder_penalty_weight": c.pop("reg_weight") / 2}
    return {"observation_std": SQUARE_ERROR, **fields}, {}


def _rae_gp(c: Checkpoint, latent_dim: int, shape) -> Converted:
    c.note("Pythae penalises the gradient of the sum of all pixels by the image, not the decoder's Jacobian")
    fields = {"embedding_weight": c.pop("embedding_weight"), "decoder_penalty_weight": c.pop("reg_weight")}
    return {"observation_std": SQUARE_ERROR, **fields}, {}


METHODS: dict[str, tuple[str, Callable[[Checkpoint, int, tuple[int, ...]], Converted]]] = {
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
"""Pythae's name to ours, and to what converts its settings and tensors."""
