"""Warnings about a run that learns badly, from the metrics of an evaluation, each with the usual remedy."""

__all__ = ["DiagnosticsCallback", "diagnose"]

import json
from collections.abc import Mapping
from typing import Any

from transformers import PreTrainedConfig, TrainerCallback
from transformers.trainer_callback import ExportableState
from transformers.utils import logging

logger = logging.get_logger(__name__)

_FIRST_WARNING = 0.25  # share of training before which metrics still change too much for most warnings
_AT_ONCE = {"exploding latents"}  # the networks behind them have often died, and the rest of the run is lost


def diagnose(metrics: Mapping[str, Any], config: PreTrainedConfig) -> dict[str, str]:
    """Warnings about a run, by name: what was observed, and the usual remedy. Empty if nothing is unusual.

    Args:
        metrics: as `GAETrainer.evaluate()` returns them.
        config: the model's config.
    """
    warnings: dict[str, str] = {}

    active_units, kl = metrics.get("eval_active_units"), metrics.get("eval_kl_per_dimension")
    if active_units is not None and active_units < 0.25 * config.latent_dim:
        informative = f", {sum(value > 0.01 for value in kl)} carry more than 0.01 nats" if kl else ""
        warnings["posterior collapse"] = (
            f"{active_units:.0f} of {config.latent_dim} latent dimensions are in use (their mean has a variance "
            f"above 0.01 over the images{informative}). Usual remedy: a smaller KL weight or observation_std, "
            "kl_warmup_fraction, or a smaller latent_dim; if all reconstructions are alike, max_grad_norm=1"
        )

    dead_codes, perplexity = metrics.get("eval_dead_codes"), metrics.get("eval_perplexity")
    per_token = getattr(config, "num_levels", 1) * getattr(config, "num_groups", 1)
    if dead_codes is not None and dead_codes > 0.5 * per_token * config.num_embeddings:
        warnings["dead codes"] = (
            f"{dead_codes:.0f} of {per_token * config.num_embeddings} codes are hardly used (perplexity "
            f"{perplexity:.1f}). Usual remedy: fewer num_embeddings, larger batches, or a larger "
            "revival_threshold"
        )

    elif perplexity is not None and perplexity < max(
        min(2, 0.6 * config.num_embeddings), 0.01 * config.num_embeddings
    ):
        warnings["codebook collapse"] = (
            f"nearly all tokens have the same codes of {config.num_embeddings} (perplexity "
            f"{perplexity:.1f}). Usual remedy: a smaller learning_rate, max_grad_norm=1, or a larger "
            f"{'revival_threshold' if dead_codes is not None else 'entropy_weight, if the quantizer has one'}"
        )

    accuracy = metrics.get("eval_discriminator_accuracy")
    if accuracy is not None and not 0.4 < accuracy < 0.97:
        problem, rate = (
            ("nearly always right, so its gradients carry little information", "smaller")
            if accuracy > 0.5
            else ("mostly wrong, because it learns too slowly", "larger")
        )
        warnings["one-sided discriminator"] = (
            f"the discriminator is {problem} (accuracy {accuracy:.2f}). Usual remedy: a {rate} learning rate for it, "
            'group_learning_rates={"discriminator": ...}'
        )

    latent_rms = metrics.get("eval_latent_rms")
    if latent_rms is not None and latent_rms > 100:
        warnings["exploding latents"] = (
            f"latents have a root mean square of {latent_rms:.3g}. Usual remedy: train again with max_grad_norm=1, a "
            "smaller learning_rate, or a penalty on latents (embedding_weight, a KL or MMD)"
        )
    return warnings


class DiagnosticsCallback(TrainerCallback, ExportableState):
    """Logs each warning of `diagnose` once, also in a run that is resumed.

    Exploding latents are named at the first evaluation that finds them, all others after a quarter of the training.

    Attributes:
        warnings: of the newest evaluation, by name.
    """

    def __init__(self):
        self.warnings: dict[str, str] = {}
        self._already_logged: set[str] = set()

    @property
    def record(self) -> str:
        """The warnings, and the names of those that were logged, as JSON."""
        return json.dumps({"warnings": self.warnings, "already_logged": sorted(self._already_logged)})

    @record.setter
    def record(self, text: str):
        found = json.loads(text)
        self.warnings, self._already_logged = found["warnings"], set(found["already_logged"])

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds of it: one text, since the structure of states is checked when a run is resumed."""
        return {"args": {}, "attributes": {"record": self.record}}

    def on_evaluate(self, args, state, control, metrics=None, model: Any = None, **kwargs):
        self.warnings = diagnose(metrics or {}, model.config)
        if not state.is_world_process_zero:
            return
        is_early = state.global_step < _FIRST_WARNING * state.max_steps
        due = self.warnings.keys() & _AT_ONCE if is_early else self.warnings.keys()
        for name in due - self._already_logged:
            self._already_logged.add(name)
            logger.warning(f"{name} at step {state.global_step}: {self.warnings[name]}")
