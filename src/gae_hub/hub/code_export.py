"""Custom code in a checkpoint: its source files, with copies of the library files that they import.

Copies come from `core`, `modules` and `models`, and lie side by side in the checkpoint's folder. Imports from gae_hub
are rewritten to `from .name import ...`, so that the checkpoint loads without the library.
"""

__all__ = ["close_folder"]

import ast
from collections import defaultdict
from importlib import import_module
from pathlib import Path

from .. import core, models, modules

LIBRARY = {path.stem: path for folder in (core, modules, models) for path in Path(folder.__path__[0]).glob("[!_]*.py")}
"""File name to path for every library file that can be copied."""


def close_folder(folder: Path):
    """Rewrite the imports of the Python files in a folder, and copy the library files that they need.

    `from gae_hub.models.vae import VAEModel` and `from gae_hub import VAEModel` become `from .vae import VAEModel`.
    Imports from other parts of gae_hub are not changed, and need gae_hub where the checkpoint is loaded.
    """
    pending: list[str] = []
    for file in folder.glob("*.py"):
        text = file.read_text(encoding="utf-8")
        closed, needed = _close_imports(text)
        if closed != text:
            file.write_text(closed, encoding="utf-8")
            pending += needed
    while pending:
        name = pending.pop()
        if not (folder / f"{name}.py").exists():
            closed, needed = _close_imports(LIBRARY[name].read_text(encoding="utf-8"))
            (folder / f"{name}.py").write_text(closed, encoding="utf-8")
            pending += needed


def _close_imports(text: str) -> tuple[str, set[str]]:
    """Source with rewritten imports, and the names of the library files that it now imports."""
    lines, needed = text.splitlines(keepends=True), set()
    for node in sorted(ast.walk(ast.parse(text)), key=lambda node: -getattr(node, "lineno", 0)):
        if not isinstance(node, ast.ImportFrom):
            continue
        module = node.module or ""
        if node.level == 1:
            needed.add(module)
        if node.level or module.split(".")[0] != "gae_hub":
            continue
        by_file: dict[str | None, list[str]] = defaultdict(list)
        for alias in node.names:
            file = _defining_file(module, alias.name)
            by_file[file].append(alias.name + (f" as {alias.asname}" if alias.asname else ""))
        indent = " " * node.col_offset
        lines[node.lineno - 1 : node.end_lineno] = [
            f"{indent}from {f'.{file}' if file else module} import {', '.join(names)}\n"
            for file, names in by_file.items()
        ]
        needed |= {file for file in by_file if file}
    return "".join(lines), needed & LIBRARY.keys()


def _defining_file(module: str, name: str) -> str | None:
    """Name of the library file that defines the object of `from module import name`; None if no such file does."""
    found = getattr(import_module(module), name, None)
    for home in (module, getattr(found, "__module__", "") or ""):
        file = home.split(".")[-1]
        if file in LIBRARY and home == f"gae_hub.{LIBRARY[file].parent.name}.{file}":
            return file
    return None
