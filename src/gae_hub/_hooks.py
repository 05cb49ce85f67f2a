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


def _from_diffusers(name, **kwargs):
    from .core.argument_checks import require_extra

    require_extra("diffusers", "an import from diffusers")
    from .conversion.diffusers_import import from_diffusers

    return from_diffusers(name, **kwargs)


def _export_model(model, folder, format, **kwargs):
    from .conversion.export import export_model

    return export_model(model, folder, format, **kwargs)


def _load_lpips(backbone, **kwargs):
    from .metrics.networks.lpips import load_lpips

    return load_lpips(backbone, **kwargs)


def register_hooks():
    """Fill the slots of `HOOKS`."""
    HOOKS.write_card, HOOKS.close_folder, HOOKS.from_pythae = _write_card, _close_folder, _from_pythae
    HOOKS.from_diffusers, HOOKS.export_model, HOOKS.load_lpips = _from_diffusers, _export_model, _load_lpips
