"""gae-hub in a shell: train, fit-sampler, generate, evaluate, train-extractor, convert, export, list, quickstart."""

__all__ = ["main"]

import argparse
import json
import os
import shutil
import sys
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml

from .tables import print_table

# torch and transformers are imported by the commands that need them, so that --help and a mistyped command answer at
# once

RUN_FILE = "run.yaml"
_NOT_RECORDED = {"hub_token", "resume", "resume_from_checkpoint", "overwrite_output_dir"}


def main(argv: list[str] | None = None) -> int:
    """Run one command; the exit status is 0, 2 for a mistake in what was asked, or 130 after Ctrl-C."""
    parser = argparse.ArgumentParser(
        "gae-hub", description="Generative autoencoders: train, sample, measure and share them."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    for name, (function, add_arguments) in COMMANDS.items():
        summary = function.__doc__.partition("\n")[0]
        command = commands.add_parser(
            name, help=summary, description=summary, add_help=name != "train", allow_abbrev=False
        )
        command.set_defaults(function=function)
        add_arguments(command)
    known, known.rest = parser.parse_known_args(argv)
    if known.rest and known.command not in ("train", "fit-sampler"):  # whose flags depend on the method
        parser.error(f"unrecognized arguments: {' '.join(known.rest)}")
    from huggingface_hub.errors import StrictDataclassError
    from transformers.utils import logging

    logging.disable_progress_bar()
    try:
        known.function(known)
    except BrokenPipeError:  # the reader of our output has seen enough, as `| head` has
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (ValueError, OSError, NotImplementedError, FloatingPointError, StrictDataclassError) as error:
        if os.environ.get("GAE_HUB_TRACEBACK"):
            raise
        print(f"gae-hub {known.command}: {error}\n(GAE_HUB_TRACEBACK=1 shows where)", file=sys.stderr)
        return 2
    except KeyboardInterrupt as stop:
        print(f"\ngae-hub {known.command}: {stop or 'stopped'}", file=sys.stderr)
        return 130
    return 0


# train


@dataclass
class RunArguments:
    """What to train, and on what."""

    model: str = field(default="beta_vae", metadata={"help": "Method, as `gae-hub list` shows it."})
    dataset: str = field(default="digits", metadata={"help": "'digits', a data set on the Hub, or a folder."})
    encoder: str | None = field(
        default=None, metadata={"help": "mlp, conv, resnet, paper_conv, paper_resnet, or JSON."}
    )
    decoder: str | None = field(default=None, metadata={"help": "The same, for the decoder; --encoder's by default."})
    validation_size: float | None = field(
        default=None,
        metadata={"help": "Images (or share of them, below 1) held out where there is no validation split."},
    )
    image_size: int | None = field(default=None, metadata={"help": "Edge length to crop and resize image files to."})
    channels: int | None = field(default=None, metadata={"help": "1 or 3, to convert image files to."})
    recipe: str | None = field(default=None, metadata={"help": "'paper': its training arguments, as defaults."})
    resume: bool = field(default=False, metadata={"help": "Go on from the newest whole checkpoint in output_dir."})


def _train(known):
    """Train a model: any method, any data set; every field of its config and every training argument is a flag."""
    from transformers import HfArgumentParser, set_seed

    from ..auto import AutoGAE
    from ..data.loading import load_images
    from ..training.arguments import RECIPES, GAETrainingArguments
    from ..training.trainer import GAETrainer

    given = {**_read_yaml(known.config), **_pairs(known.rest)}
    method = AutoGAE.config_class(given.get("model", RunArguments.model))
    own = [name for name in method.own_fields() if name not in {"input_shape", "encoder_config", "decoder_config"}]
    parser = HfArgumentParser((RunArguments, GAETrainingArguments), allow_abbrev=False, prog="gae-hub train")
    parser.add_argument("--config", help="YAML file of these flags; those on the command line win")
    fields = ", ".join(f"--{name}" for name in own)
    parser.epilog = f"Fields of {method.__name__}, each a flag: {fields}. Methods: {', '.join(AutoGAE.names())}."
    if "help" in given:
        return parser.print_help()
    flags = {action.dest for action in parser._actions}
    for name in given:
        if name not in flags and name not in own:
            near = get_close_matches(name, [*flags, *own], n=1)
            raise ValueError(
                f"there is no flag --{name}" + (f"; did you mean --{near[0]}?" if near else f" for {method.__name__}")
            )
    given.setdefault(
        "output_dir", f"outputs/{given.get('model', RunArguments.model)}-{Path(given.get('dataset', 'digits')).name}"
    )
    if "recipe" in given:
        defaults = RECIPES.get(given["recipe"])
        if defaults is None:
            raise ValueError(f"--recipe must be one of {', '.join(RECIPES)}, got '{given['recipe']}'")
        given = {name: json.dumps(v) if isinstance(v, dict) else str(v) for name, v in defaults.items()} | given
    settings = {name: _value(text) for name, text in given.items() if name in own}
    strings = [s for name, text in given.items() if name in flags for s in (f"--{name}", text)]
    run, args, *_ = parser.parse_args_into_dataclasses(strings)

    set_seed(args.seed)
    with args.main_process_first(desc="reading the data set"):
        train, validation = load_images(run.dataset, ("train", "validation"), **reading(vars(run)))
    networks = {
        "encoder_config": _value(run.encoder or "mlp"),
        "decoder_config": _value(run.decoder or run.encoder or "mlp"),
    }
    model = AutoGAE.from_config(method(input_shape=train.input_shape, **networks, **settings))
    trainer = GAETrainer(model, args, train_dataset=train, eval_dataset=validation)
    if trainer.is_world_process_zero():
        print(
            f"{type(model).__name__} with {model.num_parameters():,} parameters\n"
            f"  train       {train}\n  validation  {validation}"
        )
    trainer.train(resume_from_checkpoint=True if run.resume else args.resume_from_checkpoint)
    if trainer.is_world_process_zero():
        save_run(trainer, given)
        print(f"saved to {args.output_dir}\nnext: gae-hub generate {args.output_dir} --output samples.png")


def _train_arguments(parser):
    parser.add_argument("--config", help="YAML file of flags; those on the command line win")


def save_run(trainer, flags: dict[str, str]):
    """Write the trained model, processor, pictures, card, and the flags of the run into the trainer's folder."""
    from ..pipelines.generation import GenerationPipeline

    folder, model = Path(trainer.args.output_dir), trainer.plain_model
    if (folder / "sampler").is_dir():
        shutil.rmtree(folder / "sampler")
        print(f"removed {folder / 'sampler'}: it was fitted on an earlier model; gae-hub fit-sampler fits it anew")
    record = {name: _value(text) for name, text in flags.items() if name not in _NOT_RECORDED}
    (folder / RUN_FILE).write_text(yaml.safe_dump(record), encoding="utf-8")
    GenerationPipeline(model, processor=trainer.processing_class).save_pretrained(folder)


def _read_yaml(path: str | None) -> dict[str, str]:
    if path is None:
        return {}
    content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    if not isinstance(content, dict):
        raise ValueError(f"'{path}' must hold one flag a line, such as 'learning_rate: 0.001'")
    return {
        str(name): json.dumps(value) if isinstance(value, (list, dict)) else str(value)
        for name, value in content.items()
        if value is not None
    }


def _pairs(argv: list[str]) -> dict[str, str]:
    """Flags as a dict of strings: `--name value`, `--name=value`, and a lone `--name` as true."""
    pairs, words = {}, list(argv)
    while words:
        word = words.pop(0)
        if word == "-h":
            word = "--help"
        if not word.startswith("--"):
            raise ValueError(f"expected a flag such as --learning_rate 0.001, got '{word}'")
        name, has_value, value = word[2:].partition("=")
        pairs[name] = value if has_value else words.pop(0) if words and not words[0].startswith("--") else "true"
    return pairs


def _value(text: Any) -> Any:
    """A number, truth value, list, dict or string from a flag's text."""
    value = yaml.safe_load(text) if isinstance(text, str) else text
    if isinstance(value, str):  # YAML takes 1e-3 for a string
        try:
            return float(value)
        except ValueError:
            return value
    return value


# fit-sampler, generate, evaluate


def _fit_sampler(args):
    """Fit a sampler on a model's embeddings of its training set, and save it beside the model."""
    from ..auto import AutoGAE, AutoSampler
    from ..data.loading import load_images
    from ..pipelines.generation import GenerationPipeline
    from ..samplers.learned import LearnedSampler

    config_class = AutoSampler.config_class(args.sampler)
    settings = {name: _value(text) for name, text in _pairs(args.rest).items()}
    own = {name: value for name, value in settings.items() if name in config_class.own_fields()}
    training = {name: value for name, value in settings.items() if name not in own}
    learned = issubclass(AutoSampler.model_class(args.sampler), LearnedSampler)
    if learned:
        training.setdefault("progress", not training.pop("disable_tqdm", False))
        _check_training_flags(training, config_class)
    sampler = AutoSampler.from_config(config_class(**own, **({} if learned else training)))
    model = AutoGAE.from_pretrained(args.folder)
    sampler.check_model(model)
    name, reading = _data_of(args)
    dataset, validation = load_images(name, ("train", "validation"), **reading)
    if learned:
        sampler.fit_to(model, dataset, validation, **training)
    else:
        sampler.fit_to(model, dataset)
    sampler.save_pretrained(Path(args.folder) / args.name)
    (Path(args.folder) / args.name / "README.md").unlink(missing_ok=True)  # the repository has one card
    if args.name == "sampler":
        GenerationPipeline.from_pretrained(args.folder).save_pretrained(
            args.folder
        )  # its samples are the sampler's now
    print(f"fitted on {len(dataset):,} embeddings, saved to {Path(args.folder) / args.name}")


def _check_training_flags(flags: dict[str, Any], config_class):
    from dataclasses import fields

    from ..training.arguments import GAETrainingArguments

    known = {"progress", *(f.name for f in fields(GAETrainingArguments))}
    for name in flags:
        if name not in known:
            near = get_close_matches(name, [*known, *config_class.own_fields()], n=1)
            raise ValueError(f"there is no flag --{name}" + (f"; did you mean --{near[0]}?" if near else ""))


def _fit_sampler_arguments(parser):
    parser.add_argument("folder", help="folder of a trained model")
    parser.add_argument("--sampler", default="gaussian_mixture", help="kind of sampler, as `gae-hub list` shows it")
    parser.add_argument("--dataset", help="training data; that of the run by default")
    parser.add_argument("--name", default="sampler", help="subfolder to save it in; 'sampler' is the default sampler")
    parser.epilog = (
        "The sampler's own fields are flags too, such as --num_components 10; and so are training arguments, such as "
        "--num_train_epochs 50, for the samplers that are trained."
    )


def _generate(args):
    """Generate images: one picture with all of them, a folder with a file for each, an npz file, or a data set."""
    from ..images.grids import image_grid
    from ..pipelines.generation import GenerationPipeline

    pipe = GenerationPipeline.from_pretrained(args.model, sampler=None if args.sampler == "prior" else args.sampler)
    output = Path(args.output)
    kind = args.format or {"": "folder", ".npz": "npz"}.get(output.suffix, "picture")
    if kind == "picture":
        if args.num_samples > _LARGEST_PICTURE:
            raise ValueError(
                f"num_samples is {args.num_samples}, too many for one picture: name an --output without a suffix, for "
                "a folder of images, or one that ends in .npz"
            )
        output.parent.mkdir(parents=True, exist_ok=True)
        image_grid(pipe(args.num_samples, seed=args.seed, batch_size=args.batch_size)).save(output)
    else:
        pipe.write(output, args.num_samples, args.seed, kind, args.batch_size)
    source = type(pipe.sampler).__name__ if pipe.sampler is not None else "the model's prior"
    print(f"{args.num_samples} images by {source}: {output}")


_LARGEST_PICTURE = 10_000


def _generate_arguments(parser):
    parser.add_argument("model", help="folder or Hub repository")
    parser.add_argument("--num_samples", type=int, default=64)
    parser.add_argument("--seed", type=int, help="the same seed gives the same images")
    parser.add_argument("--output", default="samples.png", help="a picture file, an .npz file, or a folder")
    parser.add_argument(
        "--format",
        choices=("picture", "folder", "npz", "dataset"),
        help="by the output's suffix if not given; 'dataset' is parquet files that `datasets` reads",
    )
    parser.add_argument(
        "--batch_size", type=int, default=500, help="images decoded at a time; it changes nothing else"
    )
    parser.add_argument("--sampler", default="sampler", help="subfolder of a sampler, or 'prior' for the model's own")


def _evaluate(args):
    """Measure a model, write results.json, and put the numbers into its card."""
    from ..data.loading import load_images
    from ..hub.cards.results import publish_results, record_results
    from ..metrics.evaluation import evaluate_model, to_results
    from ..metrics.tensor_cache import hash_tensors
    from ..pipelines.generation import GenerationPipeline

    options = _value(args.options) if args.options else {}
    if not isinstance(options, dict) or not all(isinstance(value, dict) for value in options.values()):
        raise ValueError(f"--options must be a dict for each metric, as JSON, got '{args.options}'")
    is_here = Path(args.folder).is_dir()
    if args.push and is_here:
        raise ValueError(f"--push is for a model on the Hub, but '{args.folder}' is a folder here: publish it first")
    pipe = GenerationPipeline.from_pretrained(args.folder)
    name, reading = _data_of(args)
    dataset = load_images(name, args.split, **reading)
    train = load_images(name, "train", **reading) if "probe" in args.metrics and args.split != "train" else None
    numbers = evaluate_model(
        pipe.model,
        dataset,
        args.metrics,
        pipe.sampler,
        args.num_samples,
        args.seed,
        extractor=args.extractor,
        weights=args.weights,
        train_dataset=train,
        options=options,
        factors=args.factors,
        progress=True,
    )
    results = {
        "dataset": name,
        "split": args.split,
        "num_samples": args.num_samples,
        "seed": args.seed,
        "sampler": None if pipe.sampler is None else hash_tensors(pipe.sampler.state_dict()),
        **to_results(numbers),
    }
    if is_here:
        record_results(pipe.model, args.folder, results)
    if args.output or not is_here:
        Path(args.output or "results.json").write_text(json.dumps(results, indent=1), encoding="utf-8")
    if args.push:
        print(publish_results(pipe.model, args.folder, results))
    print_table(["metric", f"{name}, {args.split}"], [[name, f"{value:.5g}"] for name, value in numbers.items()])


def _evaluate_arguments(parser):
    parser.add_argument("folder", help="folder or Hub repository of a trained model")
    parser.add_argument("--dataset", help="data to measure on; that of the run by default")
    parser.add_argument("--split", default="test")
    parser.add_argument(
        "--metrics", nargs="+", default=["mse", "energy", "clustering"], help="as `gae-hub list` shows them"
    )
    parser.add_argument("--num_samples", type=int, default=1000, help="images to generate where samples are measured")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--extractor",
        default="inception",
        help="for FID and its kin: inception, a transformers vision model, or what train-extractor has made",
    )
    parser.add_argument("--weights", help="for inception: the published file, if it is not to be downloaded")
    parser.add_argument(
        "--factors", nargs="+", help="for mig, dci and their kin: columns of the data; those of integers by default"
    )
    parser.add_argument("--options", help='of single metrics, as JSON: {"fid": {"extrapolate": true}}')
    parser.add_argument(
        "--output", help="file for the results; results.json in the model's folder, or here for a Hub repository"
    )
    parser.add_argument("--push", action="store_true", help="commit results.json and the card to the Hub repository")


