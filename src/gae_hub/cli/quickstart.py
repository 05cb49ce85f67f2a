"""The first five minutes: one walk through the library on scikit-learn's handwritten digits, on any laptop."""

__all__ = ["quickstart"]

import shutil
import time
from pathlib import Path

import torch
from transformers import set_seed

from ..auto import AutoGAE
from ..data.embeddings import embed_dataset
from ..data.loading import load_images
from ..hub.cards.pictures import PICTURES
from ..hub.cards.results import record_results
from ..metrics.evaluation import evaluate_model, to_results
from ..models.beta_vae import BetaVAEConfig, BetaVAEModel
from ..pipelines.generation import GenerationPipeline
from ..samplers.gaussian_mixture import GaussianMixtureSampler
from ..training.arguments import GAETrainingArguments
from ..training.trainer import GAETrainer
from .tables import print_table


def quickstart(output_dir: str | Path = "outputs/betavae-digits"):
    """Train a beta-VAE on the digits, fit a sampler, measure, save everything with pictures, reload it and compare.

    Args:
        output_dir: where all of it goes; an earlier quickstart there is replaced.
    """
    folder, begun = Path(output_dir), time.perf_counter()
    if folder.exists() and not (folder / "quickstart.txt").exists():
        raise ValueError(
            f"output_dir '{folder}' holds something that is no quickstart: choose another with --output_dir"
        )
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / "quickstart.txt").write_text("made by gae-hub quickstart, which may replace this folder\n")

    set_seed(0)
    train, validation, test = load_images("digits", splits=("train", "validation", "test"))
    config = BetaVAEConfig(
        input_shape=train.input_shape, latent_dim=16, beta=0.01, encoder_config="conv", decoder_config="conv"
    )
    model = BetaVAEModel(config)
    print(f"1. Training {type(model).__name__}, {model.num_parameters():,} parameters, on {train}")
    args = GAETrainingArguments(str(folder), num_train_epochs=40, learning_rate=3e-3)
    trainer = GAETrainer(model, args, train_dataset=train, eval_dataset=validation)
    trainer.train()

    print("2. Fitting a Gaussian mixture to the embeddings")
    sampler = GaussianMixtureSampler(num_components=10).fit(embed_dataset(model, train))

    print("3. Measuring, on images that it has not seen\n")
    numbers = evaluate_model(model, test, ("mse", "energy", "clustering"), sampler, num_samples=1000)
    prior = evaluate_model(model, test, ("energy",), None, num_samples=1000)
    print_table(
        ["measure", "value"],
        [
            ["reconstruction: mean squared error per pixel", f"{numbers['mse']:.4f}"],
            ["samples to data, energy distance: Gaussian mixture", f"{numbers['energy_distance']:.4f}"],
            ["                                  the model's prior", f"{prior['energy_distance']:.4f}"],
            ["                                  half of the data", f"{numbers['energy_distance_of_data']:.4f}"],
            ["k-means on the embeddings: accuracy, 10 classes", f"{numbers['clustering_accuracy']:.1%}"],
        ],
    )

    print(f"4. Saving model, sampler, image processor and a card with pictures into {folder}")
    pipe = GenerationPipeline(model, sampler)
    pipe.save_pretrained(folder)
    record_results(model, folder, {"dataset": "digits", "split": "test", **to_results(numbers)})

    print("5. Loading them again")
    again = AutoGAE.from_pretrained(folder)
    reloaded = GenerationPipeline.from_pretrained(folder)
    device, images = model.device, torch.stack([test[index]["pixel_values"] for index in range(36)]).to(model.device)
    same = torch.equal(again.to(device).reconstruct(images), model.reconstruct(images))
    same_samples = [a.tobytes() for a in pipe(16, seed=0)] == [b.tobytes() for b in reloaded.to(device)(16, seed=0)]
    if not (same and same_samples):
        raise RuntimeError("the reloaded model does not give the output of the saved one: please report this")
    print(
        f"   AutoGAE gives a {type(again).__name__}: "
        "the same reconstructions and, by the same seed, the same samples, to the bit"
    )
    seconds = time.perf_counter() - begun
    print(f"\nDone in {seconds:.0f} s. Look at {folder / 'README.md'}, and in {folder / 'assets'} at:\n")
    print_table(["picture", "of"], [[name, text] for name, text in PICTURES.items()])
