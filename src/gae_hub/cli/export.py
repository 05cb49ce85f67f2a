"""Export encoder and decoder for use without gae_hub: to torch.export, ONNX or diffusers."""

__all__ = ["add_arguments", "run"]

from argparse import Namespace
from dataclasses import replace
from pathlib import Path
from typing import Literal

from .flags import DATASET, OUTPUT_DIR, SPLIT, Flag
from .parser import Parser, UsageError
from .run_record import RUN_FILE, find_data

MOST_IMAGES = 10_000
"""Number of images that suffice to measure the scale of the latents."""


def add_arguments(parser: Parser):
    parser.add_model()
    parser.usage = "%(prog)s model --output_dir DIR [flags]"
    parser.add_flags(
        replace(OUTPUT_DIR, required=True),
        Flag("format", Literal["torch", "onnx", "diffusers"], "Format of encoder and decoder", "torch"),
        DATASET,
        replace(SPLIT, default="train"),
    )
    parser.epilog = (
        "An autoencoder for diffusers scales its latents. The factor is measured on --dataset, by default on the data "
        "of the training run."
    )


def run(args: Namespace):
    from torch.utils.data import Subset

    from ..auto import AutoGAE
    from ..conversion.export import export_model
    from ..core.json_files import read_json_object
    from ..data.loading import iterate_batches, load_data

    is_for_diffusers = args.format == "diffusers"
    if args.dataset and not is_for_diffusers:
        raise UsageError(f"--dataset: only --format diffusers scales latents by data, but the format is {args.format}")
    images = None
    if is_for_diffusers and (args.dataset or (Path(args.model) / RUN_FILE).is_file()):
        name, loading = find_data(args.model, args.dataset)
        dataset = load_data(name, args.split, **loading)
        chosen = range(0, len(dataset), -(-len(dataset) // MOST_IMAGES))
        print(f"measuring the scale of the latents on {len(chosen):,} images of {name}, {args.split}")
        images = iterate_batches(Subset(dataset, chosen))
    model = AutoGAE.from_pretrained(args.model)
    written = export_model(model, args.output_dir, args.format, images)
    print("\n".join(str(path) for path in written))
    if is_for_diffusers:
        from ..conversion.diffusers_weights import why_not_genuine

        config = read_json_object(Path(args.output_dir) / "config.json")
        reason = why_not_genuine(model)
        print(config["_class_name"] + ("" if reason is None else f", not a class of diffusers: {reason}"))
        factor, is_known = config["scaling_factor"], getattr(model.config, "scaling_factor", None) is not None
        note = ", of the model's config" if is_known else ", the default: pass --dataset to measure it"
        print(f"scaling_factor {factor:.5g}" + ("" if images else note))
