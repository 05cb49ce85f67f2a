"""The "Limitations" section of a model card: what the model's numbers mean, and what can go wrong with it."""

__all__ = ["list_limitations"]

from typing import Any

from ...models.base import GAEPreTrainedModel
from .escaping import Verbatim, code, escape

MAX_ENTRIES = 12  # dimensions, warnings and divergences that are listed


def list_limitations(model: GAEPreTrainedModel, facts: dict[str, Any]) -> list[Verbatim]:
    """Sentences for the card, in Markdown. `facts` has every name in `FACT_CHECKS`."""
    limitations = [_about_likelihood(model)]
    if facts["latents"]:
        limitations += _about_latents(facts["latents"])
    if facts["dataset"]:
        limitations.append(
            f"The model was trained on {code(facts['dataset'])} only. It reconstructs other inputs as if they came "
            "from this data set."
        )
    for name, warning in list((facts["warnings"] or {}).items())[:MAX_ENTRIES]:
        limitations.append(f"Warning at the last evaluation of the training, {escape(name)}: {escape(warning)}.")
    if facts["divergences"]:
        events = "; ".join(
            f"at step {event['step']} in {escape(event['term'])} (restored: step {event['restored_step']})"
            for event in facts["divergences"][:MAX_ENTRIES]
        )
        limitations.append(
            f"Training diverged {events}. Each time it continued from the restored step with a smaller learning rate."
        )
    return [Verbatim(limitation) for limitation in limitations]


def _about_likelihood(model: GAEPreTrainedModel) -> str:
    if type(model).estimate_log_likelihood is GAEPreTrainedModel.estimate_log_likelihood:
        return (
            "The method has no likelihood: `log_likelihood` raises NotImplementedError, and losses are not bounds on "
            "log p(x)."
        )
    return model.likelihood.describe()


def _about_latents(latents: dict[str, Any]) -> list[str]:
    total, active = len(latents["order"]), latents["active_units"]
    unused = ""
    if active < total:
        verbs = "has collapsed and carries" if total - active == 1 else "have collapsed and carry"
        unused = f"; {total - active} {verbs} no information"
    title = {"kl": "KL to the prior by dimension, in nats", "variance": "Variance of the embeddings by dimension"}
    values = ", ".join(f"{value:.3g}" for value in latents["values"][:MAX_ENTRIES])
    return [
        f"{active} of {total} latent dimensions are active on {latents['num_images']} images (variance of the "
        f"posterior mean above 0.01){unused}.",
        f"{title[latents['by']]}: {values}{', and smaller values' if total > MAX_ENTRIES else ''}.",
    ]
