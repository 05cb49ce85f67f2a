"""The text of a card: a template, filled in with the facts about a model or sampler."""

__all__ = ["card_name", "render_card", "write_card"]

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCardData, constants
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from transformers import PreTrainedConfig

from ..._version import __version__
from ...auto import AutoSampler
from ...core.adapters import has_adapter
from ...core.files import write_json
from ...data.latent_dimensions import measure_latents
from ...models.base import GAEPreTrainedModel
from ...samplers.base import GAESampler
from .benchmarks import write_eval_results
from .escaping import Verbatim, clean, code, escape, fenced
from .facts import FACT_CHECKS, FACTS_FILE, is_hub_dataset, is_repo_id, load_facts, valid_facts
from .license import DEFAULT_LICENSE, License, choose_license
from .limitations import list_limitations
from .merging import BEGIN, END, write_merged
from .papers import paper_of
from .pictures import PICTURES, draw_pictures
from .snippet import build_snippet, run_snippet

_TEMPLATES = Path(__file__).with_name("templates")
_TASK = "unconditional-image-generation"
_NOT_LOSSES = {"epoch", "step", "learning_rate", "grad_norm"}
# parts of a passport that the column "measured with" leaves out; the metadata and results.json have them
_NOT_IN_TABLE = {"metric", "biased_by", "references_fingerprint", "standard_error", "interval_method"}
_NOT_IN_TABLE |= {"details", "library"}
# intervals of a passport, and the words that the table adds to those that are not about the population
_INTERVALS = {"interval": "", "same_count_interval": " for as many images"}
_NOT_IN_TABLE |= set(_INTERVALS)


def write_card(
    model: GAEPreTrainedModel | GAESampler, folder: str | Path, repo_id: str | None = None, show: bool = False
):
    """Write README.md, and training.json if there are facts, into the folder that a model or sampler was saved to.

    Args:
        model: the saved model or sampler.
        folder: where it was saved.
        repo_id: the Hub repository that the folder is published to, for the card's title and code example. The
            folder's name by default.
        show: also draw the pictures and run the code example. This takes seconds, so it is done when a run ends and
            when a model is published, not at each checkpoint.
    """
    folder = Path(folder)
    facts = valid_facts(load_facts(model))
    sampler = _describe_sampler(folder)
    if show and isinstance(model, GAEPreTrainedModel):
        if model.examples is not None and (model.example_conditions is not None or not model.is_conditional):
            conditions = model.example_conditions
            facts["latents"] = measure_latents(model, model.examples.to(model.device), class_labels=conditions)
        draw_pictures(model, folder, facts)
    facts.pop("output", None)
    if show and (output := run_snippet(model, folder, sampler)):
        facts["output"] = output
    if isinstance(model, GAEPreTrainedModel):
        model.facts = facts
        if facts:
            write_json(folder / FACTS_FILE, facts)
    name = card_name(repo_id or folder.resolve().name)
    card = render_card(model, facts, folder, name, choose_license(model, folder))
    if repo_id is not None and is_repo_id(repo_id) and isinstance(model, GAEPreTrainedModel):
        results = clean(facts.get("results"))
        write_eval_results(folder, repo_id, results, _describe_passports(results))
    write_merged(folder / "README.md", card)


def card_name(name: str) -> str:
    """The name if a card can show it, else a placeholder."""
    return name if re.fullmatch(r"[\w./ -]+", name) else "path-to-this-model"


