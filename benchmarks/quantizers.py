"""Quantizers of VQ-VAE at equal bits per image: python -m benchmarks.quantizers FOLDER [quantizers] --data CIFAR10.

Each model has the same convolutional networks and 8 x 8 tokens of 9 bits, and reconstructs images that it was not
trained on. The FID is that of a classifier of the training images. FOLDER keeps the classifier, the models and their
numbers, so that an interrupted command goes on where it stopped. A plain VAE with a latent map of the same size is
trained as well. Steps are timed by turns with those of the VAE; the table has medians.

`--times` measures the times alone, without data. `--table` prints the table of what is measured, and `--picture FILE`
saves rows of reconstructions of the same images.
"""

import argparse
import json
from pathlib import Path
from statistics import median

import torch
from PIL import Image
from transformers import set_seed

from gae_hub import (
    AutoGAE,
    GAETrainer,
    GAETrainingArguments,
    VAEConfig,
    VAEModel,
    VQVAEConfig,
    VQVAEModel,
    embed_dataset,
    load_images,
)
from gae_hub.data.datasets import InMemoryDataset
from gae_hub.images.grids import image_grid
from gae_hub.metrics import evaluate_model, load_extractor, train_extractor
from gae_hub.metrics.functional.codes import code_usage
from gae_hub.models.base import GAEPreTrainedModel
from gae_hub.models.quantized import QuantizedModel

from .comparison import timed
from .training_step import training_step

BATCH_SIZE, WIDTH = 64, 24
FILE = "numbers.json"
QUANTIZERS = {
    "vae": {},
    "vq": {"latent_dim": WIDTH, "num_embeddings": 512},
    "vq, gradient": {"latent_dim": WIDTH, "num_embeddings": 512, "codebook_update": "gradient"},
    "sim_vq": {"latent_dim": WIDTH, "num_embeddings": 512},
    "fsq": {"latent_dim": 3, "num_embeddings": 512, "fsq_levels": (8, 8, 8)},
    "lfq": {"latent_dim": 9, "num_embeddings": 512},
    "bsq": {"latent_dim": 9, "num_embeddings": 512},
    "residual_vq, 3 levels": {"latent_dim": WIDTH, "num_embeddings": 8, "num_levels": 3},
    "vq, 3 groups": {"latent_dim": WIDTH, "num_embeddings": 8, "num_groups": 3},
}


def build(name: str) -> GAEPreTrainedModel:
    """A model with seeded weights."""
    set_seed(0)
    networks = {"model_type": "conv", "channels": [16, 32]}
    fields = {
        "input_shape": (3, 32, 32),
        "encoder_config": networks,
        "decoder_config": networks,
        "observation_std": 0.25,
    }
    if name == "vae":
        return VAEModel(VAEConfig(latent_dim=64 * WIDTH, latent_layout="spatial", **fields))
    return VQVAEModel(VQVAEConfig(quantizer=name.split(",")[0], **fields, **QUANTIZERS[name]))


def time_steps(name: str, num_rounds: int = 15) -> tuple[float, float]:
    """Median milliseconds of a training step, and its median ratio to the VAE's, which is timed before each."""
    images = torch.rand(BATCH_SIZE, 3, 32, 32)
    step, vae_step = (training_step(build(each), images) for each in (name, "vae"))
    pairs = [(timed(vae_step), timed(step)) for _ in range(num_rounds + 5)][5:]
    return 1000 * median(own for _, own in pairs), median(own / vae for vae, own in pairs)


def load(data: str, num_train: int, num_test: int) -> tuple[InMemoryDataset, InMemoryDataset]:
    """The first images of the training split, and those after them."""
    images = load_images(data, splits="train")
    if not isinstance(images, InMemoryDataset) or len(images) < num_train + num_test:
        raise ValueError(f"--data {data} must have {num_train + num_test} training images that fit into memory")
    return images.select(0, num_train), images.select(num_train, num_train + num_test)


def place_of(name: str, folder: Path) -> Path:
    return folder / name.replace(", ", "-").replace(" ", "_")


