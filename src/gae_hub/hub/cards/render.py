"""Model cards, written at each save and push from what is known of the object. People's own text survives."""

__all__ = ["FACTS", "publish_results", "record_results", "write_card"]

import json
import re
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from shutil import copytree
from tempfile import TemporaryDirectory
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData, RepoCard, snapshot_download, upload_folder
from jinja2 import Environment, StrictUndefined
from transformers.utils import logging
from yaml import YAMLError

from ..._version import __version__
from ...auto import AutoSampler
from ...core.hub_errors import explained
from ...core.hub_files import fetch_file
from ...models.base import GAEPreTrainedModel
from ...samplers.base import GAESampler
from . import pictures as showcase
from .papers import paper_of

logger = logging.get_logger(__name__)

FACTS = "training.json"
"""Beside the card: the facts of the run, so that a model that is loaded and saved again keeps them."""

BEGIN = "<!-- gae_hub: begin. All up to the end mark is written anew at each save; write above or below. -->"
END = "<!-- gae_hub: end -->"
_OURS = {"library_name", "pipeline_tag", "model-index", "widget", "datasets"}
_DESCRIPTION = (
    "This is the model card of a 🤗 transformers model that has been pushed on the Hub. "
    "This model card has been automatically generated."
)
_OF_A_MODEL = ["*.json", "*.safetensors", "*.py", "README.md", "assets/*"]
_REPO_ID = r"[\w.-]+/[\w.-]+"
LARGEST_FACTS = 1 << 24  # bytes

Check = Callable[[Any], bool]


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and abs(value) < 1 << 63


def _is_number(value: Any) -> bool:
    return isinstance(value, float) or _is_whole(value)


def _is_plain_data(value: Any, depth: int = 8) -> bool:
    """Whether this is made of texts, numbers, lists and dicts, and not too deep."""
    if isinstance(value, (dict, list, tuple)):
        inner = [*value, *value.values()] if isinstance(value, dict) else value
        return depth > 0 and all(_is_plain_data(content, depth - 1) for content in inner)
    return value is None or _is_text(value) or _is_number(value)


def _optional(check: Check) -> Check:
    return lambda value: value is None or check(value)


def _each(check: Check) -> Check:
    return lambda value: isinstance(value, list) and all(map(check, value))


def _named(check: Check) -> Check:
    return lambda value: isinstance(value, dict) and all(map(_is_text, value)) and all(map(check, value.values()))


def _having(checks: dict[str, Check]) -> Check:
    """A dict that has these, among others."""
    return lambda value: isinstance(value, dict) and all(check(value.get(key)) for key, check in checks.items())


_has_a_place = _having({"epoch": _is_number, "step": _is_whole})
_is_latents = _having(
    {
        "order": _each(_is_whole),
        "active_units": _is_whole,
        "num_images": _is_whole,
        "by": lambda value: value in ("kl", "variance"),
        "values": _each(_is_number),
    }
)
KINDS: dict[str, Check] = {
    **dict.fromkeys(("dataset", "revision"), _is_text),
    **dict.fromkeys(("num_train_images", "num_processes", "steps", "best_step"), _is_whole),
    **dict.fromkeys(("seconds", "joules"), _is_number),
    **dict.fromkeys(("arguments", "environment"), _named(_is_plain_data)),
    "warnings": _named(_is_text),
    "divergences": _each(_having({"step": _is_whole, "term": _is_text, "restored_step": _is_whole})),
    "log": _each(lambda entry: _has_a_place(entry) and _named(_is_number)(entry) and len(entry) < 100),
    "latents": lambda value: value == {} or _is_latents(value),
    "imported": _having({"from": _is_text, "notes": _each(_is_text)}),
    "results": _having(
        {
            "dataset": _is_text,
            "split": _optional(_is_text),
            "metrics": _named(_is_number),
            "passports": _optional(_named(_named(_is_plain_data))),
        }
    ),
}
"""The facts that a card tells, each with what it must be; None is one that is not known."""