def _train_extractor(args):
    """Train a small classifier on a labelled data set, whose features FID and its kin can compare."""
    from ..data.loading import load_images
    from ..metrics.networks.classifier_training import train_extractor

    size = {"image_size": args.image_size, "channels": args.channels}
    train, held_out = load_images(args.dataset, ("train", "validation"), **size)
    settings = {"num_train_epochs": args.num_train_epochs, "learning_rate": args.learning_rate, "seed": args.seed}
    model = train_extractor(train, held_out, batch_size=args.batch_size, **settings)
    model.save_pretrained(args.output_dir)
    print(
        f"accuracy {model.config.accuracy:.2%} on {len(held_out):,} images that it has not seen, saved to "
        f"{args.output_dir}\nnext: gae-hub evaluate FOLDER --metrics fid --extractor {args.output_dir}"
    )


def _train_extractor_arguments(parser):
    parser.add_argument("--dataset", default="digits", help="'digits', a labelled data set on the Hub, or a folder")
    parser.add_argument("--output_dir", default="outputs/extractor")
    parser.add_argument("--num_train_epochs", type=float, default=10)
    parser.add_argument("--learning_rate", type=float, default=2e-3)
    parser.add_argument("--batch_size", type=int, default=128)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--image_size", type=int, help="edge length to crop and resize image files to")
    parser.add_argument("--channels", type=int, help="1 or 3, to convert image files to")


