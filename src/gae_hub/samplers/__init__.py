"""One file per latent density. Every file here is imported, and what its `__all__` lists is exported."""

from importlib import import_module
from pkgutil import iter_modules

__all__ = []
for _module in iter_modules(__path__):
    _exports = import_module(f".{_module.name}", __name__)
    globals().update({_name: getattr(_exports, _name) for _name in _exports.__all__})
    __all__ += _exports.__all__
