"""Write the tables, figures and the page of a study, from the cells that are done."""

__all__ = ["STUDY", "add_arguments", "run"]

from argparse import Namespace

from .flags import Flag
from .parser import Parser

STUDY = Flag("study", str | None, "Name of the study, if the folder holds several")


def add_arguments(parser: Parser):
    parser.add_positional("folder", "Folder of the study, the --output_dir of gae-hub study run")
    parser.add_flags(STUDY)


def run(args: Namespace):
    from ..study.collect import load_results
    from ..study.folder import StudyFolder
    from ..study.report import write_report

    folder = StudyFolder.find(args.folder, args.study)
    page = write_report(load_results(folder), folder.study / "report")
    print(f"wrote {page}")