def _data_of(args) -> tuple[str, dict[str, Any]]:
    """The data set named on the command line, or that of the run in the folder; read as the run has read it."""
    record = Path(args.folder) / RUN_FILE
    if not record.is_file():
        if args.dataset is None:
            raise ValueError(f"'{args.folder}' does not say what it was trained on: give --dataset")
        return args.dataset, {}
    run = yaml.safe_load(record.read_text(encoding="utf-8"))
    return args.dataset or run.get("dataset", RunArguments.dataset), reading(run)


def reading(run: dict[str, Any]) -> dict[str, Any]:
    """What `load_images` is told of splits, size and channels by the flags of a run."""
    size = run.get("validation_size")
    return {
        "validation_size": size if size is None or size < 1 else int(size),
        "image_size": run.get("image_size"),
        "channels": run.get("channels"),
    }


# convert, export


def _convert(args):
    """Make a model of gae_hub from a checkpoint of another library: of Pythae."""
    from ..auto import AutoGAE

    own = {role: _own_network(role, getattr(args, role)) for role in ("encoder", "decoder") if getattr(args, role)}
    model = AutoGAE.from_pythae(args.from_pythae, **own)
    model.save_pretrained(args.output)
    notes = model.facts["imported"]["notes"]
    print(f"{type(model).__name__} with {model.num_parameters():,} parameters, saved to {args.output}")
    print("\n".join(["what differs from Pythae:", *(f"- {note}" for note in notes)]) if notes else "equal to Pythae")


