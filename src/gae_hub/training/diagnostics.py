"""Signs that a run does not learn what it should, from the metrics of an evaluation, and what usually helps."""

__all__ = ["HealthCallback", "findings"]

from collections.abc import Mapping

from transformers import TrainerCallback
from transformers.utils import logging

logger = logging.get_logger(__name__)

FIRST_LOOK = 0.25  # share of training before which everything is still moving


def findings(metrics: Mapping, config) -> dict[str, str]:
    """What is unusual, by name: what was seen, and what usually helps.

    Args:
        metrics: what `GAETrainer.evaluate()` returns.
        config: the model's config.
    """
    found, get = {}, lambda name: metrics.get(f"eval_{name}")
    active, kl = get("active_units"), get("kl_per_dimension")
    if active is not None and active < 0.25 * config.latent_dim:
        in_use = f", {sum(value > 0.01 for value in kl)} carry more than 0.01 nats" if kl else ""
        found["posterior collapse"] = (
            f"{active:.1f} of {config.latent_dim} latent dimensions are in use (their mean varies over the images by "
            f"more than 0.01{in_use}). Usually helps: a smaller weight of the KL or observation_std, "
            "kl_warmup_fraction, or a smaller latent_dim"
        )
    dead = get("dead_codes")
    if dead is not None and dead > 0.5 * config.num_embeddings:
        found["dead codes"] = (
            f"{dead:.0f} of {config.num_embeddings} codes are used by hardly any token (perplexity "
            f"{get('perplexity'):.1f}). Usually helps: fewer num_embeddings, larger batches, a larger "
            "revival_threshold"
        )
    accuracy = get("discriminator_accuracy")
    if accuracy is not None and not 0.4 < accuracy < 0.97:
        who = "always right: its gradients say little" if accuracy > 0.5 else "mostly wrong: it learns too slowly"
        rate = "smaller" if accuracy > 0.5 else "larger"
        found["one-sided discriminator"] = (
            f"the discriminator is {who} (accuracy {accuracy:.2f}). Usually helps: a {rate} learning rate for it, "
            'group_learning_rates={"discriminator": ...}'
        )
    size = get("latent_rms")
    if size is not None and size > 100:
        found["exploding latents"] = (
            f"latents have a root mean square of {size:.3g}. Usually helps: a penalty on them (embedding_weight, a KL "
            "or MMD), a smaller learning_rate, max_grad_norm"
        )
    return found


class HealthCallback(TrainerCallback):
    """Warns once of each finding, from a quarter of the training on; `last` holds those of the newest evaluation."""

    def __init__(self):
        self.last: dict[str, str] = {}
        self.warned: set[str] = set()

    def on_evaluate(self, args, state, control, metrics=None, model=None, **kwargs):
        self.last = findings(metrics or {}, model.config)
        if not state.is_world_process_zero or state.global_step < FIRST_LOOK * state.max_steps:
            return
        for name in self.last.keys() - self.warned:
            self.warned.add(name)
            logger.warning(f"{name} at step {state.global_step}: {self.last[name]}")
