"""Lets the auto classes of transformers find gae_hub's types without importing them in advance.

Registering a type needs its class, and the classes need torch, which takes seconds to import. `import gae_hub`
therefore registers nothing. It replaces the dict in which transformers keeps additional types by one that imports our
classes when it is first asked for them. There are two: model types of `AutoConfig`, which begin with "gae_", and the
image processors of `AutoImageProcessor`. If transformers has not imported a registry yet, an import hook replaces its
dict right after it does.

The private facts of transformers that are used: the names of the registries' modules, and the attribute
`_extra_content` of `CONFIG_MAPPING` and `IMAGE_PROCESSOR_MAPPING`. `tests/test_transformers_assumptions.py` checks
them.
"""

__all__ = ["REGISTRIES", "install_when_imported"]

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import Any


class _LazyTypes(dict):
    """Registered types by name. Asking for one of gae_hub's types imports, and so registers, all of them."""

    def __contains__(self, key: object) -> bool:
        if isinstance(key, str) and key.startswith("gae_") and not super().__contains__(key):
            from . import models, samplers  # noqa: F401 (importing registers)
        return super().__contains__(key)


class _LazyProcessors(dict):
    """Classes of image processors by config class. Every autoencoder has the same, unless another is registered."""

    def __contains__(self, key: object) -> bool:
        return super().__contains__(key) or _is_autoencoder_config(key)

    def __missing__(self, key: object) -> dict[str, type]:
        if _is_autoencoder_config(key):
            return _processor_classes()
        raise KeyError(key)

    def values(self) -> Any:
        """The classes, ours included: transformers looks up `image_processor_type` in them."""
        return [*super().values(), _processor_classes()]


def _is_autoencoder_config(key: object) -> bool:
    if not (isinstance(key, type) and str(getattr(key, "model_type", "")).startswith("gae_")):
        return False
    from .models.base import GAEConfig

    return issubclass(key, GAEConfig)


def _processor_classes() -> dict[str, type]:
    """Our class for both backends of transformers: it uses Pillow, with or without torchvision."""
    from .images.processing import GAEImageProcessor

    return {"pil": GAEImageProcessor, "torchvision": GAEImageProcessor}


# module of transformers to the name of its registry and the dict that replaces `_extra_content`
REGISTRIES: dict[str, tuple[str, type[dict]]] = {
    "transformers.models.auto.configuration_auto": ("CONFIG_MAPPING", _LazyTypes),
    "transformers.models.auto.image_processing_auto": ("IMAGE_PROCESSOR_MAPPING", _LazyProcessors),
}


class _ImportHook(MetaPathFinder):
    """Calls `install` on a registry once it is imported. It removes itself when the import begins."""

    def __init__(self, name: str):
        self.name = name

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != self.name:
            return None
        sys.meta_path.remove(self)
        spec = find_spec(fullname)
        if spec is None or spec.loader is None:
            return spec
        execute = spec.loader.exec_module

        def exec_module(module: ModuleType):
            execute(module)
            install(module)

        spec.loader.exec_module = exec_module
        return spec


def install(module: ModuleType):
    """Replace the dict of additional types in a registry of transformers."""
    name, lazy = REGISTRIES[module.__name__]
    registry = getattr(module, name)
    registry._extra_content = lazy(registry._extra_content)


def install_when_imported():
    """Call `install` now for the registries that transformers has imported, and for the others after their import."""
    for name in REGISTRIES:
        if name in sys.modules:
            install(sys.modules[name])
        else:
            sys.meta_path.insert(0, _ImportHook(name))
