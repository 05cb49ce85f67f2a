"""Write the tables of docs/choose/from_pythae.md from Pythae and gae_hub: python scripts/compare_pythae.py.

`pip install pythae==0.1.2` first. The script fails if a name in its tables does not exist in one of the packages, or
if a setting of Pythae is in no table.
"""

import logging
import warnings
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pythae.models as pythae_models
import pythae.pipelines as pythae_pipelines
import pythae.samplers as pythae_samplers
import pythae.trainers as pythae_trainers
from marked_tables import replace_table
from pythae_measures import config_of, measure_calls, measure_gradients, measure_losses

import gae_hub
from gae_hub import AutoGAE
from gae_hub.conversion.pythae.methods import METHODS

PAGE = Path(__file__).parents[1] / "docs" / "choose" / "from_pythae.md"

# Pythae's setting to our field, by Pythae's method or sampler; None if there is none
HAMILTONIAN = {"n_lf": "num_leapfrog_steps", "eps_lf": "step_size", "beta_zero": "beta_zero"}
IMPORTANCE = {"number_samples": "num_samples"}
ESTIMATES = IMPORTANCE | {"number_gradient_estimates": "num_estimates"}
KERNEL = {"kernel_choice": "kernel", "kernel_bandwidth": "bandwidth", "scales": None}
RAE = {"embedding_weight": "embedding_weight", "reg_weight": "decoder_penalty_weight"}
SETTINGS: dict[str, dict[str, str | None]] = {
    "AE": {},
    "VAE": {},
    "BetaVAE": {"beta": "beta"},
    "DisentangledBetaVAE": {"beta": "beta", "C": "capacity", "warmup_epoch": "capacity_warmup_fraction"},
    "BetaTCVAE": {"alpha": "alpha", "beta": "beta", "gamma": "gamma", "use_mss": "estimator"},
    "FactorVAE": {"gamma": "gamma"},
    "INFOVAE_MMD": {"alpha": "alpha", "lbd": "mmd_weight", **KERNEL},
    "WAE_MMD": {"reg_weight": "mmd_weight", "reconstruction_loss_scale": "observation_std", **KERNEL},
    "IWAE": {**IMPORTANCE},
    "CIWAE": {**IMPORTANCE, "beta": "elbo_weight"},
    "MIWAE": {**ESTIMATES},
    "PIWAE": {**ESTIMATES},
    "VAMP": {"number_components": "num_components", "linear_scheduling_steps": "kl_warmup_fraction"},
    "VAE_LinNF": {"flows": "flows"},
    "VAE_IAF": {"n_made_blocks": "num_flows", "n_hidden_in_made": "num_hidden_layers", "hidden_size": "hidden_size"},
    "HVAE": {**HAMILTONIAN, "learn_eps_lf": "learn_step_size", "learn_beta_zero": "learn_beta_zero"},
    "RHVAE": {**HAMILTONIAN, "temperature": "temperature", "regularization": "metric_regularization"},
    "Adversarial_AE": {
        "adversarial_loss_scale": "adversarial_weight",
        "reconstruction_loss_scale": "observation_std",
        "deterministic_posterior": "posterior",
    },
    "VAEGAN": {
        "adversarial_loss_scale": "reconstruction_weight",
        "reconstruction_layer": "feature_layer",
        "equilibrium": "equilibrium",
        "margin": "margin",
    },
    "VQVAE": {
        "num_embeddings": "num_embeddings",
        "commitment_loss_factor": "commitment_weight",
        "quantization_loss_factor": "codebook_weight",
        "use_ema": "codebook_update",
        "decay": "codebook_decay",
    },
    "MSSSIM_VAE": {"beta": "beta", "window_size": "window_size"},
    "SVAE": {},
    "PoincareVAE": {"prior_distribution": "prior", "posterior_distribution": "posterior", "curvature": "curvature"},
    "RAE_L2": {**RAE},
    "RAE_GP": {**RAE},
}
COMMON = {"input_dim": "input_shape", "latent_dim": "latent_dim", "reconstruction_loss": "likelihood"}
INTERNAL = {  # settings that Pythae writes for itself
    "name",
    "uses_default_encoder",
    "uses_default_decoder",
    "uses_default_discriminator",
    "uses_default_metric",
    "discriminator_input_dim",
}
RELATIONS = {
    ("INFOVAE_MMD", "lbd"): "alpha + lbd - 1",
    ("WAE_MMD", "reconstruction_loss_scale"): "(2 scale) ** -0.5",
    ("Adversarial_AE", "reconstruction_loss_scale"): "scale ** -0.5",
    ("VAEGAN", "adversarial_loss_scale"): "1 - scale",
    ("MSSSIM_VAE", "beta"): "beta * number of pixels",
    ("RAE_L2", "reg_weight"): "reg_weight / 2",
}

