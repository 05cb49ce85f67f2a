"""Train a model: any method on any data set. Every field of its config and every training argument is a flag."""

__all__ = ["add_arguments", "run"]

from argparse import Namespace
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ..core.yaml_files import read_yaml_file
from .dataclass_flags import add_training_flags, config_flags
from .flags import DATA_OPTIONS, DATASET, OUTPUT_DIR, SEED, Flag
from .parser import Parser, UsageError
from .run_record import DEFAULT_DATASET, loading_arguments, write_run_record

if TYPE_CHECKING:
    from ..training.trainer import GAETrainer

CONFIG = Flag("config", str, "YAML file of flags; flags on the command line take precedence")
METHOD = Flag("model", str, "Method, as `gae-hub list` shows it", "beta_vae")
STREAMING = Flag(
    "streaming", bool, "Read the data while training, without a copy; needs --max_steps", False, bare=True
)
NETWORK = str | dict | None
FLAGS = (
    METHOD,
    CONFIG,
    replace(DATASET, default=DEFAULT_DATASET),
    *DATA_OPTIONS,
    STREAMING,
    Flag(
        "encoder",
        NETWORK,
        "Encoder: mlp, conv, resnet, paper_conv, paper_resnet, the repository of a vision transformer, or a dict of "
        "its config",
        "mlp",
    ),
    Flag("decoder", NETWORK, "Decoder, in the same way", "--encoder"),
    replace(OUTPUT_DIR, default="outputs/MODEL-DATASET"),
    SEED,
    Flag("recipe", str, "Named training arguments: paper, as in the Pythae paper"),
    Flag(
        "resume",
        bool | Literal["auto"],
        "Continue from the newest complete checkpoint in --output_dir; auto: or start anew if there is none",
        False,
        bare=True,
    ),
)
_SET_BY_OTHER_FLAGS = {"input_shape", "encoder_config", "decoder_config"}


def add_arguments(parser: Parser):
    parser.usage = "%(prog)s [flags]"
    parser.add_flags(*FLAGS, group="run", given_only=True)
    parser.extend = _add_method_flags


def _add_method_flags(parser: Parser, words: list[str]):
    """Add the flags of the method that `--model` or the file of `--config` names, and read that file."""
    from ..auto import AutoGAE

    early = parser.peek(words, METHOD, CONFIG)
    path = early.get("config")
    content = {} if path is None else read_yaml_file(path)
    name = str(early.get("model", content.get("model", METHOD.default)))
    config_class = AutoGAE.config_class(name)
    parser.help_command = f"{parser.prog} --model {name} --help"
    own = config_flags(config_class, without=_SET_BY_OTHER_FLAGS)
    parser.add_flags(*own, group=f"fields of {config_class.__name__}", given_only=True)
    add_training_flags(parser, without=parser.flags, defaults={})
    if path is not None:
        parser.set_from_yaml(content, path)


def run(args: Namespace):
    from transformers import set_seed

    from ..auto import AutoGAE
    from ..modules.backbones import backbone_config
    from ..training.arguments import RECIPES, GAETrainingArguments
    from ..training.trainer import GAETrainer

    given = _with_defaults(vars(args), RECIPES)
    method = AutoGAE.config_class(given["model"])
    own = {name: given[name] for name in method.own_fields() if name in given}
    training_fields = {field.name for field in fields(GAETrainingArguments)} - own.keys()
    training = GAETrainingArguments(**{name: value for name, value in given.items() if name in training_fields})

    set_seed(training.seed)
    dataset: str = given["dataset"]
    with training.main_process_first(desc="reading the data set"):
        train, validation = _load(dataset, given)
    encoder = given.get("encoder")  # without one, the method chooses
    is_vision = encoder is not None and backbone_config("encoder", encoder).model_type == "gae_vision_encoder"
    networks = {"encoder_config": encoder, "decoder_config": given.get("decoder") or ("vit" if is_vision else encoder)}
    model = AutoGAE.from_config(method(input_shape=train.input_shape, **networks, **own))
    trainer = GAETrainer(model, training, train_dataset=train, eval_dataset=validation)
    is_first = trainer.is_world_process_zero()
    if is_first:
        print(
            f"{type(model).__name__} with {model.num_parameters():,} parameters\n"
            f"  train       {train}\n  validation  {'none' if validation is None else validation}"
        )
    trainer.train(resume_from_checkpoint=given.get("resume") or training.resume_from_checkpoint)
    if is_first:
        folder = Path(given["output_dir"]).expanduser()
        _save_run(trainer, folder, given)
        for warning in trainer.diagnostics.warnings.values():
            print(f"warning: {warning}")
        print(f"saved to {folder}\nnext: gae-hub generate {folder} --output samples.png")


def _load(dataset: str, flags: Mapping[str, Any]) -> tuple[Any, Any]:
    """The training and the validation data. A stream without a validation split has none."""
    from ..data.loading import load_data, split_names

    options = loading_arguments(flags)
    if not flags.get(STREAMING.name):
        train, validation = load_data(dataset, ("train", "validation"), **options)
    elif "validation" in split_names(dataset, streaming=True, **options):
        train, validation = load_data(dataset, ("train", "validation"), streaming=True, **options)
    else:
        train, validation = load_data(dataset, streaming=True, **options), None
    return train, validation


def _with_defaults(given: Mapping[str, Any], recipes: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The given flags, with the values of `--recipe` and the defaults that a record of the run must hold."""
    recipe = given.get("recipe")
    if recipe is not None and recipe not in recipes:
        raise UsageError(f"--recipe: expected one of {', '.join(recipes)}, got '{recipe}'")
    flags = {METHOD.name: METHOD.default, DATASET.name: DEFAULT_DATASET, SEED.name: SEED.default}
    flags |= {**(recipes[recipe] if recipe else {}), **given}
    return {OUTPUT_DIR.name: f"outputs/{flags['model']}-{Path(flags['dataset']).name}", **flags}


def _save_run(trainer: "GAETrainer", folder: Path, flags: Mapping[str, Any]):
    """Write the trained model, processor, pictures, card, and the flags of the run into a folder."""
    from ..pipelines.generation import GenerationPipeline

    write_run_record(folder, flags)
    GenerationPipeline(trainer.plain_model, processor=trainer.processing_class).save_pretrained(folder)
