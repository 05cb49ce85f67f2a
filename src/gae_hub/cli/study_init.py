"""Write a commented study file to start from, for your own data."""

__all__ = ["add_arguments", "run"]

from argparse import Namespace
from pathlib import Path

from .parser import Parser, UsageError

DEFAULT_FILE = "study.yaml"


def add_arguments(parser: Parser):
    parser.add_positional("file", "File to write", DEFAULT_FILE)


def run(args: Namespace):
    from ..core.files import write_text
    from ..study.declaration import find_study_file

    path = Path(args.file)
    if path.exists():
        raise UsageError(f"'{path}' exists; choose another name, or delete it")
    write_text(path, find_study_file("template").read_text(encoding="utf-8"))
    print(f"wrote {path}\nnext: edit it, then gae-hub study run {path} --output_dir {path.stem}")
