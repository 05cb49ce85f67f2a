"""Generate images: one picture of all of them, an npz file, a folder of PNG files, or a data set."""

__all__ = ["add_arguments", "run"]

from argparse import Namespace
from pathlib import Path
from typing import Literal

from .flags import BATCH_SIZE, NUM_SAMPLES, OUTPUT_DIR, SAMPLER_NAME, SEED, Flag, sampler_subfolder
from .parser import Parser, UsageError

DEFAULT_PICTURE = "samples.png"
LARGEST_PICTURE = 10_000
"""Number of images that fit into one picture."""


def add_arguments(parser: Parser):
    parser.add_model()
    parser.add_flags(
        NUM_SAMPLES,
        Flag("output", str, f"Picture or .npz file to write; {DEFAULT_PICTURE} without --{OUTPUT_DIR.name}"),
        OUTPUT_DIR,
        Flag("format", Literal["folder", "dataset"], "PNG files, or a data set (parquet files), in --output_dir"),
        SAMPLER_NAME,
        SEED,
        BATCH_SIZE,
    )
    parser.epilog = "The images depend on the seed, but not on the batch size."


def run(args: Namespace):
    output, format = _output_and_format(args)

    from ..images.grids import image_grid, save_picture
    from ..pipelines.generation import GenerationPipeline

    pipe = GenerationPipeline.from_pretrained(args.model, sampler=sampler_subfolder(args.sampler_name))
    if format == "picture":
        save_picture(image_grid(pipe(args.num_samples, seed=args.seed, batch_size=args.batch_size)), output)
    else:
        pipe.write(output, args.num_samples, args.seed, format, args.batch_size)
    source = "the model's prior" if pipe.sampler is None else type(pipe.sampler).__name__
    print(f"{args.num_samples} images from {source}, saved to {output}")


def _output_and_format(args: Namespace) -> tuple[Path, str]:
    """Where to write, and one of "picture", "npz", "folder" and "dataset"."""
    from PIL import Image

    if args.output_dir is not None:
        if args.output is not None:
            raise UsageError("--output names a file and --output_dir a folder; pass one of them")
        return Path(args.output_dir), args.format or "folder"
    if args.format is not None:
        raise UsageError(f"--format {args.format} needs --output_dir")
    output = Path(args.output or DEFAULT_PICTURE)
    if output.suffix == ".npz":
        return output, "npz"
    if output.suffix.lower() not in Image.registered_extensions():
        raise UsageError(
            f"--output: expected a picture such as {DEFAULT_PICTURE} or an .npz file, got '{output}'; "
            "for a folder pass --output_dir"
        )
    if args.num_samples > LARGEST_PICTURE:
        raise UsageError(
            f"--num_samples: {args.num_samples} images do not fit into one picture (at most {LARGEST_PICTURE:,}); "
            "pass --output_dir, or an --output that ends in .npz"
        )
    return output, "picture"
