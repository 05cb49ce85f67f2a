"""Convert a checkpoint of another library, Pythae, into a model of gae_hub."""

__all__ = ["add_arguments", "run"]

import os
import sys
from argparse import Namespace
from dataclasses import replace
from importlib import import_module
from typing import Any

from .flags import OUTPUT_DIR, Flag
from .parser import Parser, UsageError

ROLES = ("encoder", "decoder")


def add_arguments(parser: Parser):
    parser.usage = "%(prog)s --from_pythae NAME --output_dir DIR [flags]"
    parser.add_flags(
        Flag("from_pythae", str, "Folder or Hub repository of a Pythae checkpoint", required=True),
        replace(OUTPUT_DIR, required=True),
        *(
            Flag(f"{role}_class", str, f"Class of a custom {role}, as module:Class; its file may be in this folder")
            for role in ROLES
        ),
    )


def run(args: Namespace):
    from ..auto import AutoGAE

    names = {role: getattr(args, f"{role}_class") for role in ROLES}
    networks = {role: _build_network(role, name) for role, name in names.items() if name is not None}
    model = AutoGAE.from_pythae(args.from_pythae, **networks)
    model.save_pretrained(args.output_dir)
    notes = (model.facts or {})["imported"]["notes"]
    print(f"{type(model).__name__} with {model.num_parameters():,} parameters, saved to {args.output_dir}")
    print("\n".join(["differences from Pythae:", *(f"- {note}" for note in notes)]) if notes else "same as in Pythae")


def _build_network(role: str, name: str) -> Any:
    """An instance of the class `name`, written as module:Class. Modules in the working directory are found too."""
    module, _, cls = name.partition(":")
    folder = os.getcwd()
    sys.path.insert(0, folder)
    try:
        return getattr(import_module(module), cls)()
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise UsageError(
            f"--{role}_class: expected a class that needs no arguments, as module:Class, got '{name}' ({error})"
        ) from error
    finally:
        sys.path.remove(folder)
