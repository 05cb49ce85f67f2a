"""A person's own code in a checkpoint: its source, with those files of gae_hub that it imports."""

__all__ = ["close_folder"]

import ast
import shutil
import sys
from collections import defaultdict
from importlib import import_module
from pathlib import Path

from transformers.dynamic_module_utils import get_relative_import_files

MODELS = Path(import_module("gae_hub.models").__file__).parent


def close_folder(folder: Path):
    """Rewrite the copied sources so that they import the library's models from files beside them, and copy those.

    `from gae_hub.models.vae import VAEModel` and `from gae_hub import VAEModel` become `from .vae import VAEModel`.
    What is not of `gae_hub.models` stays as it is, and needs gae_hub where the checkpoint is loaded.
    """
    for file in folder.glob("*.py"):
        text = file.read_text(encoding="utf-8")
        closed, needed = _closed(text)
        if closed == text:
            continue
        file.write_text(closed, encoding="utf-8")
        for name in needed:
            source = MODELS / f"{name}.py"
            for path in (source, *map(Path, get_relative_import_files(source))):
                if not (folder / path.name).exists():
                    shutil.copyfile(path, folder / path.name)


def _closed(text: str) -> tuple[str, set[str]]:
    """The text with other imports, and the names of the library's files that it imports now."""
    lines, needed = text.splitlines(keepends=True), set()
    imports = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.ImportFrom) and not node.level]
    for node in sorted(imports, key=lambda node: -node.lineno):
        if (node.module or "").split(".")[0] != "gae_hub":
            continue
        by_file: dict[str | None, list[str]] = defaultdict(list)
        for alias in node.names:
            file = _file_of(node.module, alias.name)
            by_file[file].append(alias.name + (f" as {alias.asname}" if alias.asname else ""))
        indent = " " * node.col_offset
        lines[node.lineno - 1 : node.end_lineno] = [
            f"{indent}from {f'.{file}' if file else node.module} import {', '.join(names)}\n"
            for file, names in by_file.items()
        ]
        needed |= {file for file in by_file if file}
    return "".join(lines), needed


def _file_of(module: str, name: str) -> str | None:
    """The file in models/ that defines a name which a module of gae_hub gives; None if it is none of them."""
    found = getattr(import_module(module), name, None)
    home = module if module.startswith("gae_hub.models.") else getattr(found, "__module__", "")
    parts = home.split(".")
    return parts[2] if parts[:2] == ["gae_hub", "models"] and len(parts) == 3 and home in sys.modules else None
