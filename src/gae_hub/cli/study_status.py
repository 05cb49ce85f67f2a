"""Show how far a study is: cells done, running, left and failed, the time that is left, and the table so far."""

__all__ = ["LOADS_MODELS", "add_arguments", "run"]

from argparse import Namespace

from .flags import Flag
from .parser import Parser
from .study_report import STUDY

LOADS_MODELS = False
"""Whether the command shows the progress bars of transformers, which `gae-hub` then turns off."""


def add_arguments(parser: Parser):
    parser.add_positional("folder", "Folder of the study, the --output_dir of gae-hub study run")
    parser.add_flags(STUDY, Flag("errors", bool, "Show the tracebacks of failed cells"))


def run(args: Namespace):
    from ..study.folder import StudyFolder
    from ..study.status import describe_status

    print(describe_status(StudyFolder.find(args.folder, args.study), tracebacks=args.errors))
