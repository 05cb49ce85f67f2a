"""Check the types of the Python snippets in README.md and docs/: python scripts/check_snippets.py.

Every snippet is checked as a separate module. The snippets of a page in docs/start, docs/howto or docs/choose, which
run in order, are checked as one. Names that a module uses without defining them must be in `GIVEN`.
"""

import ast
import builtins
import re
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
ORDERED = sorted(page for folder in ("start", "howto", "choose") for page in (ROOT / "docs" / folder).rglob("*.md"))
GIVEN = """from gae_hub import BetaVAEConfig as BetaVAEConfig, BetaVAEModel as BetaVAEModel
from gae_hub import GAEPreTrainedModel, GAETrainingArguments, InMemoryDataset
from torch import Tensor
from typing import Any

images: Tensor
fresh: Tensor
config: BetaVAEConfig
model: GAEPreTrainedModel
args: GAETrainingArguments
train: InMemoryDataset
validation: InMemoryDataset
digits: InMemoryDataset
pipeline: Any  # transformers types it for its own tasks only
networks: dict[str, Any]  # these two are of an earlier snippet of docs/diffusers.md
vae: Any
"""
SETTINGS = """[tool.basedpyright]
typeCheckingMode = "standard"
reportIncompatibleVariableOverride = false  # a method's class narrows the type of `config`, as in the package
reportUnusedExpression = false  # a snippet shows values by naming them
reportMissingImports = false  # optional packages, such as ray
reportMissingModuleSource = false  # of the names above
reportPrivateImportUsage = false  # diffusers exports its classes lazily
"""


def extract_snippets(page: str) -> list[str]:
    """The Python snippets of a Markdown page."""
    return re.findall(r"^```python\n(.*?)^```$", page, re.S | re.M)


def find_given_names(snippet: str) -> list[str]:
    """The names that a snippet uses without defining them."""
    names = [node for node in ast.walk(ast.parse(snippet)) if isinstance(node, ast.Name)]
    defined = {node.id for node in names if isinstance(node.ctx, ast.Store)} | set(dir(builtins))
    for node in ast.walk(ast.parse(snippet)):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            defined |= {(alias.asname or alias.name).split(".")[0] for alias in node.names}
        elif isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            defined.add(node.name)
        elif isinstance(node, ast.arg):
            defined.add(node.arg)
        elif isinstance(node, ast.ExceptHandler) and node.name:
            defined.add(node.name)
    return sorted({node.id for node in names} - defined)


def main() -> int:
    """Exit status of the type checker."""
    with TemporaryDirectory() as folder:
        (Path(folder) / "pyproject.toml").write_text(SETTINGS, encoding="utf-8")
        (Path(folder) / "given.pyi").write_text(GIVEN, encoding="utf-8")
        count = 0
        for page in [*PAGES, *ORDERED]:
            snippets = extract_snippets(page.read_text(encoding="utf-8"))
            for number, snippet in enumerate(["\n".join(snippets)] if page in ORDERED else snippets, 1):
                snippet = snippet.replace("from transformers import pipeline\n", "")
                given = find_given_names(snippet)
                head = f"from given import {', '.join(given)}\n\n" if given else ""
                (Path(folder) / f"{page.parent.name}_{page.stem}_{number}.py").write_text(
                    head + snippet, encoding="utf-8"
                )
                count += 1
        print(f"{count} modules of {len(PAGES) + len(ORDERED)} pages", flush=True)
        checker = Path(sys.executable).with_name("basedpyright")
        command = [str(checker), "--pythonpath", sys.executable, "--project", folder]
        return subprocess.run(command, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
