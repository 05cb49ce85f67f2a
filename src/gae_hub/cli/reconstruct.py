"""Reconstruct examples of a data set: one picture of originals and reconstructions, or a file of reconstructions."""

__all__ = ["add_arguments", "run"]

from argparse import Namespace
from dataclasses import replace
from pathlib import Path

from .flags import BATCH_SIZE, DATASET, EVALUATION_SPLIT, NUM_SAMPLES, Flag
from .outputs import ARRAY_FILES, check_number_in_picture, is_picture
from .parser import Parser
from .run_record import find_data, load_split

_NUM_IN_PICTURE = 24


def add_arguments(parser: Parser):
    parser.add_model()
    parser.add_flags(
        DATASET,
        EVALUATION_SPLIT,
        Flag("output", str, f"Picture, or {ARRAY_FILES} file to write", "reconstructions.png"),
        replace(
            NUM_SAMPLES,
            type=int | None,
            help="Number of examples, from the start of the split; by default all, in a picture "
            f"{_NUM_IN_PICTURE} (500 rows of a table)",
            default=None,
        ),
        BATCH_SIZE,
    )
    parser.epilog = (
        f"Without --{DATASET.name}, the examples are from the data of the training run. Reconstructions are in the "
        "units of the data; .npz files of images hold 8-bit pixels, as other tools read them."
    )


def run(args: Namespace):
    if is_picture(args.output):
        check_number_in_picture(args.num_samples or 1)

    import torch

    from ..data.batches import move
    from ..data.class_labels import with_conditions
    from ..data.loading import iterate_examples
    from ..images.examples import draw_reconstructions, name_of, num_to_draw
    from ..images.grids import save_picture
    from ..images.writing import write_examples
    from ..pipelines.generation import GenerationPipeline

    pipe = GenerationPipeline.from_pretrained(args.model, sampler=None)
    model, processor = pipe.model, pipe.processor
    name, loading = find_data(args.model, args.dataset)
    dataset, split = load_split(args.model, name, args.split, loading)
    dataset = with_conditions(model, dataset)
    output, shape = Path(args.output), model.config.input_shape
    num = len(dataset) if args.num_samples is None else min(args.num_samples, len(dataset))
    if is_picture(output):
        if args.num_samples is None:
            num = min(num, num_to_draw(shape, _NUM_IN_PICTURE))
        batches = list(iterate_examples(dataset, args.batch_size, "reconstructing", stop=num))
        reconstructions = torch.cat([model.reconstruct(**move(batch, model.device)).cpu() for batch in batches])
        originals = processor.restore(torch.cat([batch["pixel_values"] for batch in batches]))
        names = processor.column_names
        save_picture(draw_reconstructions(originals, processor.restore(reconstructions), names), output)
    else:
        batches = iterate_examples(dataset, args.batch_size, "reconstructing", stop=num)
        outputs = (model.reconstruct(**move(batch, model.device)) for batch in batches)
        write_examples(outputs, num, output, processor)
    print(f"{num} {name_of(shape)} of {name}, {split}, reconstructed and saved to {output}")
