"""What the records of cells say beside numbers: why one is missing, how time was measured, troubles of training."""

__all__ = [
    "REMEDY",
    "SHARED_TIME",
    "count_divergences",
    "describe_extractors",
    "describe_troubles",
    "explain_missing",
    "timing_passport",
    "training_warnings",
    "warn_of_extractors",
]

from collections.abc import Iterable, Sequence
from typing import Any

from .results import CellResult, StudyResults

MIN_SKILL = 0.5  # as that of `metrics.networks.classifier`, which would load torch
CHANCE = 0.05  # largest skill that is called chance
REMEDY = (
    "train it for longer, with extractor: {num_train_epochs: 50} in the study file (default: 10), or on more images"
)
"""How to improve the extractor that a study trains."""

SHARED_TIME = (
    "Models that train together run as one batch: their time is that of the batch, divided by its number of models."
)


# Missing numbers


def explain_missing(results: StudyResults, cells: Sequence[CellResult], number: str) -> str | None:
    """Why done cells do not have a number; None if no record says it.

    Args:
        results: results of the study.
        cells: the seeds of a configuration.
        number: name of the number, "generation/gmm/fid/test".
    """
    task, *rest = number.split("/")
    sampler = rest[0] if task == "generation" and len(rest) == 3 else None
    own = results.methods[cells[0].method].get("samplers")
    if sampler is not None and own and sampler not in own:
        return f"the method is not sampled with {sampler}"
    for name in (task, f"{task}/{rest[-2]}" if len(rest) > 1 else task):
        if reason := results.omitted(name, cells[0].dataset):
            return reason
    step = f"{task}/{sampler}" if sampler else task
    reasons = [cell.facts.get("skipped_steps", {}).get(step) for cell in cells]
    return next(filter(None, reasons), None)


# Training


def timing_passport(cells: Sequence[CellResult]) -> dict[str, Any]:
    """How the time of the training was measured. Times of unlike passports cannot be compared."""
    together = sorted({int(cell.facts.get("trained_together", 1)) for cell in cells})
    devices = sorted({str(cell.facts["device"]) for cell in cells if cell.facts.get("device")})
    settings = {"models trained together": together[0] if len(together) == 1 else together}
    return {"metric": "seconds", "settings": settings | ({"device": ", ".join(devices)} if devices else {})}


def describe_troubles(cells: Iterable[CellResult]) -> list[str]:
    """A sentence for each kind of trouble that trainings had, with the cells that had it.

    Divergences are named first, as "Training diverged, ...: beta-VAE 2 (mlp, digits, 8, seed 0), 1 time.", then each
    warning of `gae_hub.training.diagnostics`, as "The trainer warned of posterior collapse: ...".
    """
    diverged: list[str] = []
    warned: dict[str, list[str]] = {}
    for cell in cells:
        name = f"{cell.method} {cell.configuration}"
        name += f" ({cell.network}, {cell.dataset}, {cell.latent_dim}, seed {cell.seed})"
        if number := count_divergences([cell]):
            diverged.append(f"{name}, {number} time{'s' if number > 1 else ''}")
        for warning in training_warnings([cell]):
            warned.setdefault(warning, []).append(name)
    sentences = {"Training diverged, and went on from its last good state with a smaller learning rate": diverged}
    sentences |= {f"The trainer warned of {warning}": names for warning, names in sorted(warned.items())}
    return [f"{start}: {'; '.join(dict.fromkeys(names))}." for start, names in sentences.items() if names]


def count_divergences(cells: Iterable[CellResult]) -> int:
    """How often the training of these cells diverged."""
    return sum(cell.facts.get("divergences", 0) for cell in cells)


def training_warnings(cells: Iterable[CellResult]) -> list[str]:
    """Names of the trainer's warnings at the end of training: "posterior collapse", "exploding latents"."""
    return sorted({warning for cell in cells for warning in cell.facts.get("warnings", [])})


# Extractors


def describe_extractors(passports: Iterable[dict[str, Any]]) -> list[str]:
    """Each extractor of these numbers once, with its accuracy, if that is recorded."""
    found = []
    for name, training in _extractors(passports).items():
        found.append(name + (f" ({_accuracy(training)})" if training.get("accuracy") is not None else ""))
    return sorted(found)


def warn_of_extractors(
    results: StudyResults, dataset: str | None = None, passports: Iterable[dict[str, Any]] | None = None
) -> list[str]:
    """Whether extractors classify hardly better than guessing, with the remedy; nothing if none does.

    Args:
        results: results of the study.
        dataset: only extractors that measured this data set.
        passports: of the numbers; by default those of all cells.
    """
    if passports is None:
        cells = [cell for cell in results.cells if dataset in (None, cell.dataset)]
        passports = (passport for cell in cells for passport in cell.passports.values())
    weak: dict[str, list[str]] = {}
    for name, training in sorted(_extractors(passports).items()):
        skill = _skill(training)
        if skill is not None and skill < MIN_SKILL:
            weak.setdefault("at chance" if skill <= CHANCE else "weak", []).append(f"{name}: {_accuracy(training)}")
    trained = results.settings.get("extractor") == "trained"
    remedy = REMEDY if trained else "set extractor in the study file to a better one"
    return [
        f"The extractor of features is {kind} ({'; '.join(names)}). FID and all other numbers from its features say "
        f"little about the images; {remedy}."
        for kind, names in sorted(weak.items())
    ]


def _extractors(passports: Iterable[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Record of the training of each extractor, by its name."""
    found: dict[str, dict[str, Any]] = {}
    for passport in passports:
        name = passport.get("extractor")
        if name and not found.get(name):
            found[name] = passport.get("extractor_training") or {}
    return found


def _accuracy(training: dict[str, Any]) -> str:
    images = f" on {training['num_eval_examples']:,} held-out images" if training.get("num_eval_examples") else ""
    guessing = _guessing(training)
    rest = "" if guessing is None else f", and {guessing:.1%} by guessing the most frequent class"
    return f"accuracy {training['accuracy']:.1%}{images}{rest}".replace("%", " %")


def _guessing(training: dict[str, Any]) -> float | None:
    if training.get("guessing_accuracy") is not None:
        return training["guessing_accuracy"]
    return 1 / training["num_classes"] if training.get("num_classes") else None


def _skill(training: dict[str, Any]) -> float | None:
    """Share of the errors of guessing that a classifier avoids; None if it is not known."""
    guessing = _guessing(training)
    if training.get("accuracy") is None or guessing is None or guessing >= 1:
        return None
    return (training["accuracy"] - guessing) / (1 - guessing)
