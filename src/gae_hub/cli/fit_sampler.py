"""Fit a sampler to the latents of a model's training data, and save it in the model's folder."""

__all__ = ["add_arguments", "run"]

from argparse import Namespace
from pathlib import Path

from .dataclass_flags import add_training_flags, config_flags
from .flags import DATASET, SAMPLER_NAME, Flag, sampler_subfolder
from .parser import Parser, UsageError
from .run_record import find_data

SAMPLER = Flag("sampler", str, "Kind of sampler, as `gae-hub list` shows it", "gaussian_mixture")


def add_arguments(parser: Parser):
    parser.add_model()
    parser.add_flags(SAMPLER, SAMPLER_NAME, DATASET)
    parser.epilog = f"Without --{DATASET.name}, the sampler is fitted to the data of the training run."
    parser.extend = _add_sampler_flags


def _add_sampler_flags(parser: Parser, words: list[str]):
    """Add the fields of the sampler's config and, for a sampler that is trained, the training arguments."""
    from ..auto import AutoSampler
    from ..samplers.learned import LearnedSampler

    name = parser.peek(words, SAMPLER).get(SAMPLER.name, SAMPLER.default)
    parser.help_command = f"{parser.prog} --sampler {name} --help"
    sampler, config_class = AutoSampler.model_class(name), AutoSampler.config_class(name)
    own = config_flags(config_class, without=config_class.set_by_fit)
    parser.add_flags(*own, group=f"fields of {config_class.__name__}", given_only=True)
    if issubclass(sampler, LearnedSampler):
        add_training_flags(parser, {*parser.flags, "output_dir"}, sampler.default_arguments)


def run(args: Namespace):
    from ..auto import AutoGAE, AutoSampler
    from ..data.loading import load_data
    from ..pipelines.generation import GenerationPipeline
    from ..samplers.learned import LearnedSampler

    folder = Path(args.model)
    if not folder.is_dir():
        raise UsageError(f"model: expected a folder, to save the sampler in, got '{args.model}'")
    if sampler_subfolder(args.sampler_name) is None:
        raise UsageError(f"--{SAMPLER_NAME.name}: 'prior' stands for the model's own prior; choose another name")
    config_class = AutoSampler.config_class(args.sampler)
    fixed = {"model", SAMPLER.name, SAMPLER_NAME.name, DATASET.name}
    given = {name: value for name, value in vars(args).items() if name not in fixed}
    own = {name: given.pop(name) for name in config_class.own_fields() if name in given}
    sampler = AutoSampler.from_config(config_class(**own))
    model = AutoGAE.from_pretrained(args.model)
    sampler.check_model(model)
    dataset, loading = find_data(args.model, args.dataset)
    train, validation = load_data(dataset, ("train", "validation"), streaming=False, **loading)
    if isinstance(sampler, LearnedSampler):
        sampler.fit_to(model, train, validation, progress=not given.pop("disable_tqdm", False), **given)
    else:
        sampler.fit_to(model, train)
    sampler.save_pretrained(folder / args.sampler_name)
    (folder / args.sampler_name / "README.md").unlink(missing_ok=True)  # the repository has one card
    if args.sampler_name == SAMPLER_NAME.default:
        # this sampler now draws the samples that the card shows
        GenerationPipeline.from_pretrained(args.model).save_pretrained(folder)
    print(f"fitted to {len(train):,} latents, saved to {folder / args.sampler_name}")
