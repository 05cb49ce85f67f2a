"""Write, serve or publish the Space of a model, to sample and explore it, or of a study, to compare its methods."""

__all__ = ["add_arguments", "run"]

from argparse import Namespace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from .flags import DATASET, EVALUATION_SPLIT, OUTPUT_DIR, Flag
from .parser import Parser, UsageError
from .run_record import find_data, load_split
from .study_report import STUDY

if TYPE_CHECKING:
    from ..spaces.example_sets import ExampleSet


def add_arguments(parser: Parser):
    parser.add_model()
    parser.add_flags(
        DATASET,
        EVALUATION_SPLIT,
        OUTPUT_DIR,
        Flag("serve", bool, "Serve the page on this machine until Ctrl-C"),
        Flag("port", int | None, "Port of --serve; by default the first free one from 7860", minimum=1),
        Flag("push", str | None, "Publish to this Space on the Hub, user/name"),
        Flag("private", bool, "Make a new Space private"),
        Flag("license", str | None, "License for the card, such as mit; by default that of the model, or apache-2.0"),
        STUDY,
        Flag("published", str | None, "Name that the study was published as, user/name: its models load from the Hub"),
    )
    parser.epilog = (
        f"Without --{DATASET.name}, the page shows the examples in the model's repository, or else those of the "
        "training run's data, or else images that the model generates. Without --output_dir, --serve and "
        "--push, the Space is written to <model>-space. An earlier Space in --output_dir is replaced; other files "
        "there stay."
    )


def run(args: Namespace):
    from ..core.argument_checks import require_extra

    require_extra("gradio", "gae-hub space")
    from ..spaces.model_app import launch_app
    from ..spaces.space_folder import write_space
    from ..spaces.space_publishing import publish_space
    from ..spaces.study_app import launch_study_app
    from ..spaces.study_folder import write_study_space
    from ..study.folder import StudyFolder

    if args.port is not None and not args.serve:
        raise UsageError("--port needs --serve")
    if args.private and args.push is None:
        raise UsageError("--private needs --push")
    is_study = (Path(args.model) / "studies").is_dir()
    if not is_study and (args.study or args.published):
        raise UsageError(f"--study and --published need the folder of a study, and '{args.model}' holds none")
    if is_study and (args.dataset or args.split):
        raise UsageError(
            f"--{DATASET.name} and --{EVALUATION_SPLIT.name} need a model: the Space of a study shows test images of "
            "the study's own data"
        )
    with TemporaryDirectory() as temporary:
        name = Path(args.model).resolve().name
        is_kept = args.output_dir is not None or not (args.serve or args.push)
        folder = Path(args.output_dir or f"{name}-space") if is_kept else Path(temporary) / name
        if is_study:
            study = StudyFolder.find(args.model, args.study)
            write_study_space(study, folder, published=args.published, repo_id=args.push, license=args.license)
        else:
            examples = _find_examples(args)
            write_space(args.model, folder, examples=examples, repo_id=args.push, license=args.license)
        if is_kept:
            print(f"wrote the Space to {folder}\nnext: python {folder / 'app.py'}, or gae-hub space with --push")
        if args.push is not None:
            is_new = publish_space(folder, args.push, private=args.private or None)
            state = "published to" if is_new else "nothing changed at"
            print(f"{state} https://huggingface.co/spaces/{args.push}")
        if args.serve and is_study:
            launch_study_app(folder, server_port=args.port)
        elif args.serve:
            model = Path(args.model).resolve() if Path(args.model).is_dir() else args.model
            launch_app(model, folder=folder, title=name, server_port=args.port)


def _find_examples(args: Namespace) -> "ExampleSet | None":
    """Examples of the named data set, or of the training run's.

    None if the model's repository has its own; or, with a line that says why, if the model must generate them.
    """
    from ..core.hub_files import fetch_file
    from ..spaces.example_sets import EXAMPLES_FILE, bake_examples

    try:
        if args.dataset is None and args.split is None and fetch_file(args.model, EXAMPLES_FILE) is not None:
            return None
        name, loading = find_data(args.model, args.dataset)
        dataset, split = load_split(args.model, name, args.split, loading)
    except (ValueError, OSError) as error:
        if args.dataset is not None:
            raise
        print(f"the page shows examples that the model generates: {error}")
        return None
    return bake_examples(dataset, f"{name}, {split} split")