def render_card(
    model: GAEPreTrainedModel | GAESampler,
    facts: dict[str, Any],
    folder: Path,
    name: str,
    license: License = DEFAULT_LICENSE,
) -> str:
    """The complete text of a card.

    The template escapes every value that is not marked as `Verbatim`.

    Args:
        model: the model or sampler.
        facts: checked facts, as from `valid_facts`.
        folder: where it was saved; pictures and a sampler in it are shown.
        name: its repository or folder, as from `card_name`.
        license: its license, for the metadata.
    """
    output = facts.get("output")
    facts = {**dict.fromkeys(FACT_CHECKS), **clean(facts)}
    paper, is_sampler = paper_of(type(model)), isinstance(model, GAESampler)
    pictures = {file: caption for file, caption in PICTURES.items() if (folder / "assets" / file).is_file()}
    results = facts["results"] and {"split": None, **facts["results"]}
    columns, rows = _loss_table(facts["log"] or [])
    sampler = _describe_sampler(folder)
    template = _environment().get_template("sampler_card.md" if is_sampler else "model_card.md")
    text = template.render(
        metadata=Verbatim(_metadata(model, facts, results, pictures, name, license).to_yaml()),
        begin=Verbatim(BEGIN),
        end=Verbatim(END),
        title=name.split("/")[-1],
        version=__version__,
        paper=paper,
        paper_url=Verbatim(paper.url) if paper else None,
        formula=Verbatim(paper.formula) if paper and paper.formula else None,
        method=paper.name if paper else type(model).__name__,
        config=model.config,
        facts=facts,
        results=results,
        study_links=_study_links(facts["study"]),
        passports=_describe_passports(results),
        intervals=_describe_intervals(results),
        has_pictures=bool(pictures),
        package=Verbatim("'gae_hub[peft]'" if has_adapter(model) else "gae_hub"),
        snippet=build_snippet(model, json.dumps(name), sampler),
        output=output,
        limitations=[] if isinstance(model, GAESampler) else list_limitations(model, facts),
        num_parameters=f"{model.num_parameters():,}",
        columns=columns,
        rows=rows,
        arguments=facts["arguments"],
        settings=_settings(model.config, facts["arguments"] or {}),
    )
    return re.sub(r"\n{3,}", "\n\n", text)


@cache
def _environment() -> Environment:
    """Jinja's environment, which keeps compiled templates: a training run renders a card for every checkpoint."""
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES), undefined=StrictUndefined, keep_trailing_newline=True, finalize=escape
    )
    environment.filters |= {"code": code, "fenced": fenced}
    return environment


def _metadata(
    model: GAEPreTrainedModel | GAESampler,
    facts: dict[str, Any],
    results: dict[str, Any] | None,
    pictures: dict[str, str],
    name: str,
    license: License,
) -> ModelCardData:
    """The YAML block at the top of the card, which the Hub reads."""
    method = model.config.model_type.removeprefix("gae_").replace("_", "-")
    widget = [{"text": caption, "output": {"url": f"assets/{file}"}} for file, caption in pictures.items()]
    return ModelCardData(
        license=license,  # pyright: ignore[reportArgumentType] (the Hub also accepts a list)
        library_name="gae-hub",
        base_model=_adapted_model(model),
        pipeline_tag=None if isinstance(model, GAESampler) else _TASK,
        tags=[*(model.model_tags or []), method],
        datasets=[facts["dataset"]] if is_hub_dataset(facts["dataset"], facts["origin"]) else None,
        model_name=name.split("/")[-1] if results else None,
        eval_results=_eval_results(results) if results else None,
        widget=widget or None,
        ignore_metadata_errors=False,
    )


def _study_links(study: dict[str, Any] | None) -> dict[str, Verbatim]:
    """Addresses of the results and the page of a study, as far as the fact "study" names possible repositories."""
    kinds = {"results": "datasets", "page": "spaces"} if study else {}
    return {
        name: Verbatim(f"{constants.ENDPOINT}/{kind}/{study[name]}")
        for name, kind in kinds.items()
        if study and is_repo_id(study[name])
    }


def _adapted_model(model: GAEPreTrainedModel | GAESampler) -> str | None:
    """The Hub repository of the model that a model's adapter was made for, if there is one."""
    name, _ = model.source
    return name if has_adapter(model) and is_repo_id(name) and not Path(name).is_dir() else None


def _eval_results(results: dict[str, Any]) -> list[EvalResult]:
    """Entries of the metadata's model-index."""
    return [
        EvalResult(
            task_type=_TASK,
            dataset_type=results["dataset"],
            dataset_name=results["dataset"],
            dataset_split=results.get("split"),
            metric_type=name,
            metric_name=name.replace("_", " "),
            metric_value=float(value),
            metric_args=(results.get("passports") or {}).get(name),
        )
        for name, value in results["metrics"].items()
    ]


