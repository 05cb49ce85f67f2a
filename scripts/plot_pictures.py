"""Draw the pictures of docs/pictures.md: python scripts/plot_pictures.py [--num_train_epochs 40].

Trains a beta-VAE and a VQ-VAE on handwritten digits of 8 x 8 pixels, and writes PNG files into docs/images/.
"""

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from matplotlib.figure import Figure

from gae_hub import (
    BetaVAEConfig,
    BetaVAEModel,
    GAEPreTrainedModel,
    GAETrainer,
    GAETrainingArguments,
    InMemoryDataset,
    VQVAEConfig,
    VQVAEModel,
    load_images,
    plot,
)
from gae_hub.images.tiles import to_image

FOLDER = Path(__file__).parents[1] / "docs" / "images"


def train_model(
    model: GAEPreTrainedModel, train: InMemoryDataset, validation: InMemoryDataset, num_train_epochs: int
) -> GAEPreTrainedModel:
    with TemporaryDirectory() as folder:
        args = GAETrainingArguments(folder, num_train_epochs=num_train_epochs, report_to="none")
        GAETrainer(model, args, train_dataset=train, eval_dataset=validation).train()
    return model


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--num_train_epochs", type=int, default=40, help="passes over the 1,397 training images")
    args = parser.parse_args()
    train, validation = load_images("digits", splits=("train", "validation"))
    torch.manual_seed(0)
    config = BetaVAEConfig(input_shape=train.input_shape, latent_dim=8, beta=0.2, observation_std=0.5)
    model = train_model(BetaVAEModel(config), train, validation, args.num_train_epochs)
    networks = {"encoder_config": "conv", "decoder_config": "conv"}
    config = VQVAEConfig(input_shape=train.input_shape, latent_dim=8, num_embeddings=64, **networks)
    quantized = train_model(VQVAEModel(config), train, validation, args.num_train_epochs)
    draw_all(model, quantized, train, validation)


def draw_all(
    model: GAEPreTrainedModel, quantized: GAEPreTrainedModel, train: InMemoryDataset, validation: InMemoryDataset
):
    """Write the figures of a model with latent vectors and of one with a codebook."""
    start, end = validation.read(range(4)), validation.read(range(4, 8))
    save(plot.plot_reconstructions(model, validation), "plot_reconstructions")
    save(plot.plot_interpolation(model, start, end), "plot_interpolation")
    save(plot.plot_traversals(model, validation, num_dimensions=5), "plot_traversals")
    save(plot.plot_embeddings(model, train, method="tsne"), "plot_embeddings")
    save(plot.plot_codebook_usage(quantized, train), "plot_codebook_usage")
    save(plot.plot_latent_usage(model, validation), "plot_latent_usage")


def save(figure: Figure, name: str):
    """Write a PNG file with 64 colours, at a third of the size."""
    to_image(figure).quantize(64).save(FOLDER / f"{name}.png", optimize=True)


if __name__ == "__main__":
    main()