def write_card(
    model: GAEPreTrainedModel | GAESampler, folder: str | Path, repo_id: str | None = None, show: bool = False
):
    """Write README.md, and training.json where there are facts, into the folder that a model or sampler was saved to.

    Args:
        model: what was saved.
        folder: where.
        repo_id: the Hub repository, for the snippet; without it the name of the folder stands there.
        show: make the pictures anew, and run the snippet, as is done at the end of a run and when a model is
            published, but not at each checkpoint.
    """
    folder = Path(folder)
    facts = _fitting(facts_of(model))
    if show and isinstance(model, GAEPreTrainedModel):
        if model.examples is not None:
            facts = {**facts, showcase.LATENT_FACTS: showcase.latent_facts(model, model.examples.to(model.device))}
        showcase.draw(model, folder, facts)
    facts = {name: value for name, value in facts.items() if name != "output"}
    if show and (output := showcase.run(model, folder)):
        facts["output"] = output
    if isinstance(model, GAEPreTrainedModel):
        model.facts = facts
    if facts and isinstance(model, GAEPreTrainedModel):
        (folder / FACTS).write_text(json.dumps(facts, indent=1), encoding="utf-8")
    merge_into(folder / "README.md", render(model, facts, folder, known_name(repo_id or folder.resolve().name)))


def known_name(name: str) -> str:
    """The name, if it can stand in a snippet."""
    return name if re.fullmatch(r"[\w./ -]+", name) else "path-to-this-model"


def is_repo_id(name: str | None) -> bool:
    return re.fullmatch(_REPO_ID, name or "") is not None


def merge_into(path: Path, card: str):
    """Write a card over the one that may be there, and keep what a person added to it."""
    old = path.read_text(encoding="utf-8") if path.is_file() else ""
    path.write_text(merge(old, card) if old else card, encoding="utf-8")


def facts_of(model: GAEPreTrainedModel | GAESampler) -> dict[str, Any]:
    """What is known of the run: held by the model, or beside the checkpoint that it was loaded from."""
    if isinstance(model, GAESampler):
        return {}
    if model.facts is None:
        model.facts, (source, where) = {}, model.source
        found = Path(source) / FACTS if source and Path(source).is_dir() else None
        if source and found is None and re.fullmatch(_REPO_ID, source):
            try:
                found = fetch_file(source, FACTS, **where)
            except (OSError, ValueError) as error:
                logger.warning(
                    f"the card will not tell of the training: {FACTS} of '{source}' cannot be read ({error})"
                )
        if found and Path(found).is_file():
            model.facts = _read_facts(Path(found))
    return model.facts


def _read_facts(path: Path) -> dict[str, Any]:
    """The content of training.json, which anybody may have written."""
    if path.stat().st_size > LARGEST_FACTS:
        logger.warning(f"the card will not tell of the training: '{path}' has {path.stat().st_size:,} bytes")
        return {}
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        logger.warning(f"the card will not tell of the training: '{path}' is no JSON ({error})")
        return {}
    if not isinstance(facts, dict):
        logger.warning(f"the card will not tell of the training: '{path}' holds no JSON object")
        return {}
    return facts


def _fitting(facts: dict[str, Any]) -> dict[str, Any]:
    """The facts that are what they must be; a warning names the others."""
    kept = {}
    for name, value in facts.items():
        if value is None or (_is_plain_data(value) and KINDS.get(name, _is_plain_data)(value)):
            kept[name] = value
        else:
            logger.warning(
                f"the card will not tell of '{plain(name)}': its value is of another kind than it has to be"
            )
    return kept


