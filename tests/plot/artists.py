"""What figures show, read back from their artists."""

import numpy as np


def pixels(figure):
    """(num, height, width): the grey images of a figure."""
    return np.stack([image.get_array() for image in figure.axes[0].images])


def grey(values):
    """Values (*batch, 1, height, width) as grey levels (num, height, width)."""
    return (255 * values.flatten(0, -4).clamp(0, 1))[:, 0].round().numpy()


def texts(figure):
    return [text.get_text() for text in figure.axes[0].texts]


def points(figure):
    """(num, 2): the places of all points of a map, sorted."""
    found = np.concatenate([np.asarray(c.get_offsets()).reshape(-1, 2) for c in figure.axes[0].collections])
    return found[np.lexsort(found.T)]
