"""Lets `transformers.AutoConfig` and `AutoModel` find gae_hub's types without importing them in advance.

Registering a type needs its class, and the classes need torch, which takes seconds to import. `import gae_hub`
therefore registers nothing. It replaces the dict in which transformers keeps additional types by one that imports all
our classes, which registers them, when it is first asked for a type that begins with "gae_". If transformers has not
imported its registry yet, an import hook replaces the dict right after it does.

Two private facts of transformers are used: the name of the registry's module, and `CONFIG_MAPPING._extra_content`.
`tests/test_transformers_assumptions.py` checks both.
"""

__all__ = ["REGISTRY", "install_when_imported"]

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType

REGISTRY = "transformers.models.auto.configuration_auto"


class _LazyTypes(dict):
    """Registered types by name. Asking for one of gae_hub's types imports, and so registers, all of them."""

    def __contains__(self, key: object) -> bool:
        if isinstance(key, str) and key.startswith("gae_") and not super().__contains__(key):
            from . import models, samplers  # noqa: F401 (importing registers)
        return super().__contains__(key)


class _ImportHook(MetaPathFinder):
    """Calls `install` on the registry once it is imported. It removes itself when the import begins."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != REGISTRY:
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


def install(registry: ModuleType):
    """Replace the dict of additional types in transformers' registry."""
    registry.CONFIG_MAPPING._extra_content = _LazyTypes(registry.CONFIG_MAPPING._extra_content)


def install_when_imported():
    """Call `install` now if transformers' registry is imported, else right after its import."""
    if REGISTRY in sys.modules:
        install(sys.modules[REGISTRY])
    else:
        sys.meta_path.insert(0, _ImportHook())
