"""The generated pages: one for each method, sampler and command, and those of the public API."""

__all__ = ["API_PAGES", "public_names", "write_command", "write_method", "write_pages", "write_sampler"]

import inspect
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, Field, fields
from functools import cache
from pathlib import Path
from textwrap import indent
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_overloads

import gae_hub
from gae_hub import AutoGAE, AutoSampler
from gae_hub.cli.dataclass_flags import RARE_ARGUMENTS
from gae_hub.cli.flags import Flag
from gae_hub.cli.main import COMMANDS, make_parser
from gae_hub.core.configuration import StrictConfig
from gae_hub.hub.cards.papers import GROUPS, Paper, paper_of

from .docstrings import read_arguments, to_markdown, to_rst
from .results import describe_method, describe_sampler

API_PAGES: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "auto": ("Load anything by name", "gae_hub", ("AutoGAE", "AutoSampler")),
    "models": (
        "Bases of the methods",
        "gae_hub",
        (
            "GAEConfig",
            "GAEPreTrainedModel",
            "GAEOutput",
            "ConditionalModel",
            "register_model",
            "MonteCarloVAEModel",
            "RegularizedAEConfig",
            "RegularizedAEModel",
            "LatentGANConfig",
            "LatentGANModel",
            "ImageGANConfig",
            "ImageGANModel",
            "QuantizedConfig",
            "QuantizedModel",
        ),
    ),
    "samplers": (
        "Bases of the samplers",
        "gae_hub",
        (
            "GAESamplerConfig",
            "GAESampler",
            "LearnedSamplerConfig",
            "LearnedSampler",
            "CodeSamplerConfig",
            "CodeSampler",
            "register_sampler",
        ),
    ),
    "networks": ("Encoders and decoders", "gae_hub", ("Backbone", "BackboneConfig", "register_backbone")),
    "likelihoods": ("Likelihoods", "gae_hub.modules.likelihoods", ()),
    "posteriors": ("Posteriors", "gae_hub.modules.posteriors", ()),
    "data": (
        "Data and images",
        "gae_hub",
        ("load_images", "load_data", "InMemoryDataset", "embed_dataset", "GAEImageProcessor", "Normalization"),
    ),
    "training": (
        "Training and evaluation",
        "gae_hub",
        ("GAETrainer", "GAETrainingArguments", "TrainingPipeline", "evaluate_model"),
    ),
    "pipelines": (
        "Pipelines and scikit-learn",
        "gae_hub",
        (
            "GenerationPipeline",
            "ReconstructionPipeline",
            "InterpolationPipeline",
            "TraversalPipeline",
            "FeatureExtractionPipeline",
            "GAETransformer",
        ),
    ),
    "tasks": ("Tasks of transformers.pipeline", "gae_hub.pipelines", ("TASKS", "TaskPipeline")),
    "metrics": ("Metrics", "gae_hub.metrics", ()),
    "plot": ("Figures", "gae_hub.plot", ()),
    "study": ("Studies", "gae_hub.study", ()),
}
"""Page in docs/reference to its title, the module that it documents, and the names; without names, all of the module's
`__all__`. Methods and samplers have pages of their own. A name that an earlier page has is only linked."""

_TRAILING_LINES = re.compile(r"^(Changes|Use it when): .*(?:\n    .*)*\n?", re.M)


@cache
def public_names() -> Mapping[str, str]:
    """Each public name to the full name under which the site documents it."""
    found = {name: f"gae_hub.{name}" for name in gae_hub.__all__}
    for _, module, _ in API_PAGES.values():
        for name in sys.modules[_import(module)].__all__:
            found.setdefault(name, f"{module}.{name}")
    return found


def write_pages(docs: Path):
    """Write all generated pages below `docs`, and delete those of an earlier build that are gone.

    A page that has not changed keeps its time, so that it is not built again.
    """
    pages = {"methods/index": write_methods(), "samplers/index": write_samplers(), "commands/index": write_commands()}
    pages |= {f"methods/{name}": write_method(name, docs) for name in AutoGAE.names()}
    pages |= {f"samplers/{name}": write_sampler(name, docs) for name in AutoSampler.names()}
    pages |= {f"commands/{name.replace(' ', '-')}": write_command(name) for name in COMMANDS}
    pages["commands/training-arguments"] = write_training_arguments()
    pages |= {f"reference/{name}": write_api_page(name) for name in API_PAGES}
    pages["reference/index"] = write_reference()
    for name, text in pages.items():
        path = docs / f"{name}.md"
        path.parent.mkdir(exist_ok=True)
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
    for folder in {path.split("/")[0] for path in pages}:
        for path in (docs / folder).glob("*.md"):
            if f"{folder}/{path.stem}" not in pages:
                path.unlink()


