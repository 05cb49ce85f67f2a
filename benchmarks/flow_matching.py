"""Flow matching against other samplers: densities of known data, and samples from an autoencoder of MNIST.

`python -m benchmarks.flow_matching densities` fits flow matching and the neural spline to two moons and to a mixture
of ten Gaussians in eight dimensions, and prints the mean negative log density of fresh data.

`python -m benchmarks.flow_matching mnist FOLDER` compares 10,000 decoded samples with 10,000 test images by FID, and
with their reconstructions, which leaves out what the autoencoder loses. It trains an autoencoder of the paper's ResNet
and a classifier for the features, and keeps both in the folder for the next run. Decoded latents of training images,
the samples of `empirical`, are the floor.
"""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from time import perf_counter

import torch
from torch import Tensor
from transformers import set_seed

import gae_hub
from gae_hub import (
    AEConfig,
    AEModel,
    AutoGAE,
    EmpiricalSampler,
    FlowMatchingSampler,
    GAESampler,
    GAETrainer,
    GAETrainingArguments,
    GaussianMixtureSampler,
    NeuralSplineSampler,
    load_images,
)
from gae_hub.data.loading import iterate_batches
from gae_hub.metrics import train_extractor
from gae_hub.models.base import GAEPreTrainedModel

from .splines import build_mixture

NUM_IMAGES, NUM_DRAWS, NUM_SEEDS = 10_000, 10_000, 5
NETWORK = {"hidden_size": 256, "num_hidden_layers": 4}  # of flow matching on MNIST
TRAINING = {"per_device_train_batch_size": 512, "ema_decay": 0.999, "progress": False}


# Known densities


def draw_moons(num: int, generator: torch.Generator) -> Tensor:
    """Two moons with a standard deviation of 0.1 across."""
    angle = torch.pi * torch.rand(num, generator=generator)
    is_upper = torch.rand(num, generator=generator) < 0.5
    x = torch.where(is_upper, angle.cos(), 1 - angle.cos())
    y = torch.where(is_upper, angle.sin(), 0.5 - angle.sin())
    return torch.stack([x, y], 1) + 0.1 * torch.randn(num, 2, generator=generator)


DENSITIES: dict[str, Callable[[int, torch.Generator], Tensor]] = {
    "two moons": draw_moons,
    "mixture of 10 in 8 dimensions": lambda num, generator: build_mixture().draw(num, generator).float(),
}
FITS: dict[str, Callable[[int], GAESampler]] = {
    "neural spline": lambda seed: NeuralSplineSampler(seed=seed),
    "flow matching": lambda seed: FlowMatchingSampler(seed=seed),
}


def compare_densities(seeds: Sequence[int], num_train: int, num_test: int, epochs: int):
    """Print a row per density and sampler: the median over seeds of the negative log density, and of the time."""
    print("| density | sampler | negative log density, nats | fit, s |\n|---|---|---:|---:|")
    for name, draw in DENSITIES.items():
        for kind, build in FITS.items():
            losses, times = [], []
            for seed in seeds:
                points = draw(num_train + num_test, torch.Generator().manual_seed(seed))
                train, test = points.split([num_train, num_test])
                start = perf_counter()
                changes = {"num_train_epochs": epochs} if kind == "flow matching" and epochs else {}
                sampler = build(seed).fit(train, progress=False, **changes)
                times.append(perf_counter() - start)
                losses.append(-sampler.log_prob(test).mean().item())
            print(f"| {name} | {kind} | {median(losses):.3f} | {median(times):.0f} |", flush=True)


# MNIST


def load_autoencoder(folder: Path, data: str, epochs: int) -> GAEPreTrainedModel:
    """The autoencoder in a folder, trained first if it is not there."""
    if not (folder / "config.json").exists():
        train, validation = load_images(data, splits=("train", "validation"))
        set_seed(0)
        model = AEModel(
            AEConfig(
                input_shape=(1, 28, 28), latent_dim=16, encoder_config="paper_resnet", decoder_config="paper_resnet"
            )
        )
        args = GAETrainingArguments(
            str(folder),
            num_train_epochs=epochs,
            lr_scheduler_type="cosine",
            max_grad_norm=1.0,  # without it, the decoder dies in the first steps of some runs
            report_to="none",
            disable_tqdm=True,
        )
        trainer = GAETrainer(model, args, train_dataset=train, eval_dataset=validation)
        trainer.train()
        trainer.save_model(str(folder))
    return AutoGAE.from_pretrained(folder)


