"""Convert a checkpoint of another library, Pythae or diffusers, into a model of gae_hub."""

__all__ = ["add_arguments", "run"]

import os
import sys
from argparse import Namespace
from dataclasses import replace
from importlib import import_module
from typing import Any

from .flags import IMAGE_SIZE, OUTPUT_DIR, Flag
from .parser import Parser, UsageError

ROLES = ("encoder", "decoder")
OWN_FLAGS = {
    "from_pythae": tuple(f"{role}_class" for role in ROLES),
    "from_diffusers": ("subfolder", "image_size"),
}
"""Flag of a source to the flags that belong to it alone."""


def add_arguments(parser: Parser):
    parser.usage = "%(prog)s (--from_pythae | --from_diffusers) NAME --output_dir DIR [flags]"
    parser.add_flags(
        Flag("from_pythae", str, "Folder or Hub repository of a Pythae checkpoint"),
        Flag("from_diffusers", str, "Folder or Hub repository of an AutoencoderKL, a VQModel or a pipeline with one"),
        replace(OUTPUT_DIR, required=True),
        Flag("subfolder", str, "Folder of the autoencoder in a pipeline of diffusers"),
        IMAGE_SIZE,
        *(
            Flag(f"{role}_class", str, f"Class of a custom {role}, as module:Class; its file may be in this folder")
            for role in ROLES
        ),
    )


def run(args: Namespace):
    for source, others in OWN_FLAGS.items():
        misplaced = [name for name in others if getattr(args, name) is not None]
        if misplaced and getattr(args, source) is None:
            raise UsageError(f"--{misplaced[0]}: it has an effect with --{source} only")
    if (args.from_pythae is None) == (args.from_diffusers is None):
        raise UsageError("expected either --from_pythae or --from_diffusers")
    (convert_pythae if args.from_pythae is not None else convert_diffusers)(args)


def convert_pythae(args: Namespace):
    """Convert a checkpoint of Pythae, and print the differences."""
    from ..auto import AutoGAE

    names = {role: getattr(args, f"{role}_class") for role in ROLES}
    networks = {role: _build_network(role, name) for role, name in names.items() if name is not None}
    model = AutoGAE.from_pythae(args.from_pythae, **networks)
    model.save_pretrained(args.output_dir)
    notes = (model.facts or {})["imported"]["notes"]
    print(f"{type(model).__name__} with {model.num_parameters():,} parameters, saved to {args.output_dir}")
    print("\n".join(["differences from Pythae:", *(f"- {note}" for note in notes)]) if notes else "same as in Pythae")


def convert_diffusers(args: Namespace):
    """Convert an autoencoder of diffusers, and print its shapes."""
    from ..auto import AutoGAE

    model = AutoGAE.from_diffusers(args.from_diffusers, args.subfolder, args.image_size)
    model.save_pretrained(args.output_dir)
    print(f"{type(model).__name__} with {model.num_parameters():,} parameters, saved to {args.output_dir}")
    print(f"images {model.config.input_shape} in [0, 1], scaling_factor {model.config.scaling_factor:.5g}")


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