# Methods

# flags and fields of the examples of methods that do not suit small grey images
_EXAMPLES = {
    "representation_ae": (
        "--encoder facebook/dinov2-base --dataset photos --image_size 256 --output_dir representation-ae-photos",
        '(3, 256, 256), encoder_config="facebook/dinov2-base"',
    )
}


def write_method(name: str, docs: Path) -> str:
    """The page of a method.

    Args:
        name: short name of `AutoGAE`.
        docs: the folder of the site's sources, with the studies.
    """
    model, config = AutoGAE.model_class(name), AutoGAE.config_class(name)
    paper = _paper(model)
    results, folder = describe_method(name, docs), f"{name.replace('_', '-')}-digits"
    related = [
        other
        for other in AutoGAE.names()
        if other != name and _paper(AutoGAE.model_class(other)).changes == paper.changes
    ]
    flags, fields = _EXAMPLES.get(name, (f"--dataset digits --output_dir {folder}", "(1, 28, 28), latent_dim=16"))
    parts = [
        *_introduce(name, model),
        "## Train it",
        f"```console\n$ gae-hub train --model {name} {flags}\n```",
        f"```python\nfrom gae_hub import {config.__name__}, {model.__name__}\n\n"
        f"model = {model.__name__}({config.__name__}(input_shape={fields}))\n```",
        f"`AutoGAE.from_pretrained` finds the class of a repository by its `model_type`, `{config.model_type}`. "
        "[The command](../commands/train.md) has a flag for each field below.",
        "## Relations",
        _link_methods(to_markdown(paper.relations, public_names()), name),
        f'Other methods of the group "{GROUPS[paper.changes].split(":")[0].lower()}": '
        + (", ".join(_method_link(other) for other in related) or "none")
        + ".",
    ]
    if results:
        parts += [
            "## Results of our studies",
            "MSE and FID: lower is better; accuracies and log-likelihoods: higher is better. FID uses features of a "
            "classifier of MNIST, so compare it only with other rows of its study.",
            results,
            "[Samples of all methods](../studies/mnist-resnet/README.md).",
        ]
    if (docs.parent / "model_cards" / name / "README.md").is_file():
        parts += [
            "## Samples",
            f"![Samples of the {paper.name}](../../model_cards/{name}/assets/samples.png)",
            "They are from the paper's model on binary MNIST, trained briefly. "
            f"[Its card](../../model_cards/{name}/README.md) has the settings, and the paper's values next to ours.",
        ]
    return _join([*parts, *_describe_classes(config, model)])


def write_methods() -> str:
    """The list of methods, by group."""
    parts = ["# Methods", "Each method is one file. All load with `AutoGAE` and train with `GAETrainer`."]
    for group, title in GROUPS.items():
        names = [name for name in AutoGAE.names() if _paper(AutoGAE.model_class(name)).changes == group]
        rows = [f"| {_method_link(name)} | {_paper(AutoGAE.model_class(name)).use_when} |" for name in names]
        parts += [f"## {title}", "\n".join(["| method | use it when |", "|---|---|", *rows]), _toctree(names)]
    return _join(parts)


# Samplers


def write_sampler(name: str, docs: Path) -> str:
    """The page of a sampler.

    Args:
        name: short name of `AutoSampler`.
        docs: the folder of the site's sources, with the studies.
    """
    sampler, config = AutoSampler.model_class(name), AutoSampler.config_class(name)
    relations, results = _paper(sampler).relations, describe_sampler(name, docs)
    parts = [
        *_introduce(name, sampler),
        "## Fit it",
        f"```console\n$ gae-hub fit-sampler MODEL --sampler {name}\n```",
        f"```python\nfrom gae_hub import {sampler.__name__}\n\n"
        f"sampler = {sampler.__name__}().fit_to(model, train)\nimages = model.generate(64, sampler=sampler)\n```",
        "[Samplers](../samplers.md) says what they are fitted to, and compares all of them.",
    ]
    if relations:
        parts += ["## Relations", to_markdown(relations, public_names())]
    if results:
        parts += [
            "## Results of our studies",
            "FID of 10,000 samples with features of a classifier of MNIST, after "
            "[3 epochs of training](../studies/mnist-resnet/README.md); lower is better.",
            results,
        ]
    return _join([*parts, *_describe_classes(config, sampler)])


