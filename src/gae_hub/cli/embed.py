"""Embed a data set: write its latents, or the codes of a model with a quantizer, into an array or a table."""

__all__ = ["add_arguments", "run"]

from argparse import Namespace
from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

from .flags import BATCH_SIZE, DATASET, EVALUATION_SPLIT, Flag
from .outputs import ARRAY_FILES, check_array_file
from .parser import Parser, UsageError
from .run_record import find_data, load_split

if TYPE_CHECKING:
    from torch import Tensor


def add_arguments(parser: Parser):
    parser.add_model()
    parser.add_flags(
        DATASET,
        EVALUATION_SPLIT,
        Flag("output", str, f"{ARRAY_FILES} file to write", "latents.npy"),
        Flag("codes", bool, "Write the integer codes of a model with a quantizer instead of its latents"),
        BATCH_SIZE,
    )
    parser.epilog = (
        f"Without --{DATASET.name}, the examples are from the data of the training run. Arrays keep the shape of the "
        "latents; tables have columns z0, z1, ... (c0, c1, ... for codes) and, for data with labels, label."
    )


def run(args: Namespace):
    check_array_file(args.output)

    from ..auto import AutoGAE
    from ..data.batches import move
    from ..data.class_labels import with_conditions
    from ..data.loading import iterate_examples
    from ..images.array_files import TABLE_SUFFIXES, write_arrays
    from ..models.quantized import QuantizedModel

    model = AutoGAE.from_pretrained(args.model)
    if not args.codes:
        embed, shape = model.embed, model.latent_shape
    elif isinstance(model, QuantizedModel):
        embed, shape = model.encode_codes, model.code_shape
    else:
        raise UsageError(f"--codes: {type(model).__name__} has no codes; only models with a quantizer do")
    name, loading = find_data(args.model, args.dataset)
    dataset, split = load_split(args.model, name, args.split, loading)
    output = Path(args.output)
    is_table = output.suffix.lower() in TABLE_SUFFIXES

    def embeddings() -> "Iterator[Tensor]":
        for batch in iterate_examples(with_conditions(model, dataset), args.batch_size, "embedding"):
            found = embed(**move(batch, model.device))
            yield found.reshape(len(found), -1) if is_table else found

    letter = "c" if args.codes else "z"
    names = [f"{letter}{index}" for index in range(prod(shape))] if is_table else None
    write_arrays(embeddings(), len(dataset), output, names, dataset.labels if is_table else None)
    print(f"{len(dataset)} examples of {name}, {split}, embedded as {tuple(shape)} and saved to {output}")
