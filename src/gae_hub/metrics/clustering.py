"""How well k-means on the embeddings finds the classes."""

__all__ = ["clustering_accuracy"]

import numpy as np
from torch import Tensor


def clustering_accuracy(latents: Tensor, labels: Tensor, num_fits: int = 10, seed: int = 0) -> tuple[float, float]:
    """Mean and standard deviation over k-means fits of the accuracy when each cluster stands for its prevalent class.

    This is the paper's clustering task (which takes 100 fits); there are as many clusters as classes.

    Args:
        latents: (num, latent_dim).
        labels: (num,) integers.
        num_fits: k-means fits, each from its own k-means++ start.
        seed: of the first fit.
    """
    from sklearn.cluster import KMeans

    points, classes = latents.detach().cpu().double().numpy(), np.unique(labels.cpu().numpy(), return_inverse=True)[1]
    k, accuracies = classes.max() + 1, []
    for fit in range(num_fits):
        clusters = KMeans(k, n_init=1, random_state=seed + fit).fit_predict(points)
        counts = np.zeros((k, k), int)
        np.add.at(counts, (clusters, classes), 1)
        accuracies.append(counts.max(1).sum() / len(classes))
    return float(np.mean(accuracies)), float(np.std(accuracies))
