"""Lets the auto classes and pipelines of transformers find gae_hub's without importing them in advance.

Registering a type needs its class, and the classes need torch, which takes seconds to import. `import gae_hub`
therefore registers nothing. It replaces the dict in which transformers keeps additional types by one that imports our
classes when it is first asked for them. There are two: model types of `AutoConfig`, which begin with "gae_", and the
image processors of `AutoImageProcessor`. The tasks of `pipeline` are added with stand-ins, which import our classes
when they are used. If transformers has not imported a registry yet, an import hook changes it right after it does.

The private facts of transformers that are used: the names of the registries' modules, the attribute `_extra_content`
of `CONFIG_MAPPING` and `IMAGE_PROCESSOR_MAPPING`, and the keys of `SUPPORTED_TASKS`.
`tests/test_transformers_assumptions.py` checks them.
"""

__all__ = ["REGISTRIES", "install_when_imported"]

import sys
from collections.abc import Callable, Sequence
from importlib import import_module
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


class _LazyPipeline:
    """Stands in for the class of a pipeline, and imports it when it is used.

    Args:
        implementation: the class, or its module and name, "module.Class".
    """

    def __init__(self, implementation: type | str):
        self.implementation = implementation

    def load(self) -> Any:
        """The class."""
        if isinstance(self.implementation, str):
            module, _, name = self.implementation.rpartition(".")
            self.implementation = getattr(import_module(module), name)
        return self.implementation

    def __getattr__(self, name: str) -> Any:
        if name == "implementation":  # of a copy that is being made
            raise AttributeError(name)
        return getattr(self.load(), name)

    def __call__(self, **arguments: Any) -> Any:
        return self.load()(**arguments)


class _SharedPipeline(_LazyPipeline):
    """Stands in for the pipeline of a task that transformers has too: ours for our models, theirs for all others.

    Args:
        theirs: as registered before.
        ours: "module.Class".
    """

    def __init__(self, theirs: type | str, ours: str):
        super().__init__(theirs)
        self.ours = _LazyPipeline(ours)

    def __call__(self, **arguments: Any) -> Any:
        model_type = getattr(getattr(arguments.get("model"), "config", None), "model_type", None)
        is_ours = isinstance(model_type, str) and model_type.startswith("gae_")
        return self.ours(**arguments) if is_ours else super().__call__(**arguments)


def _replace_types(name: str, lazy: type[dict]) -> Callable[[ModuleType], None]:
    """A function that replaces the dict of additional types in the registry of a module."""

    def install(module: ModuleType):
        registry = getattr(module, name)
        registry._extra_content = lazy(registry._extra_content)

    return install


def _add_tasks(module: ModuleType):
    """Add the tasks of gae_hub to those of transformers."""
    from .pipelines.task_names import TASKS

    for task, path in TASKS.items():
        ours, known = f"gae_hub.pipelines.{path}", module.SUPPORTED_TASKS.get(task)
        if known is None:
            entry = {"impl": _LazyPipeline(ours), "pt": (module.AutoModel,), "default": {}, "type": "image"}
            module.SUPPORTED_TASKS[task] = entry
        else:
            known["impl"] = _SharedPipeline(known["impl"], ours)


# module of transformers to the function that changes its registry
REGISTRIES: dict[str, Callable[[ModuleType], None]] = {
    "transformers.models.auto.configuration_auto": _replace_types("CONFIG_MAPPING", _LazyTypes),
    "transformers.models.auto.image_processing_auto": _replace_types("IMAGE_PROCESSOR_MAPPING", _LazyProcessors),
    "transformers.pipelines": _add_tasks,
}


class _ImportHook(MetaPathFinder):
    """Calls the function of a registry once its module is imported. It removes itself when the import begins."""

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
            REGISTRIES[self.name](module)

        spec.loader.exec_module = exec_module
        return spec


def install_when_imported():
    """Change the registries that transformers has imported now, and the others after their import."""
    for name, install in REGISTRIES.items():
        if name in sys.modules:
            install(sys.modules[name])
        else:
            sys.meta_path.insert(0, _ImportHook(name))