def load_extractor(folder: Path, data: str) -> str:
    """The path of the classifier in a folder, trained first if it is not there."""
    if not (folder / "config.json").exists():
        train, validation = load_images(data, splits=("train", "validation"))
        train_extractor(train, validation, num_train_epochs=1, progress=False).save_pretrained(folder)
    return str(folder)


def measure_fid(images: Tensor, references: Tensor, extractor: str) -> float:
    fid = gae_hub.metrics.load("fid", feature_extractor=extractor)
    fid.add_batch(references=references, predictions=images.clamp(0, 1))
    return float(fid.compute()["fid"])


def compare_samples(folder: Path, data: str, epochs: int, sampler_epochs: int):
    """Print a row per sampler: both FIDs, the time of the fit, and that of 10,000 draws, medians over five draws."""
    samplers: dict[str, Callable[[], GAESampler]] = {
        "empirical": lambda: EmpiricalSampler().fit_to(model, train, progress=False),
        "gaussian_mixture": lambda: GaussianMixtureSampler(num_components=10).fit_to(model, train, progress=False),
        "flow_matching": lambda: FlowMatchingSampler(**NETWORK).fit_to(
            model, train, num_train_epochs=sampler_epochs, **TRAINING
        ),
    }
    model = load_autoencoder(folder / "autoencoder", data, epochs).eval()
    extractor = load_extractor(folder / "extractor", data)
    train, validation, test = load_images(data, splits=("train", "validation", "test"))
    images, unseen = (next(iterate_batches(split, NUM_IMAGES)) for split in (test, validation))
    restored, floor = (torch.cat([model.reconstruct(part) for part in found.split(500)]) for found in (images, unseen))
    print("| samples | FID | FID to reconstructions | fit, s | 10,000 draws, s |\n|---|---:|---:|---:|---:|")
    for name, found in (("validation images", unseen), ("their reconstructions", floor)):
        fids = (f"{measure_fid(found, references, extractor):.2f}" for references in (images, restored))
        print(f"| {name} | {' | '.join(fids)} | | |", flush=True)
    gae_hub.embed_dataset(model, train, progress=False, sample=True)  # cached, so that fits are timed without it
    for name, fit in samplers.items():
        start = perf_counter()
        sampler = fit()
        fit_time = perf_counter() - start
        sampler.save_pretrained(folder / name)
        rows = []
        for seed in range(NUM_SEEDS):
            start = perf_counter()
            latents = sampler.sample(NUM_DRAWS, torch.Generator().manual_seed(seed))
            draw_time = perf_counter() - start
            with torch.no_grad():
                drawn = torch.cat([model.decode(part) for part in latents.split(500)])
            rows.append([*(measure_fid(drawn, references, extractor) for references in (images, restored)), draw_time])
        fid, fid_to_reconstructions, draw_time = map(median, zip(*rows, strict=True))
        print(f"| {name} | {fid:.2f} | {fid_to_reconstructions:.2f} | {fit_time:.0f} | {draw_time:.1f} |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    densities = commands.add_parser("densities")
    densities.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="seeds of data and weights")
    densities.add_argument("--num_train", type=int, default=5_000, help="points to fit")
    densities.add_argument("--num_test", type=int, default=5_000, help="points to measure")
    densities.add_argument("--epochs", type=int, default=0, help="epochs of flow matching; 0 for its default")
    mnist = commands.add_parser("mnist")
    mnist.add_argument("folder", type=Path, help="where the autoencoder and the classifier are kept")
    mnist.add_argument("--data", default="ylecun/mnist", help="MNIST")
    mnist.add_argument("--epochs", type=int, default=20, help="epochs of the autoencoder")
    mnist.add_argument("--sampler_epochs", type=int, default=80, help="epochs of flow matching")
    args = parser.parse_args()
    if args.command == "densities":
        compare_densities(args.seeds, args.num_train, args.num_test, args.epochs)
    else:
        compare_samples(args.folder, args.data, args.epochs, args.sampler_epochs)


if __name__ == "__main__":
    main()
