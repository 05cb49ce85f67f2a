"""Connects the layers: core calls these functions of higher layers, which are imported on first use."""

from pathlib import Path

from .core.hooks import HOOKS


def _write_card(model, folder, **kwargs):
    from .hub.cards.render import write_card

    write_card(model, folder, **kwargs)


def _close_folder(folder: Path):
    from .hub.code_export import close_folder

    close_folder(folder)


def _from_pythae(name, **kwargs):
    from .conversion.pythae.convert import from_pythae

    return from_pythae(name, **kwargs)


def register_hooks():
    """Fill the slots of `HOOKS`."""
    HOOKS.write_card, HOOKS.close_folder, HOOKS.from_pythae = _write_card, _close_folder, _from_pythae
