"""Publish a study on the Hub: models, results as a data set, page as a Space, and a collection of all."""

__all__ = ["add_arguments", "run"]

from argparse import Namespace
from typing import Literal

from .flags import Flag
from .parser import Parser
from .study_report import STUDY


def add_arguments(parser: Parser):
    parser.add_positional("folder", "Folder of the study, the --output_dir of gae-hub study run")
    parser.add_positional("repo_id", "user/name of the Space, and beginning of the other names")
    parser.add_flags(
        STUDY,
        Flag(
            "models",
            Literal["chosen", "all", "none"],
            "Models to publish: those whose configuration is chosen on validation for a task, all, or none",
            "chosen",
        ),
        Flag("private", bool, "Make new repositories and the collection private"),
        Flag("license", str | None, "License for the cards, such as mit; by default cards keep theirs, or apache-2.0"),
    )
    parser.epilog = "If it is interrupted, the same line goes on. What is published already is not sent again."


def run(args: Namespace):
    from ..study.folder import StudyFolder
    from ..study.publish import publish_study

    folder = StudyFolder.find(args.folder, args.study)
    try:
        found = publish_study(
            folder, args.repo_id, models=args.models, private=args.private or None, license=args.license
        )
    except KeyboardInterrupt:
        raise KeyboardInterrupt("stopped; the same line goes on") from None
    print(f"cells: {found.states}")
    for name, reason in found.left_out.items():
        print(f"left out: {name}: {reason}")
    print(f"models: {len(found.models)}\nresults: datasets/{found.results}\npage: spaces/{found.page}")
    print(f"{found.num_commits} of {len(found.models) + 2} repositories were published now")
    print(f"collection: {found.collection}")