def _describe_sampler(folder: Path) -> str | None:
    """Name of the sampler in a model's folder, or None if there is none."""
    config_file = folder / "sampler" / "config.json"
    if not config_file.is_file():
        return None
    try:
        sampler = AutoSampler.model_class(json.loads(config_file.read_text(encoding="utf-8"))["model_type"])
    except (AttributeError, KeyError, TypeError, ValueError):  # custom or damaged
        return "sampler"
    paper = paper_of(sampler)
    return f"{paper.name.lower()} sampler" if paper else sampler.__name__


def _describe_passports(results: dict[str, Any] | None) -> dict[str, str]:
    """How each metric was measured, by name."""
    passports = (results or {}).get("passports") or {}
    return {metric: _describe_passport(passport) for metric, passport in passports.items()}


def _describe_intervals(results: dict[str, Any] | None) -> dict[str, str]:
    """The confidence interval of each metric that has one, by name, and what it covers."""
    passports = (results or {}).get("passports") or {}
    return {
        metric: " to ".join(map(_shorten, passport[kind][:2])) + words
        for metric, passport in passports.items()
        for kind, words in _INTERVALS.items()
        if isinstance(passport.get(kind), list)
    }


def _describe_passport(passport: dict[str, Any]) -> str:
    """How a metric was measured, for one table cell."""
    parts = []
    for name, value in passport.items():
        if isinstance(value, dict) and name == "extractor_training":  # results.json has the rest
            parts += [f"extractor's {key} {_shorten(value.get(key)) or 'unknown'}" for key in ("dataset", "accuracy")]
        elif isinstance(value, dict) and name not in _NOT_IN_TABLE:
            parts += [f"{key}={_shorten(inner)}" for key, inner in value.items()]
        elif name not in _NOT_IN_TABLE and (shown := _shorten(value)):
            parts.append(f"{name.replace('_', ' ')} {shown}")
    return ", ".join(parts)


def _shorten(value: Any) -> str:
    """A condition of a measurement; the first digits of a checksum."""
    shown = f"{value:.4g}" if isinstance(value, float) else "" if value is None else str(value)
    return f"{shown[:12]}…" if re.fullmatch("[0-9a-f]{32,}", shown) else shown


def _settings(config: PreTrainedConfig, arguments: dict[str, Any]) -> dict[str, Any]:
    """Fields of the config that differ from their defaults, then the training arguments that do."""
    default, settings = type(config)(), {}
    for name in config.own_fields():
        value = getattr(config, name)
        if hasattr(value, "own_fields"):  # the config of a network
            inner = ", ".join(f"{key}={getattr(value, key)}" for key in value.own_fields())
            settings[name] = value.model_type.removeprefix("gae_") + (f"({inner})" if inner else "")
        elif value != getattr(default, name):
            settings[name] = value
    settings |= arguments
    return {name: f"{value:g}" if isinstance(value, float) else value for name, value in settings.items()}


def _loss_table(log: list[dict[str, float]], max_rows: int = 20) -> tuple[list[str], list[list[str]]]:
    """Header and rows of a table of the evaluations, or of the training steps if there was no evaluation.

    Rows are evenly spaced, and the last entry is always shown.
    """
    entries = [entry for entry in log if "eval_loss" in entry] or [entry for entry in log if "loss" in entry]
    if not entries:
        return [], []
    names = [name for name in entries[-1] if name not in _NOT_LOSSES and not name.endswith(("runtime", "per_second"))]
    stride = -(-len(entries) // max_rows)
    header = ["epoch", "step", *(name.replace("eval_", "validation ").replace("_", " ") for name in names)]
    rows = [
        [
            f"{entry['epoch']:g}",
            str(entry["step"]),
            *(f"{entry[name]:.5g}" if name in entry else "" for name in names),
        ]
        for entry in entries[::-1][::stride][::-1]
    ]
    return header, rows
