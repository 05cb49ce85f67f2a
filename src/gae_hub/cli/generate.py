"""Generate examples: one picture of all of them, a file of arrays or a table, a folder of images, or a data set."""

__all__ = ["add_arguments", "run"]

from argparse import Namespace
from pathlib import Path
from typing import Literal

from .flags import BATCH_SIZE, NUM_SAMPLES, OUTPUT_DIR, SAMPLER_NAME, SEED, Flag, sampler_subfolder
from .outputs import ARRAY_FILES, check_number_in_picture, is_picture
from .parser import Parser, UsageError

DEFAULT_PICTURE, DEFAULT_ARRAY = "samples.png", "samples.npy"
_DIR_HINT = f"--{OUTPUT_DIR.name}, or "


def add_arguments(parser: Parser):
    parser.add_model()
    parser.add_flags(
        NUM_SAMPLES,
        Flag(
            "output",
            str,
            f"Picture, or {ARRAY_FILES} file to write; without --{OUTPUT_DIR.name} by default {DEFAULT_PICTURE}, or "
            f"{DEFAULT_ARRAY} for data that are no images",
        ),
        OUTPUT_DIR,
        Flag("format", Literal["folder", "dataset"], "PNG files, or a data set (parquet files), in --output_dir"),
        SAMPLER_NAME,
        Flag(
            "class_label",
            int | None,
            "Class of all examples, for a conditional model or a sampler with classes; by default classes are drawn "
            "with their shares in the training set",
            None,
        ),
        Flag("guidance_scale", float, "Exaggerates the class above 1, for a model with condition_dropout", 1.0),
        SEED,
        BATCH_SIZE,
    )
    parser.epilog = (
        "The examples depend on the seed, but not on the batch size. They are in the units of the training data; .npz "
        "files of images hold 8-bit pixels, as other tools read them."
    )


def run(args: Namespace):
    if args.output_dir is not None and args.output is not None:
        raise UsageError("--output names a file and --output_dir a folder; pass one of them")
    if args.format is not None and args.output_dir is None:
        raise UsageError(f"--format {args.format} needs --output_dir")
    if args.output is not None and is_picture(args.output, "; for a folder pass --output_dir"):
        check_number_in_picture(args.num_samples, _DIR_HINT)

    from ..images.examples import name_of
    from ..images.grids import save_picture
    from ..pipelines.generation import GenerationPipeline

    pipe = GenerationPipeline.from_pretrained(args.model, sampler=sampler_subfolder(args.sampler_name))
    default = DEFAULT_PICTURE if pipe.returns_images else DEFAULT_ARRAY
    output = Path(args.output_dir or args.output or default)
    conditions = {"class_labels": args.class_label, "guidance_scale": args.guidance_scale}
    if args.output_dir is None and is_picture(output):
        check_number_in_picture(args.num_samples, _DIR_HINT)
        save_picture(pipe.draw(args.num_samples, args.seed, batch_size=args.batch_size, **conditions), output)
    else:
        format = None if args.output_dir is None else args.format or "folder"
        pipe.write(output, args.num_samples, args.seed, format, args.batch_size, **conditions)
    source = "the model's prior" if pipe.sampler is None else type(pipe.sampler).__name__
    of_class = "" if args.class_label is None else f" of class {args.class_label}"
    print(f"{args.num_samples} {name_of(pipe.model.config.input_shape)}{of_class} from {source}, saved to {output}")
