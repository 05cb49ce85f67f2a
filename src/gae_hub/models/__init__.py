"""One file per method, and the base classes. Importing this package registers every method.

Files here import `core`, `modules` and each other only, so that a checkpoint can carry a copy of them.
"""

from importlib import import_module
from pkgutil import iter_modules

for _module in iter_modules(__path__):
    import_module(f".{_module.name}", __name__)
