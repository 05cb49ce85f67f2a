"""Custom code in a checkpoint: its source files, with copies of the library files that they import.

Copies come from `core`, `modules` and `models`, and lie side by side in the checkpoint's folder. Imports from gae_hub
are rewritten to `from .name import ...`, so that the checkpoint loads without the library. A model that carries its
code also carries the pipelines, which config.json lists in `custom_pipelines`, with the files of `images` that they
need: with `trust_remote_code=True`, `transformers.pipeline` runs them without the library.
"""

__all__ = ["close_folder"]

import ast
import json
from collections import defaultdict
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

from .. import core, images, models, modules, pipelines
from ..core.files import write_text
from ..core.hub_files import CONFIG
from ..core.json_files import read_json_object
from ..pipelines.task_names import TASKS

_CLOSED = {folder.__name__ for folder in (core, modules, models)}
LIBRARY = {
    path.stem: path
    for folder in (core, modules, models, images, pipelines)
    for path in Path(folder.__path__[0]).glob("[!_]*.py")
}
"""File name to path for every library file that can be copied."""


def close_folder(folder: Path):
    """Rewrite the imports of the Python files in a folder, and copy the library files that they need.

    `from gae_hub.models.vae import VAEModel` and `from gae_hub import VAEModel` become `from .vae import VAEModel`.
    Imports from other parts of gae_hub than core, modules and models are not changed, and need gae_hub where the
    checkpoint is loaded. Copies of library files need nothing else: in their functions, an import of something that
    is not copied becomes an error that says to install it.
    """
    pending: set[str] = set()
    for file in folder.glob("*.py"):
        package = f"gae_hub.{LIBRARY[file.stem].parent.name}" if _is_copy(file) else None
        text = file.read_text(encoding="utf-8")
        closed, needed = _close_imports(text, package)
        if closed != text:
            file.write_text(closed, encoding="utf-8")
        pending |= needed
    if _carries_model(folder):
        pending |= _list_pipelines(folder / CONFIG)
    while pending:
        name = pending.pop()
        if not (folder / f"{name}.py").exists():
            package = f"gae_hub.{LIBRARY[name].parent.name}"
            closed, needed = _close_imports(LIBRARY[name].read_text(encoding="utf-8"), package)
            (folder / f"{name}.py").write_text(closed, encoding="utf-8")
            pending |= needed


def _is_copy(file: Path) -> bool:
    """Whether a file was copied from the library, as transformers does with the file of a class that it saves."""
    return file.stem in LIBRARY and file.read_bytes() == LIBRARY[file.stem].read_bytes()


def _carries_model(folder: Path) -> bool:
    """Whether a folder holds an autoencoder with its code."""
    if not (folder / CONFIG).is_file():
        return False
    config = read_json_object(folder / CONFIG, any_depth=True)
    return {"AutoConfig", "AutoModel"} <= config.get("auto_map", {}).keys() and "input_shape" in config


def _list_pipelines(config_file: Path) -> set[str]:
    """List the pipelines in config.json, and return the names of their files."""
    config = read_json_object(config_file, any_depth=True)
    config["custom_pipelines"] = {
        task: {"impl": path, "pt": ["AutoModel"], "type": "image"} for task, path in TASKS.items()
    }
    write_text(config_file, json.dumps(config, indent=2, sort_keys=True) + "\n")
    return {path.split(".")[0] for path in TASKS.values()}


def _close_imports(text: str, package: str | None) -> tuple[str, set[str]]:
    """Source with rewritten imports, and the names of the library files that it now imports.

    Args:
        text: the source.
        package: for a file of the library, the package that it is in, such as "gae_hub.models".
    """
    lines, needed = text.splitlines(keepends=True), set()
    found = sorted(_imports(ast.parse(text)), key=lambda item: -item[0].lineno)
    for node, function in found:
        closed = _close_import(node, function, package, needed)
        if closed is not None:
            indent = " " * node.col_offset
            lines[node.lineno - 1 : node.end_lineno] = [f"{indent}{line}\n" for line in closed]
    return "".join(lines), needed


def _imports(node: ast.AST, function: str | None = None) -> Iterator[tuple[ast.ImportFrom, str | None]]:
    """All `from ... import ...` statements, with the name of the function that they are in, if any."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ImportFrom):
            yield child, function
        yield from _imports(child, child.name if isinstance(child, ast.FunctionDef) else function)


def _close_import(
    node: ast.ImportFrom, function: str | None, package: str | None, needed: set[str]
) -> list[str] | None:
    """The lines that replace an import, None to keep it. Adds the names of library files to `needed`."""
    module = node.module or ""
    if node.level == 1 and package is None:
        needed |= {module} & LIBRARY.keys()
        return None
    if node.level and package is not None:
        module = ".".join([*package.split(".")[: 2 - node.level + 1], module])
    if module.split(".")[0] != "gae_hub":
        is_optional = function is not None and package is not None and not node.level
        return ["try:", f"    {ast.unparse(node)}", "except ImportError:", "    raise"] if is_optional else None
    by_file: dict[str | None, list[str]] = defaultdict(list)
    for alias in node.names:
        file = _defining_file(module, alias.name)
        if file and (package is None or function is not None) and not _is_closed(file):
            file = None
        by_file[file].append(alias.name + (f" as {alias.asname}" if alias.asname else ""))
    if package is not None and None in by_file:
        return [f'raise ImportError("{function} needs gae_hub, of which this is a part: pip install gae_hub")']
    needed |= {file for file in by_file if file}
    return [f"from {f'.{file}' if file else module} import {', '.join(names)}" for file, names in by_file.items()]


def _is_closed(file: str) -> bool:
    return f"gae_hub.{LIBRARY[file].parent.name}" in _CLOSED


def _defining_file(module: str, name: str) -> str | None:
    """Name of the library file that defines the object of `from module import name`; None if no such file does."""
    found = getattr(import_module(module), name, None)
    for home in (module, getattr(found, "__module__", "") or ""):
        file = home.split(".")[-1]
        if file in LIBRARY and home == f"gae_hub.{LIBRARY[file].parent.name}.{file}":
            return file
    return None