def measure(name: str, folder: Path, train: InMemoryDataset, test: InMemoryDataset, num_train_epochs: float):
    """Train and measure one model, and write its numbers."""
    if not (folder / "extractor").exists():
        train_extractor(train, test, num_train_epochs=4, progress=False).save_pretrained(folder / "extractor")
    place = place_of(name, folder)
    args = GAETrainingArguments(
        str(place),
        num_train_epochs=num_train_epochs,
        per_device_train_batch_size=BATCH_SIZE,
        learning_rate=1e-3,
        eval_strategy="no",
        save_strategy="no",
        load_best_model_at_end=False,
        disable_tqdm=True,
        report_to="none",
    )
    model = build(name)
    GAETrainer(model, args, train_dataset=train).train()
    model.save_pretrained(place)
    found = evaluate_model(model, test, ["mse", "reconstruction_fid"], extractor=load_extractor(folder / "extractor"))
    numbers = {"mse": float(found["mse"]), "fid": float(found["reconstruction_fid"])}
    if isinstance(model, QuantizedModel):
        codes = embed_dataset(model, test, output="codes", progress=False)
        usage = code_usage(codes, model.config.num_embeddings, model.num_codes_per_token)
        numbers |= {key: usage[key].value for key in usage}
    numbers["milliseconds"], numbers["ratio"] = time_steps(name)
    (place / FILE).write_text(json.dumps(numbers))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("quantizers", nargs="*", help=f"of {', '.join(QUANTIZERS)}; all by default")
    parser.add_argument("--data", default="cifar10", help="what load_images accepts")
    parser.add_argument("--num_train", type=int, default=10_000, help="images to train on")
    parser.add_argument("--num_test", type=int, default=2_000, help="images to measure on")
    parser.add_argument("--epochs", type=float, default=5)
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--picture", type=Path)
    parser.add_argument("--times", action="store_true", help="time steps only, without data")
    args = parser.parse_args()
    if args.times:
        return print_times(args.quantizers or list(QUANTIZERS))
    names = [name for name in args.quantizers or QUANTIZERS if not (place_of(name, args.folder) / FILE).exists()]
    if names:
        train, test = load(args.data, args.num_train, args.num_test)
        for name in names:
            measure(name, args.folder, train, test, args.epochs)
    if args.table:
        print_table(args.folder)
    if args.picture is not None:
        draw(args.folder, args.data, args.num_train).save(args.picture)


def print_times(names: list[str]):
    """Print one row per quantizer with the time of a step of random images."""
    print("| quantizer | ms | / VAE |")
    print("|---|---|---|")
    for name in names:
        milliseconds, ratio = time_steps(name)
        print(f"| {name} | {milliseconds:.1f} | {ratio:.2f} |", flush=True)


def print_table(folder: Path):
    """Print one row per quantizer that has been measured."""
    columns = ["quantizer", "MSE", "FID", "codes used", "perplexity", "bits", "entropy coded", "ms", "/ VAE"]
    print("|", " | ".join(columns), "|")
    print("|---" * len(columns) + "|")
    for name in QUANTIZERS:
        file = place_of(name, folder) / FILE
        if file.exists():
            found = json.loads(file.read_text())
            cells = [f"{found['mse']:.5f}", f"{found['fid']:.1f}"]
            if "perplexity" in found:
                size = QUANTIZERS[name]["num_embeddings"]
                cells += [f"{100 * found['used_codes']:.0f} %", f"{found['perplexity']:.1f} of {size}"]
                cells += [f"{found['bits_per_example']:.0f}", f"{found['entropy_bits_per_example']:.0f}"]
            else:
                cells += [""] * 4
            cells += [f"{found['milliseconds']:.1f}", f"{found['ratio']:.2f}"]
            print("|", " | ".join([name, *cells]), "|")


def draw(folder: Path, data: str, num_train: int, num_images: int = 12) -> Image.Image:
    """The same held-out images, and their reconstructions: a row per quantizer."""
    _, test = load(data, num_train, num_images)
    images = torch.stack([test[index]["pixel_values"] for index in range(num_images)])
    rows, labels = [images], ["images"]
    for name in QUANTIZERS:
        if (place_of(name, folder) / FILE).exists():
            rows.append(AutoGAE.from_pretrained(place_of(name, folder)).reconstruct(images))
            labels.append(name)
    return image_grid(torch.cat(rows), columns=num_images, row_labels=labels)


if __name__ == "__main__":
    main()