def write_samplers() -> str:
    """The list of samplers."""
    names = AutoSampler.names()
    rows = [
        f"| [{paper.name}]({name}.md) | {paper.use_when} |"
        for name, paper in ((name, _paper(AutoSampler.model_class(name))) for name in names)
    ]
    return _join(
        [
            "# Samplers, one by one",
            "[Samplers](../samplers.md) explains what a sampler is and compares them.",
            "\n".join(["| sampler | use it when |", "|---|---|", *rows]),
            _toctree(names),
        ]
    )


# Commands


def write_command(name: str) -> str:
    """The page of a command, from its parser, with the flags of the default method or of a sampler that is trained."""
    parser = make_parser(name)
    examples = {"train": [], "fit-sampler": ["--sampler", "maf"]}
    if parser.extend is not None:
        parser.extend(parser, examples.get(name, []))
    usage = parser.format_usage() if parser.usage else f"{parser.prog} [flags]"
    parts = [f"# gae-hub {name}", to_markdown(inspect.cleandoc(COMMANDS[name].__doc__ or ""), public_names())]
    parts.append(f"```console\n$ {' '.join(usage.removeprefix('usage: ').split())}\n```")
    for group in parser._action_groups:  # argparse has no public list of the groups with their titles
        actions = [action for action in group._group_actions if action.dest != "help"]
        flags = [parser.flags[action.dest] for action in actions if action.dest in parser.flags]
        words = [
            f"| `{action.dest}` | {_cell(action.help or '')} |"
            for action in actions
            if action.dest not in parser.flags
        ]
        if words:
            parts.append("\n".join(["| argument | meaning |", "|---|---|", *words]))
        if flags:
            title = (group.title or "").capitalize() if group.title not in (None, "options") else "Flags"
            parts += [f"## {_heading(title)}", *_note(group.title or "")]
        if group.title == RARE_ARGUMENTS:
            parts.append("All of [these arguments](training-arguments.md) are flags, too.")
        elif flags:
            parts.append(_write_flags(flags))
    if parser.epilog:
        parts.append(parser.epilog)
    return _join(parts)


def write_training_arguments() -> str:
    """The training arguments that transformers declares, which several commands have as flags."""
    return _join(
        [
            "# Training arguments of transformers",
            "`gae-hub train`, and `gae-hub fit-sampler` for samplers that are trained, have a flag for each field of "
            "`transformers.TrainingArguments`. In Python, they are arguments of {py:obj}`GAETrainingArguments "
            "<gae_hub.GAETrainingArguments>`. Those that gae_hub declares or changes are on "
            "[the page of the command](train.md).",
            _write_flags(_training_arguments()),
        ]
    )


def _training_arguments() -> list[Flag]:
    """The flags of `gae-hub train` for the arguments that transformers declares."""
    parser = make_parser("train")
    parser.extend(parser, [])
    (group,) = [group for group in parser._action_groups if group.title == RARE_ARGUMENTS]
    return [parser.flags[action.dest] for action in group._group_actions]


def _write_flags(flags: Iterable[Flag]) -> str:
    """A table of flags."""
    return "\n".join(["| flag | value | default | meaning |", "|---|---|---|---|", *map(_write_flag, flags)])


def write_commands() -> str:
    """The list of commands."""
    rows = [
        f"| [`gae-hub {name}`]({name.replace(' ', '-')}.md) | {make_parser(name).description} |" for name in COMMANDS
    ]
    return _join(
        [
            "# Command line",
            "Each command shows its flags with `--help`. `gae-hub train --config FILE` reads them from a YAML file.",
            "\n".join(["| command | what it does |", "|---|---|", *rows]),
            _toctree([*(name.replace(" ", "-") for name in COMMANDS), "training-arguments"]),
        ]
    )


def _note(group: str) -> list[str]:
    """A remark below the heading of a group of flags, if it has the fields of one of many configs."""
    if not group.startswith("fields of "):
        return []
    flag, kind = ("sampler", "samplers") if "Sampler" in group else ("model", "methods")
    return [f"Other values of `--{flag}` have other fields: those of [their pages](../{kind}/index.md)."]


def _heading(title: str) -> str:
    """A heading with class names as they are."""
    return re.sub(r"\b\w+config\b|transformers\.trainingarguments", lambda found: _cased(found[0]), title)


def _cased(name: str) -> str:
    known = {known.lower(): known for known in [*gae_hub.__all__, "transformers.TrainingArguments"]}
    return f"`{known.get(name, name)}`"


def _write_flag(flag: Flag) -> str:
    default = "required" if flag.required else _default(flag.default)
    return f"| `--{flag.name}` | {_code(flag.metavar or '')} | {default} | {_cell(flag.help)} |"