FLOWS = {"n_made_blocks": "num_flows", "n_hidden_in_made": "num_hidden_layers", "hidden_size": "hidden_size"}
SAMPLERS: dict[str, tuple[str, dict[str, str | None]]] = {
    "NormalSampler": ("PriorSampler", {}),
    "VAMPSampler": ("PriorSampler", {}),
    "HypersphereUniformSampler": ("PriorSampler", {}),
    "PoincareDiskSampler": ("PriorSampler", {}),
    "GaussianMixtureSampler": ("GaussianMixtureSampler", {"n_components": "num_components"}),
    "MAFSampler": ("MAFSampler", {**FLOWS, "include_batch_norm": "batch_norm"}),
    "IAFSampler": ("IAFSampler", {**FLOWS, "include_batch_norm": "batch_norm"}),
    "TwoStageVAESampler": (
        "TwoStageVAESampler",
        {"second_stage_depth": "hidden_sizes", "second_layers_dim": "hidden_sizes", "reconstruction_loss": None},
    ),
    "PixelCNNSampler": ("PixelCNNSampler", {"n_layers": "num_hidden_layers", "kernel_size": "kernel_size"}),
    "RHVAESampler": (
        "RHVAEManifoldSampler",
        {"mcmc_steps_nbr": "num_steps", "n_lf": "num_leapfrog_steps", "eps_lf": None, "beta_zero": None},
    ),
}

# Pythae's setting to ours, and what else to know
TRAINING: dict[str, tuple[str | None, str]] = {
    "output_dir": ("output_dir", "Pythae adds a folder with the date"),
    "num_epochs": ("num_train_epochs", ""),
    "per_device_train_batch_size": ("per_device_train_batch_size", ""),
    "per_device_eval_batch_size": ("per_device_eval_batch_size", ""),
    "learning_rate": ("learning_rate", "Pythae ignores it for methods with several optimizers"),
    "optimizer_cls": ("optim", ""),
    "optimizer_params": ("optim_args", "or `weight_decay`, `adam_beta1`, ..."),
    "scheduler_cls": ("lr_scheduler_type", ""),
    "scheduler_params": ("lr_scheduler_kwargs", ""),
    "steps_saving": ("save_steps", "counted in epochs in Pythae; here `save_strategy` names the unit"),
    "steps_predict": ("image_interval", "counted in evaluations"),
    "keep_best_on_train": (None, "`load_best_model_at_end=False` keeps the last model"),
    "train_dataloader_num_workers": ("dataloader_num_workers", ""),
    "eval_dataloader_num_workers": ("dataloader_num_workers", ""),
    "seed": ("seed", "Pythae sets it after the weights are drawn; call `set_seed` before you build a model"),
    "no_cuda": ("use_cpu", ""),
    "amp": ("bf16", ""),
    "world_size": (None, "`accelerate launch` or `torchrun` sets it"),
    "rank": (None, "the same"),
    "local_rank": (None, "the same"),
    "dist_backend": ("ddp_backend", ""),
    "master_addr": (None, "`accelerate launch` or `torchrun` sets it"),
    "master_port": (None, "the same"),
}
GROUPS = ("autoencoder", "discriminator", "encoder", "decoder")
GROUP_SETTINGS = ("optimizer_cls", "optimizer_params", "scheduler_cls", "scheduler_params", "learning_rate")

