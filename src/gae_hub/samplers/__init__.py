"""One file per density over latents, and the base classes. Importing this package registers every sampler."""

from importlib import import_module
from pkgutil import iter_modules

for _module in iter_modules(__path__):
    import_module(f".{_module.name}", __name__)