def _convert_arguments(parser):
    parser.add_argument("--from-pythae", required=True, help="folder or Hub repository of a Pythae checkpoint")
    parser.add_argument("output", help="folder to save the model in")
    for role in ("encoder", "decoder"):
        parser.add_argument(f"--{role}", help=f"module:Class of the {role} that the checkpoint was made with")


def _own_network(role: str, name: str):
    """An object of the class that a person names, from their folder."""
    from importlib import import_module

    module, _, cls = name.partition(":")
    try:
        sys.path.insert(0, os.getcwd())
        return getattr(import_module(module), cls)()
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise ValueError(
            f"--{role} must name a class without arguments, as module:Class, got '{name}' ({error})"
        ) from error
    finally:
        sys.path.remove(os.getcwd())


def _export(args):
    """Write encoder and decoder for use without gae_hub: as programs of torch.export, as ONNX, or for diffusers."""
    from torch.utils.data import Subset

    from ..auto import AutoGAE
    from ..conversion.export import export_model
    from ..data.loading import iterate_batches, load_images

    images = None
    if args.dataset and args.format != "diffusers":
        raise ValueError(f"--dataset scales the latents of --format diffusers, and has no meaning for {args.format}")
    if args.format == "diffusers" and (args.dataset or (Path(args.folder) / RUN_FILE).is_file()):
        name, reading = _data_of(args)
        dataset = load_images(name, args.split, **reading)
        chosen = range(0, len(dataset), -(-len(dataset) // _MOST_TO_SCALE_BY))
        print(f"scaling the latents by {len(chosen):,} images of {name}, {args.split}")
        images = iterate_batches(Subset(dataset, chosen))
    written = export_model(AutoGAE.from_pretrained(args.folder), args.output, args.format, images)
    print("\n".join(str(path) for path in written))
    if args.format == "diffusers":
        factor = json.loads((Path(args.output) / "diffusers.json").read_text(encoding="utf-8"))["scaling_factor"]
        print(f"scaling_factor {factor:.5g}" + ("" if images else ", since no --dataset was given to measure it on"))


_MOST_TO_SCALE_BY = 10_000


def _export_arguments(parser):
    parser.add_argument("folder", metavar="model", help="folder or Hub repository")
    parser.add_argument("output", help="folder to write encoder and decoder to")
    parser.add_argument("--format", choices=("torch", "onnx", "diffusers"), default="torch")
    parser.add_argument("--dataset", help="for diffusers: data to scale the latents by; that of the run by default")
    parser.add_argument("--split", default="train")


# list, quickstart


def _list(args):
    """List methods, samplers, networks and metrics, with their papers."""
    from ..auto import AutoGAE, AutoSampler
    from ..hub.cards.papers import paper_of
    from ..metrics.model_metrics import METRICS
    from ..modules.backbones import backbone_names

    for auto, title in ((AutoGAE, "method"), (AutoSampler, "sampler")):
        papers = [(name, paper_of(auto.model_class(name))) for name in auto.names()]
        print_table([title, "", "paper"], [[name, p.name, f"{p.authors}, {p.year}, {p.id}"] for name, p in papers])
    print_table(["network", "as"], [[n, "encoder, decoder"] for n in backbone_names("encoder")])
    print_table(["metric", ""], [[name, metric.description] for name, metric in METRICS.items()])


def _quickstart(args):
    """Train, sample, measure, save and reload a small model on handwritten digits, in about a minute."""
    from .quickstart import quickstart

    quickstart(args.output_dir)


def _quickstart_arguments(parser):
    parser.add_argument("--output_dir", default="outputs/betavae-digits")


COMMANDS = {
    "train": (_train, _train_arguments),
    "fit-sampler": (_fit_sampler, _fit_sampler_arguments),
    "generate": (_generate, _generate_arguments),
    "evaluate": (_evaluate, _evaluate_arguments),
    "train-extractor": (_train_extractor, _train_extractor_arguments),
    "convert": (_convert, _convert_arguments),
    "export": (_export, _export_arguments),
    "list": (_list, lambda parser: None),
    "quickstart": (_quickstart, _quickstart_arguments),
}

if __name__ == "__main__":
    sys.exit(main())
