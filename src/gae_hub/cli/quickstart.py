"""Train, sample, measure, save and reload a small model on handwritten digits, in about a minute."""

__all__ = ["add_arguments", "quickstart", "run"]

import shutil
import time
from argparse import Namespace
from dataclasses import replace
from pathlib import Path

from .flags import OUTPUT_DIR
from .parser import Parser
from .tables import print_table

DEFAULT_FOLDER = "outputs/betavae-digits"
_MARK = "quickstart.txt"


def add_arguments(parser: Parser):
    parser.usage = "%(prog)s [flags]"
    parser.add_flags(replace(OUTPUT_DIR, default=DEFAULT_FOLDER))


def run(args: Namespace):
    quickstart(args.output_dir)


def quickstart(output_dir: str | Path = DEFAULT_FOLDER):
    """Train a beta-VAE on the digits, fit a sampler, measure, save everything with pictures, reload it and compare.

    Args:
        output_dir: folder to write to; an earlier quickstart in it is replaced.

    Raises:
        ValueError: if the folder exists and was not created by `quickstart`.
        RuntimeError: if the reloaded model differs from the saved one.
    """
    import torch
    from transformers import set_seed

    from ..auto import AutoGAE
    from ..core.files import write_text
    from ..data.loading import load_images
    from ..hub.cards.pictures import PICTURES
    from ..hub.cards.results import record_results
    from ..metrics.evaluation import evaluate_model, to_results
    from ..models.beta_vae import BetaVAEConfig, BetaVAEModel
    from ..pipelines.generation import GenerationPipeline
    from ..samplers.gaussian_mixture import GaussianMixtureSampler
    from ..training.arguments import GAETrainingArguments
    from ..training.trainer import GAETrainer

    folder, start = Path(output_dir), time.perf_counter()
    if folder.exists() and not (folder / _MARK).exists():
        raise ValueError(f"'{folder}' was not created by `gae-hub quickstart`; choose another --output_dir")
    shutil.rmtree(folder, ignore_errors=True)
    write_text(folder / _MARK, "Created by `gae-hub quickstart`, which replaces this folder when it runs again.\n")

    set_seed(0)
    train, validation, test = load_images("digits", splits=("train", "validation", "test"))
    config = BetaVAEConfig(
        input_shape=train.input_shape, latent_dim=16, beta=0.01, encoder_config="conv", decoder_config="conv"
    )
    model = BetaVAEModel(config)
    print(f"1. Training {type(model).__name__} ({model.num_parameters():,} parameters) on {train}")
    args = GAETrainingArguments(str(folder), num_train_epochs=40, learning_rate=3e-3)
    trainer = GAETrainer(model, args, train_dataset=train, eval_dataset=validation)
    trainer.train()

    print("2. Fitting a Gaussian mixture to the latents of the training images")
    sampler = GaussianMixtureSampler(num_components=10).fit_to(model, train)

    print("3. Measuring on the test images\n")
    numbers = evaluate_model(model, test, ("mse", "energy", "clustering"), sampler, num_samples=1000)
    prior = evaluate_model(model, test, ("energy",), None, num_samples=1000)
    print_table(
        ["measure", "value"],
        [
            ["reconstruction: mean squared error per pixel", f"{numbers['mse']:.4f}"],
            ["energy distance to the data: Gaussian mixture", f"{numbers['energy_distance']:.4f}"],
            ["                             model's prior", f"{prior['energy_distance']:.4f}"],
            ["                             other half of the data", f"{numbers['energy_distance_of_data']:.4f}"],
            ["k-means on the embeddings: accuracy, 10 classes", f"{numbers['clustering_accuracy']:.1%}"],
        ],
    )

    print(f"4. Saving model, sampler, image processor, and a card with pictures to {folder}")
    pipe = GenerationPipeline(model, sampler)
    pipe.save_pretrained(folder)
    record_results(model, folder, {"dataset": "digits", "split": "test", **to_results(numbers)})

    print("5. Loading them again")
    pipe.to("cpu")  # loaded models are on the CPU
    loaded, loaded_pipe = AutoGAE.from_pretrained(folder), GenerationPipeline.from_pretrained(folder)
    images = torch.stack([test[index]["pixel_values"] for index in range(36)])
    same_reconstructions = torch.equal(loaded.reconstruct(images), model.reconstruct(images))
    same_samples = [a.tobytes() for a in pipe(16, seed=0)] == [b.tobytes() for b in loaded_pipe(16, seed=0)]
    if not (same_reconstructions and same_samples):
        raise RuntimeError("the reloaded model differs from the saved one; please report this bug")
    print(f"   AutoGAE returns a {type(loaded).__name__} with identical reconstructions and samples")
    seconds = time.perf_counter() - start
    print(f"\nDone in {seconds:.0f} s. Open {folder / 'README.md'}, and in {folder / 'assets'} these pictures:\n")
    print_table(["picture", "content"], [[name, text] for name, text in PICTURES.items()])
