"""Train a small classifier on a labelled data set, as a feature extractor for FID and related metrics."""

__all__ = ["add_arguments", "run"]

from argparse import Namespace
from dataclasses import replace

from .flags import BATCH_SIZE, DATA_OPTIONS, DATASET, NORMALIZE, OUTPUT_DIR, SEED, Flag
from .parser import Parser
from .run_record import DEFAULT_DATASET, loading_arguments


def add_arguments(parser: Parser):
    parser.usage = "%(prog)s [flags]"
    parser.add_flags(
        replace(DATASET, default=DEFAULT_DATASET),
        *(flag for flag in DATA_OPTIONS if flag is not NORMALIZE),  # an extractor sees images as they are
        replace(OUTPUT_DIR, default="outputs/extractor"),
        Flag("num_train_epochs", float, "Passes over the training images", 10.0, minimum=0),
        Flag("learning_rate", float, "Initial learning rate of AdamW", 2e-3, minimum=0),
        BATCH_SIZE,
        SEED,
    )


def run(args: Namespace):
    from ..data.loading import load_images
    from ..metrics.networks.classifier_training import train_extractor

    dataset: str = args.dataset
    options = loading_arguments({name: value for name, value in vars(args).items() if value is not None})
    train, validation = load_images(dataset, ("train", "validation"), streaming=False, **options)
    model = train_extractor(
        train,
        validation,
        batch_size=args.batch_size,
        num_train_epochs=args.num_train_epochs,
        learning_rate=args.learning_rate,
        seed=args.seed,
    )
    model.save_pretrained(args.output_dir)
    print(
        f"accuracy {model.config.accuracy:.2%} on {len(validation):,} validation images, saved to {args.output_dir}\n"
        f"next: gae-hub evaluate MODEL --metrics fid --extractor {args.output_dir}"
    )
