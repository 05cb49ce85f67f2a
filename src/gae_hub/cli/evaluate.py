"""Measure a model, write results.json, and put the numbers into the model's card."""

__all__ = ["add_arguments", "run"]

from argparse import Namespace
from dataclasses import replace
from pathlib import Path

from .flags import DATASET, EVALUATION_SPLIT, NUM_SAMPLES, PUSH_TO_HUB, SAMPLER_NAME, SEED, Flag, sampler_subfolder
from .parser import Parser, UsageError
from .run_record import find_data, load_split
from .tables import print_table

RESULTS_FILE = "results.json"


def add_arguments(parser: Parser):
    parser.add_model()
    parser.add_flags(
        Flag(
            "metrics", str, "Metrics, as `gae-hub list` shows them", default=["mse", "energy", "clustering"], many=True
        ),
        DATASET,
        EVALUATION_SPLIT,
        SAMPLER_NAME,
        replace(NUM_SAMPLES, help="Number of images to generate for metrics of samples", default=1000),
        SEED,
        Flag(
            "extractor",
            str,
            "Feature extractor of FID and related metrics: inception, a vision model of transformers, or an "
            "extractor trained by `gae-hub train-extractor`",
            "inception",
        ),
        Flag("weights", str, "Published weights of inception; downloaded if not given"),
        Flag("factors", str, "Columns of the data that are factors of variation, for mig, dci and others", many=True),
        Flag("options", dict[str, dict], 'Options of single metrics: {"fid": {"extrapolate": true}}'),
        Flag("output", str, f"File for the results; by default {RESULTS_FILE} in the model's folder, or here"),
        PUSH_TO_HUB,
    )
    parser.epilog = (
        f"Without --{DATASET.name}, the model is measured on the data of its training run. "
        "Without --factors, the factors are the columns of integers."
    )


def run(args: Namespace):
    from ..core.files import write_json
    from ..data.caches import hash_tensors
    from ..data.loading import load_data
    from ..hub.cards.results import publish_results, record_results
    from ..metrics.evaluation import check_metrics, evaluate_model, to_results
    from ..pipelines.generation import GenerationPipeline

    check_metrics(args.metrics)  # before the model is loaded
    for name in args.options or {}:
        if name not in args.metrics:
            raise UsageError(f"--options: '{name}' is not one of the --metrics, {', '.join(args.metrics)}")
    is_folder = Path(args.model).is_dir()
    if args.push_to_hub and is_folder:
        raise UsageError(
            f"--push_to_hub: expected a model on the Hub, but '{args.model}' is a folder; publish the model first"
        )
    pipe = GenerationPipeline.from_pretrained(args.model, sampler=sampler_subfolder(args.sampler_name))
    name, loading = find_data(args.model, args.dataset)
    dataset, split = load_split(args.model, name, args.split, loading)
    needs_training_data = "probe" in args.metrics and split != "train"
    numbers = evaluate_model(
        pipe.model,
        dataset,
        args.metrics,
        pipe.sampler,
        args.num_samples,
        args.seed,
        extractor=args.extractor,
        weights=args.weights,
        train_dataset=load_data(name, "train", **loading) if needs_training_data else None,
        options=args.options,
        factors=args.factors,
        progress=True,
    )
    results = {
        "dataset": name,
        "origin": dataset.origin,
        "split": split,
        "num_samples": args.num_samples,
        "seed": args.seed,
        "sampler": None if pipe.sampler is None else hash_tensors(pipe.sampler.state_dict()),
        **to_results(numbers),
    }
    if is_folder:
        record_results(pipe.model, args.model, results)
    if args.output or not is_folder:
        write_json(args.output or RESULTS_FILE, results)
    if args.push_to_hub:
        print(publish_results(pipe.model, args.model, results))
    print_table(["metric", f"{name}, {split}"], [[name, f"{value:.5g}"] for name, value in numbers.items()])
