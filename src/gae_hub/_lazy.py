"""Loads public names on first use, from the list in a stub file, so that `import gae_hub` stays light."""

import ast
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any


def attach_stub(package: str, stub: Path) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """`__getattr__`, `__dir__` and `__all__` of a package whose stub lists its names.

    Args:
        package: name of the package.
        stub: a `.pyi` file with relative imports and a literal `__all__`.
    """
    submodules: set[str] = set()
    homes: dict[str, str] = {}
    names: list[str] = []
    for node in ast.parse(stub.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom) and node.module is None:
            submodules.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            homes.update({alias.name: f".{node.module}" for alias in node.names})
        elif isinstance(node, ast.Assign):
            names = ast.literal_eval(node.value)

    def load(name: str) -> Any:
        if name in submodules:
            return import_module(f".{name}", package)
        if name in homes:
            return getattr(import_module(homes[name], package), name)
        raise AttributeError(f"module '{package}' has no attribute '{name}'")

    return load, lambda: sorted({*names, *submodules, "__version__"}), names