# attribute of Pythae, ours, and what else to know
CALLS = (
    ("models.AutoModel.load_from_folder", "AutoGAE.from_pretrained", "a folder or a name on the Hub"),
    ("models.AutoModel.load_from_hf_hub", "AutoGAE.from_pretrained", "never loads pickle"),
    ("models.BaseAE.save", "GAEPreTrainedModel.save_pretrained", ""),
    ("models.BaseAE.push_to_hf_hub", "GAEPreTrainedModel.push_to_hub", ""),
    ("models.BaseAE.forward", "GAEPreTrainedModel.forward", '`model(x)` instead of `model({"data": x})`'),
    ("models.BaseAE.embed", "GAEPreTrainedModel.embed", "means; `sample=True` draws, as Pythae does"),
    ("models.BaseAE.reconstruct", "GAEPreTrainedModel.reconstruct", "decodes means; Pythae decodes draws"),
    ("models.BaseAE.predict", "GAEPreTrainedModel.reconstruct", ""),
    ("models.BaseAE.interpolate", "GAEPreTrainedModel.interpolate", "`num_steps` instead of `granularity`"),
    ("models.VAE.get_nll", "GAEPreTrainedModel.log_likelihood", "both return the log-likelihood, ours one per image"),
    ("trainers.BaseTrainer", "GAETrainer", "one trainer for all methods"),
    ("trainers.AdversarialTrainer", "GAETrainer", ""),
    ("trainers.CoupledOptimizerTrainer", "GAETrainer", ""),
    ("trainers.CoupledOptimizerAdversarialTrainer", "GAETrainer", ""),
    ("pipelines.TrainingPipeline", "TrainingPipeline", "takes arguments, trains, saves, returns the model"),
    ("pipelines.GenerationPipeline", "GenerationPipeline", "takes a fitted sampler; Pythae fits one in each call"),
    ("samplers.GaussianMixtureSampler.fit", "GaussianMixtureSampler.fit_to", "`sampler.fit_to(model, train)`"),
    ("samplers.GaussianMixtureSampler.sample", "GAEPreTrainedModel.generate", "`model.generate(n, sampler=sampler)`"),
    ("samplers.GaussianMixtureSampler.save", "GaussianMixtureSampler.save_pretrained", "Pythae saves settings only"),
)
PACKAGES: Mapping[str, Any] = {
    "models": pythae_models,
    "trainers": pythae_trainers,
    "pipelines": pythae_pipelines,
    "samplers": pythae_samplers,
}


def write_calls() -> str:
    """Classes and functions of both packages."""
    rows = []
    for theirs, ours, note in CALLS:
        package, *path = theirs.split(".")
        _find(PACKAGES[package], path)
        _find(gae_hub, ours.split("."))
        rows.append(f"| `{'.'.join(path)}` | `{ours}` | {note} |")
    return _table("| Pythae | gae_hub | note |", rows)


def _find(owner: Any, path: list[str]):
    for name in path:
        owner = getattr(owner, name)


def write_methods() -> str:
    """Methods and their settings, with the defaults of both packages."""
    if SETTINGS.keys() != METHODS.keys():
        raise ValueError(f"SETTINGS must have the methods of the conversion: {SETTINGS.keys() ^ METHODS.keys()}")
    rows = []
    for method, names in SETTINGS.items():
        ours = AutoGAE.config_class(METHODS[method][0])
        pairs = _pair_settings(method, config_of(method), ours, {**COMMON, **names}, shown=names)
        rows.append(f"| `{method}` | `{AutoGAE.model_class(METHODS[method][0]).__name__}` | {pairs} |")
    return _table("| Pythae | gae_hub | settings (defaults) |", rows)


def write_samplers() -> str:
    """Samplers and their settings."""
    found = {name for name in pythae_samplers.__all__ if not name.endswith("Config") and name != "BaseSampler"}
    if found != SAMPLERS.keys():
        raise ValueError(f"SAMPLERS must have the samplers of Pythae: {found ^ SAMPLERS.keys()}")
    rows = []
    for theirs, (ours, names) in SAMPLERS.items():
        config = getattr(pythae_samplers, f"{theirs}Config")
        sampler = getattr(gae_hub, ours)
        pairs = _pair_settings(theirs, config, sampler.config_class, names, shown=names)
        rows.append(f"| `{theirs}` | `{ours}` | {pairs} |")
    return _table("| Pythae | gae_hub | settings (defaults) |", rows)


def _pair_settings(
    owner: str, theirs: type, ours: type, names: Mapping[str, str | None], shown: Mapping[str, str | None]
) -> str:
    """Settings of Pythae and the fields that replace them, in one cell."""
    old, new = _defaults(theirs), _defaults(ours)
    unknown = (old.keys() - names.keys() - INTERNAL) | (shown.keys() - old.keys())
    unknown |= {name for name in names.values() if name is not None and name not in new}
    if unknown:
        raise ValueError(f"{owner}: {', '.join(sorted(unknown))} is in only one of a package and this script's table")
    cells = []
    for setting, field in shown.items():
        relation = RELATIONS.get((owner, setting))
        target = "none" if field is None else f"`{field}` ({_show(new[field])})"
        cells.append(f"`{setting}` ({_show(old[setting])}) → {target}" + (f" = {relation}" if relation else ""))
    return "<br>".join(cells)