def plain(value: Any) -> Any:
    """Text of others as text: no HTML, no code, no table cell or link can begin in it."""
    if isinstance(value, dict):
        return {plain(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [plain(inner) for inner in value]
    if not isinstance(value, str):
        return value
    return re.sub(r"[<>`|\[\]\x00-\x1f\ud800-\udfff]", " ", value)[:300]  # and none that UTF-8 cannot write


def record_results(model: GAEPreTrainedModel, folder: str | Path, results: dict[str, Any], repo_id: str | None = None):
    """Write results.json into a model's folder, and its card anew with them. Numbers that these weights have already
    stay beside the new ones, if they are of the same data and were measured under the same conditions.

    Args:
        model: the model of that folder.
        folder: where it was saved.
        results: `dataset`, `split` and `metrics`, a dict of named numbers; `passports`, by name of a metric, says how
            each was measured. What else it holds are conditions that all numbers share.
        repo_id: the Hub repository that the folder is for.
    """
    numbers, earlier = ("metrics", "passports"), facts_of(model).get("results") or {}
    if all(earlier.get(key) == results.get(key) for key in (earlier.keys() | results.keys()) - set(numbers)):
        results = results | {key: {**(earlier.get(key) or {}), **(results.get(key) or {})} for key in numbers}
    (Path(folder) / "results.json").write_text(json.dumps(results, indent=1), encoding="utf-8")
    model.facts = {**facts_of(model), "results": results}
    write_card(model, folder, repo_id, show=True)


def publish_results(model: GAEPreTrainedModel, repo_id: str, results: dict[str, Any]) -> str:
    """Commit results.json, and the card with them, to the repository of a model; its weights stay as they are.

    Args:
        model, repo_id: the model, and where it was loaded from.
        results: as `record_results` takes them.

    Returns:
        URL of the commit.
    """
    with explained("publish to", repo_id), TemporaryDirectory() as folder:
        copytree(snapshot_download(repo_id, allow_patterns=_OF_A_MODEL), folder, dirs_exist_ok=True)
        record_results(model, folder, results, repo_id)
        return upload_folder(
            repo_id=repo_id,
            folder_path=folder,
            allow_patterns=["README.md", "results.json", FACTS, "assets/*"],
            commit_message=f"Results on {results['dataset']}, {results['split']}",
        ).commit_url


def render(model, facts: dict[str, Any], folder: Path, repo_id: str) -> str:
    """The whole text of a card."""
    paper, config = paper_of(type(model)), model.config
    is_sampler = isinstance(model, GAESampler)
    output = facts.get("output")
    facts = {**dict.fromkeys(KINDS), **plain(facts)}
    pictures = {name: text for name, text in showcase.PICTURES.items() if (folder / "assets" / name).is_file()}
    results = facts["results"] and {"split": None, **facts["results"]}
    data = ModelCardData(
        library_name="gae-hub",
        pipeline_tag=None if is_sampler else "unconditional-image-generation",
        tags=[*type(model).model_tags, config.model_type.removeprefix("gae_").replace("_", "-")],
        datasets=[facts["dataset"]] if is_repo_id(facts["dataset"]) else None,
        model_name=repo_id.split("/")[-1] if results else None,
        eval_results=_eval_results(results) if results else None,
        widget=[{"text": text, "output": {"url": f"assets/{name}"}} for name, text in pictures.items()] or None,
        ignore_metadata_errors=False,
    )
    columns, rows = _loss_table(facts["log"] or [])
    sampler = folder / "sampler" / "config.json"
    sampler = _sampler_name(sampler) if sampler.is_file() else None
    environment = Environment(undefined=StrictUndefined, keep_trailing_newline=True)
    template = files(__package__) / "templates" / ("sampler_card.md" if is_sampler else "model_card.md")
    text = environment.from_string(template.read_text(encoding="utf-8")).render(
        card_data=data.to_yaml(),
        begin=BEGIN,
        end=END,
        title=repo_id.split("/")[-1],
        repo_id=repo_id,
        paper=paper,
        method=paper.name if paper else type(model).__name__,
        config=config,
        facts=facts,
        results=results,
        passports={name: _passport(passport) for name, passport in ((results or {}).get("passports") or {}).items()},
        widget=bool(pictures),
        sampler=sampler,
        snippet=showcase.snippet(model, json.dumps(repo_id), sampler),
        output=output,
        limits=_limits(model, facts) if not is_sampler else [],
        parameters=f"{model.num_parameters():,}",
        columns=columns,
        rows=rows,
        settings={
            name: f"{value:g}" if isinstance(value, float) else value
            for name, value in {**_settings(config), **(facts["arguments"] or {})}.items()
        }
        | {"gae_hub version": __version__},
    )
    return re.sub(r"\n{3,}", "\n\n", text)


def merge(old: str, new: str) -> str:
    """The new card, with what a person added to the old one: text outside the marks, metadata that we do not set."""
    try:
        old_card, new_card = RepoCard(old, ignore_metadata_errors=True), RepoCard(new)
    except (ValueError, YAMLError) as error:
        logger.warning(f"README.md stays as it is, since its metadata cannot be read: {error}")
        return old
    if BEGIN not in old or END not in old:
        return new if _is_of_transformers(old_card) else old  # a card of somebody's own
    before, _, rest = old_card.text.partition(BEGIN)
    after = rest.partition(END)[2]
    theirs = {name: value for name, value in old_card.data.to_dict().items() if name not in _OURS}
    metadata = {**theirs, **new_card.data.to_dict()}
    metadata["tags"] = list(dict.fromkeys([*(new_card.data.tags or []), *(old_card.data.get("tags") or [])]))
    inner = BEGIN + new_card.text.partition(BEGIN)[2].partition(END)[0] + END
    return f"---\n{ModelCardData(**metadata, ignore_metadata_errors=True).to_yaml()}\n---\n{before}{inner}{after}"


def _is_of_transformers(card: RepoCard) -> bool:
    """Whether this is the card that transformers' push_to_hub puts into an empty repository, as it put it there."""
    template = ModelCard.from_template(ModelCardData(library_name="transformers"), model_description=_DESCRIPTION)
    return card.text.strip() == template.text.strip()


def _sampler_name(config_file: Path) -> str:
    try:
        sampler = AutoSampler.model_class(json.loads(config_file.read_text(encoding="utf-8"))["model_type"])
    except (AttributeError, KeyError, TypeError, ValueError):  # of no sampler that this library knows
        return "sampler"
    paper = paper_of(sampler)
    return f"{paper.name.lower()} sampler" if paper else sampler.__name__


def _passport(passport: dict[str, Any]) -> str:
    """How a number was measured, in one cell of a table."""
    told = {key: value for key, value in plain(passport).items() if value not in (None, "") and key != "biased_by"}
    return ", ".join(f"{key} {value}" for key, value in told.items())


def _settings(config) -> dict[str, Any]:
    """Fields of a config that differ from their defaults, networks by their own fields."""
    default, settings = type(config)(), {}
    for name in type(config).own_fields():
        value = getattr(config, name)
        if hasattr(value, "own_fields"):
            inner = ", ".join(f"{key}={getattr(value, key)}" for key in value.own_fields())
            settings[name] = value.model_type.removeprefix("gae_") + (f"({inner})" if inner else "")
        elif value != getattr(default, name):
            settings[name] = value
    return settings


def _loss_table(log: list[dict[str, float]], most: int = 20) -> tuple[list[str], list[list[str]]]:
    """Header and rows of the evaluations, or of the training where there are none; at most so many, evenly spaced."""
    entries = [entry for entry in log if "eval_loss" in entry] or [entry for entry in log if "loss" in entry]
    if not entries:
        return [], []
    names = [
        name
        for name in entries[-1]
        if name not in {"epoch", "step", "learning_rate", "grad_norm"} and not name.endswith(("runtime", "per_second"))
    ]
    step = -(-len(entries) // most)
    kept = entries[::-1][::step][::-1]
    header = ["epoch", "step", *(name.replace("eval_", "validation ").replace("_", " ") for name in names)]
    return header, [
        [f"{e['epoch']:g}", str(e["step"]), *(f"{e[name]:.5g}" if name in e else "" for name in names)] for e in kept
    ]


def _limits(model: GAEPreTrainedModel, facts: dict[str, Any]) -> list[str]:
    """What a person must know who uses the model: what its numbers mean, and what it does not use."""
    config, limits = model.config, []
    if type(model).log_likelihood is GAEPreTrainedModel.log_likelihood:
        limits.append("The method has no likelihood: `log_likelihood` is not defined, and losses are no bounds of it.")
    elif config.likelihood == "bernoulli":
        limits.append(
            "The likelihood is that of binary pixels. For grey levels between 0 and 1 its terms are no log "
            "probabilities; compare them only with models of the same pixels."
        )
    else:
        std = config.observation_std if config.observation_std == "optimal" else f"{config.observation_std:.4g}"
        limits.append(
            f"The likelihood is a density of continuous pixels with standard deviation {std}: nats depend on that "
            "choice and on the scale of the pixels, and cannot be compared with those of binary or 8-bit models."
        )
    latents = facts["latents"]
    if latents:
        total, active = len(latents["order"]), latents["active_units"]
        words = "has collapsed, and carries" if total - active == 1 else "have collapsed, and carry"
        unused = f"; {total - active} {words} nothing" if active < total else ""
        limits.append(
            f"{active} of {total} latent dimensions are active on {latents['num_images']} images (their means vary by "
            f"more than 0.01){unused}."
        )
        names = {"kl": "KL to the prior, in nats", "variance": "variance of the embeddings"}
        values = ", ".join(f"{value:.3g}" for value in latents["values"][:12])
        limits.append(f"By dimension, the {names[latents['by']]}: {values}" + (" and less." if total > 12 else "."))
    if facts["dataset"]:
        limits.append(
            f"It has seen images of `{facts['dataset']}` only: others are reconstructed as if they were some."
        )
    for name, finding in [*(facts["warnings"] or {}).items()][:12]:
        limits.append(f"At the last evaluation of its training, {name}: {finding}.")
    if facts["divergences"]:
        events = [
            f"at step {e['step']} by its {e['term']}, back to step {e['restored_step']}" for e in facts["divergences"]
        ]
        limits.append(
            f"Its training diverged {'; '.join(events[:12])}; it went on from there with a smaller learning rate."
        )
    return limits


def _eval_results(results: dict[str, Any]) -> list[EvalResult]:
    return [
        EvalResult(
            task_type="unconditional-image-generation",
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
