"""Functions of higher layers that models and samplers call: the package registers them when it is imported.

A checkpoint that carries its own copy of this file has no hooks: it loads and saves, but writes no card.
"""

__all__ = ["HOOKS", "Hooks"]

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass
class Hooks:
    """One slot for each function.

    Args:
        write_card: writes README.md for a model or sampler into a folder.
        close_folder: copies library files next to custom code in a folder, so that the folder loads without gae_hub.
        from_pythae: converts a Pythae checkpoint.
        from_diffusers: converts an autoencoder of diffusers.
        export_model: writes encoder and decoder in another format.
        load_lpips: loads the published weights of LPIPS.
    """

    write_card: Callable[..., None] | None = None
    close_folder: Callable[[Path], None] | None = None
    from_pythae: Callable[..., Any] | None = None
    from_diffusers: Callable[..., Any] | None = None
    export_model: Callable[..., Any] | None = None
    load_lpips: Callable[..., Any] | None = None


HOOKS = Hooks()