def _show(default: Any) -> str:
    return ", ".join(map(str, default)) if isinstance(default, (list, tuple)) else str(default)


def _defaults(config: type) -> dict[str, Any]:
    found = {}
    for field in fields(config):  # pyright: ignore[reportArgumentType] (both packages use dataclasses)
        made = field.default_factory
        found[field.name] = made() if made is not MISSING else field.default
    return found


def write_training() -> str:
    """Settings of training."""
    old, new = _defaults(pythae_trainers.BaseTrainerConfig), _defaults(gae_hub.GAETrainingArguments)
    if (old.keys() - {"name"}) != TRAINING.keys():
        raise ValueError(f"TRAINING must have the settings of BaseTrainerConfig: {old.keys() ^ TRAINING.keys()}")
    rows = []
    for setting, (field, note) in TRAINING.items():
        target = "" if field is None else f"`{field}={new[field]!r}`"
        rows.append(f"| `{setting}={old[setting]!r}` | {target} | {note} |")
    all_groups = _defaults(pythae_trainers.CoupledOptimizerAdversarialTrainerConfig) | _defaults(
        pythae_trainers.AdversarialTrainerConfig
    )
    described = {f"{group}_{setting}" for group in GROUPS for setting in GROUP_SETTINGS}
    missing = described ^ (all_groups.keys() - old.keys())
    if missing:
        raise ValueError(f"GROUPS and GROUP_SETTINGS do not describe {sorted(missing)}")
    rate = all_groups["discriminator_learning_rate"]
    rows.append(
        f"| `discriminator_learning_rate={rate!r}`, and of other groups | `group_learning_rates=None` | "
        '`{"discriminator": 1e-4}`; groups that are not named use `learning_rate` |'
    )
    return _table("| Pythae | gae_hub | note |", rows)


def write_losses(folder: Path) -> str:
    """The loss of the same weights in both packages."""
    rows = [
        f"| `{loss.method}` | {loss.pythae:#.4g} | {loss.gae_hub:#.4g} | {loss.gae_hub / loss.pythae:.3f} | "
        f"{'; '.join(loss.reasons)} |"
        for loss in measure_losses(folder)
    ]
    return _table("| method | Pythae | gae_hub | gae_hub / Pythae | what differs |", rows, "|---|---:|---:|---:|---|")


def write_gradients() -> str:
    """What Pythae's trainers apply to networks."""
    rows = [
        f"| `{row.method}` | {row.network} | `{row.own_loss}` | {row.own_weight:.2f} | `{row.other_loss}` | "
        f"{'does not depend on it' if row.other_weight is None else f'{row.other_weight:.2f}'} |"
        for row in measure_gradients()
    ]
    head = "| method | network | its loss | weight applied | loss of another network | weight applied |"
    return _table(head, rows, "|---|---|---|---:|---|---:|")


def write_other(folder: Path) -> str:
    """Other measured differences. Needs the checkpoints of `write_losses`."""
    rows = [f"| {name} | {theirs} | {ours} |" for name, (theirs, ours) in measure_calls(folder).items()]
    return _table("| measured | Pythae | gae_hub |", rows, "|---|---:|---:|")


def _table(head: str, rows: list[str], line: str | None = None) -> str:
    return "\n".join([head, line or "|" + "---|" * (head.count("|") - 1), *rows])


def write_tables() -> dict[str, str]:
    """All tables of the page, by name."""
    names: dict[str, Callable[[], str]] = {
        "calls": write_calls,
        "methods": write_methods,
        "training": write_training,
        "samplers": write_samplers,
        "gradients": write_gradients,
    }
    tables = {name: write() for name, write in names.items()}
    with TemporaryDirectory() as folder:
        return tables | {"losses": write_losses(Path(folder)), "other": write_other(Path(folder))}


def update(page: str, tables: Mapping[str, str]) -> str:
    """The page with new tables between their marks.

    Raises:
        ValueError: if the page lacks the marks of a table.
    """
    for name, table in tables.items():
        page = replace_table(page, name, table, Path(__file__).name)
    return page


if __name__ == "__main__":
    warnings.filterwarnings("ignore")  # Pythae's, of pydantic and torch
    logging.disable(logging.WARNING)
    PAGE.write_text(update(PAGE.read_text(encoding="utf-8"), write_tables()), encoding="utf-8")