# The public API


def write_api_page(name: str) -> str:
    """A page of the reference."""
    title, module, names = API_PAGES[name]
    about = "" if names else to_markdown(inspect.cleandoc(sys.modules[_import(module)].__doc__ or ""), public_names())
    listed = names or tuple(sys.modules[_import(module)].__all__)
    own = [each for each in listed if public_names()[each] == f"{module}.{each}"]
    parts = [f"# {title}", about]
    others = [_object_link(each) for each in listed if each not in own]
    if others:
        parts.append(f"Also in `{module}`: {', '.join(others)}.")
    for each in own:
        item = getattr(sys.modules[module], each)
        if inspect.isclass(item) and issubclass(item, StrictConfig):
            parts += [_describe_config(item), _write_fields(item, inherited=False)]
        else:
            parts.append(_autodoc(f"{module}.{each}", item))
    return _join(parts)


def write_reference() -> str:
    """The index of the public API: each name with the first line of its docstring."""
    parts = [
        "# Reference",
        "Everything public, by page. Classes of methods and samplers are on [their](../methods/index.md) "
        "[pages](../samplers/index.md), and the shell's commands on [theirs](../commands/index.md).",
    ]
    for name, (title, module, names) in API_PAGES.items():
        rows = [
            f"| {_object_link(each)} | {_summary(getattr(sys.modules[_import(module)], each))} |"
            for each in names or sys.modules[_import(module)].__all__
        ]
        parts += [f"## [{title}]({name}.md)", "\n".join(["| name | |", "|---|---|", *rows])]
    return _join([*parts, _toctree(API_PAGES)])


def _summary(item: Any) -> str:
    if not callable(item):
        return f"{len(item)} entries"
    first = " ".join((inspect.getdoc(item) or "").partition("\n\n")[0].split())
    return _cell(to_markdown(first, public_names()))


def _autodoc(name: str, item: Any) -> str:
    if inspect.isclass(item):
        directive = f"autoclass:: {name}\n   :members:\n   :show-inheritance:"
    elif inspect.isroutine(item):
        directive = f"autofunction:: {name}{_join_overloads(item)}"
    else:
        module, _, own = name.rpartition(".")
        directive = f"py:data:: {own}\n   :module: {module}{_list_entries(item)}"
    return f"```{{eval-rst}}\n.. {directive}\n```"


def _join_overloads(function: Any) -> str:
    """The signature of a function with overloads, which autodoc would print one by one; empty for other functions."""
    if not get_overloads(function):
        return ""
    signature = inspect.signature(function)
    parameters = [
        each if each.annotation is each.empty else each.replace(annotation=_Written(_type_name(each.annotation)))
        for each in signature.parameters.values()
    ]
    shown = signature.replace(parameters=parameters, return_annotation=signature.empty)
    return " ".join(str(shown).split())


class _Written(str):
    """An annotation that is printed without quotes."""

    __repr__ = str.__str__


def _list_entries(item: Mapping[str, Any] | Iterable[str]) -> str:
    """The body of the entry of a constant: its keys or its values."""
    entries = ", ".join(f"``{entry}``" for entry in item)
    return f"\n   :type: {type(item).__name__}\n\n   {entries}"


# Configs


def _write_fields(config: type[StrictConfig], inherited: bool = True) -> str:
    """Tables of the fields: those of the config itself, then those of each base."""
    left = {field.name: field for field in fields(config) if field.name in config.own_fields()}
    tables = []
    for base in config.__mro__:
        if not issubclass(base, StrictConfig) or base is StrictConfig:
            continue
        own = [name for name in left if name in vars(base).get("__annotations__", {})]
        documented = read_arguments(base.__doc__ or "")
        # a default or a meaning that a class changes is shown with the class, without an annotation of its own
        own += [name for name in documented if name in left and name not in own]
        rows = [_write_field(left.pop(name), _meaning(config, name)) for name in own]
        if not rows or not (inherited or base is config):
            continue
        if base is not config:
            tables.append(f"Fields of {_object_link(base.__name__)}:")
        tables.append("\n".join(["| field | type | default | meaning |", "|---|---|---|---|", *rows]))
    if not inherited and config.__mro__[1] is not StrictConfig:
        tables.append(f"It also has the fields of {_object_link(config.__mro__[1].__name__)}.")
    if inherited and tables and tables[0].startswith("Fields of"):
        tables.insert(0, "It has no fields of its own.")
    return "\n\n".join(tables)


