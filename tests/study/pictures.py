"""Pictures of the cells of made-up results."""

import numpy as np
from PIL import Image


def draw_pictures(results):
    """Pictures of every cell: tiles of 4 x 4 pixels, whose grey level is the number of the method."""
    for cell in results.cells:
        folder = cell.folder / "pictures"
        folder.mkdir(parents=True, exist_ok=True)
        level = 10 * list(results.methods).index(cell.method) + 5
        for name, rows in {"reconstructions": 2, "interpolations": 5, "samples-normal": 1, "samples-gmm": 1}.items():
            Image.fromarray(np.full((4 * rows, 40), level, "uint8")).save(folder / f"{name}.png")
