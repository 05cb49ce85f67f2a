"""Pictures of models and data for papers and notebooks, as matplotlib figures: `from gae_hub import plot`.

Every function returns a `matplotlib.figure.Figure` and leaves pyplot alone; `figure.savefig("figure.pdf")` writes it.
Functions work for images, signals, volumes and tables. Files here import the layers up to data, and matplotlib on
first use.
"""

__all__ = [
    "plot_codebook_usage",
    "plot_embedding_map",
    "plot_embeddings",
    "plot_examples",
    "plot_interpolation",
    "plot_latent_usage",
    "plot_losses",
    "plot_reconstructions",
    "plot_samples",
    "plot_traversals",
]

from .codebook_usage import plot_codebook_usage
from .embedding_map import plot_embedding_map, plot_embeddings
from .latent_paths import plot_interpolation, plot_traversals
from .latent_usage import plot_latent_usage
from .model_outputs import plot_examples, plot_reconstructions, plot_samples
from .training_curves import plot_losses
