"""Makes `transformers.AutoConfig` and `AutoModel` know our types after `import gae_hub`, at no cost to that import.

Registering needs the classes, and those need torch: seconds. So nothing is registered until transformers is asked for
    a type that
begins with "gae_". That takes a mapping that loads our classes when it is asked for one of them, put into
transformers' registry of configs as soon as somebody imports it.
"""

import sys
from importlib.abc import MetaPathFinder
from importlib.util import find_spec

REGISTRY = "transformers.models.auto.configuration_auto"


class _Types(dict):
    """Types registered beside transformers' own. Asking for one of ours imports, and so registers, all of them."""

    def __contains__(self, key) -> bool:
        if isinstance(key, str) and key.startswith("gae_") and not super().__contains__(key):
            from . import models, samplers  # noqa: F401 (importing registers)
        return super().__contains__(key)


class _OnImport(MetaPathFinder):
    """Waits for the registry's import, and leaves the import system when it has come."""

    def find_spec(self, fullname, path=None, target=None):
        if fullname != REGISTRY:
            return None
        sys.meta_path.remove(self)
        spec = find_spec(fullname)
        execute = spec.loader.exec_module

        def exec_module(module):
            execute(module)
            install(module)

        spec.loader.exec_module = exec_module
        return spec


def install(registry):
    registry.CONFIG_MAPPING._extra_content = _Types(registry.CONFIG_MAPPING._extra_content)


def install_when_imported():
    if REGISTRY in sys.modules:
        install(sys.modules[REGISTRY])
    else:
        sys.meta_path.insert(0, _OnImport())