def _object_link(name: str) -> str:
    """A link to a public class or function, or a name of another one."""
    return f"{{py:obj}}`{name} <{public_names()[name]}>`" if name in public_names() else f"`{name}`"


def _write_field(field: Field, meaning: str) -> str:
    default = field.default_factory() if field.default_factory is not MISSING else field.default
    return f"| `{field.name}` | {_code(_type_name(field.type))} | {_default(default)} | {_cell(meaning)} |"


def _meaning(config: type, name: str) -> str:
    """The text of a field in the docstring of the config or its nearest base."""
    for base in config.__mro__:
        found = read_arguments(base.__doc__ or "")
        if name in found:
            return to_markdown(found[name], public_names())
    return ""


def _describe_config(config: type[StrictConfig]) -> str:
    """The entry of a config in the index of objects, whose fields a table lists."""
    name = config.__name__
    base = config.__mro__[1].__name__
    shown = f":py:obj:`{base} <{public_names()[base]}>`" if base in public_names() else f"``{base}``"
    about = to_rst(inspect.cleandoc(config.__doc__ or "").partition("Args:")[0], public_names())
    body = f"Bases: {shown}. Accepts the fields of the table; other names raise ValueError.\n\n{about}"
    options = f":module: gae_hub\n:canonical: {config.__module__}.{name}"
    content = indent(f"{options}\n\n{body}", "   ")
    return f"```{{eval-rst}}\n.. py:class:: {name}(**fields)\n{content}\n```"


def _type_name(annotation: Any) -> str:
    """An annotation as a reader would write it: `float | "optimal"` instead of `Union[float, Literal['optimal']]`."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return " | ".join(f'"{value}"' if isinstance(value, str) else str(value) for value in arguments)
    if annotation is type(None):
        return "None"
    if origin in (Union, UnionType):
        return " | ".join(map(_type_name, arguments))
    text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    return re.sub(r"\b(?:\w+\.)+(?=\w)", "", text)


def _default(value: Any) -> str:
    if value is MISSING:
        return "required"
    return "" if value is None or value == "" else _code(str(value))


# Markdown


def _paper(cls: type) -> Paper:
    paper = paper_of(cls)
    if paper is None:
        raise ValueError(f"the docstring of {cls.__module__} does not begin with its paper")
    return paper


def _introduce(name: str, cls: type) -> list[str]:
    """The beginning of the page of a method or sampler: its name, when to use it, its paper, and its docstring."""
    paper = _paper(cls)
    return [
        f"# {paper.name}",
        f"`{name}`. Use it when {paper.use_when}",
        f"{paper.authors}, {paper.year}: [{paper.title}]({paper.url}).",
        _explain(cls),
    ]


def _describe_classes(config: type[StrictConfig], cls: type) -> list[str]:
    """The end of the page of a method or sampler: the fields of its config, and both classes."""
    return [
        "## Config",
        _write_fields(config),
        "## Classes",
        _describe_config(config),
        _autodoc(f"gae_hub.{cls.__name__}", cls),
    ]


def _explain(cls: type) -> str:
    """The docstring of a module between its first paragraph, the paper, and its section of relations."""
    text = inspect.cleandoc(sys.modules[cls.__module__].__doc__ or "").partition("\n\n")[2]
    return to_markdown(_TRAILING_LINES.sub("", text.partition("Relations:\n")[0]), public_names())


def _method_link(name: str) -> str:
    return f"[{_paper(AutoGAE.model_class(name)).name}]({name}.md)"


def _link_methods(text: str, own: str) -> str:
    """The text with a link at the first mention of each other method."""
    names = {_paper(AutoGAE.model_class(name)).name: name for name in AutoGAE.names()}
    pattern = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))
    seen = {own}

    def link(found: re.Match) -> str:
        name = names[found[0]]
        if name in seen:
            return found[0]
        seen.add(name)
        return f"[{found[0]}]({name}.md)"

    return re.sub(rf"(?<![\w`-])(?:{pattern})(?![\w`(]|-\w)", link, text)


def _toctree(names: Iterable[str]) -> str:
    return "\n".join(["```{toctree}", ":hidden:", "", *names, "```"])


def _code(text: str) -> str:
    return f"`{_cell(text)}`" if text else ""


def _cell(text: str) -> str:
    """Text that may stand in a cell of a table."""
    return " ".join(text.split()).replace("|", r"\|")


def _join(parts: Iterable[str]) -> str:
    return "\n\n".join(part for part in parts if part) + "\n"


def _import(module: str) -> str:
    """Import a module, and return its name."""
    __import__(module)
    return module
