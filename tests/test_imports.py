"""Cost of importing the package, its public names, and the direction of imports between layers."""

import ast
import inspect
import json
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

import gae_hub

SOURCE = Path(gae_hub.__file__).parent
LAYERS = re.search(r"^    (core -> .+)$", (Path(__file__).parents[1] / "CONTRIBUTING.md").read_text(), re.M)[1].split(
    " -> "
)
# the files that assemble the package may import any layer, on first use
ASSEMBLY = {"__init__", "_autoload", "_hooks", "_lazy"}
DYNAMIC = {  # files that call import_module with a name that is not a constant, and what they import
    "_autoload.py": "pipelines, ours and those of transformers",
    "_lazy.py": "the names in the stub",
    "models/__init__.py": "every file of its folder",
    "samplers/__init__.py": "every file of its folder",
    "core/hub_errors.py": "the HTTP client of huggingface_hub",
    "hub/code_export.py": "the modules that custom code imports",
    "cli/convert.py": "a custom network",
}


CATCH_ALL = {"study/worker.py"}  # records any error of a cell with its traceback, and goes on with the next one


def python(code):
    process = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-c", code], capture_output=True, text=True, timeout=120
    )
    assert process.returncode == 0, process.stderr
    return process.stdout.strip()


def test_import_is_light():
    """`import gae_hub` loads the files that assemble the package, and no heavy package."""
    code = """
import json, sys
import gae_hub
heavy = {"torch", "transformers", "datasets", "evaluate", "sklearn", "matplotlib", "gradio", "torchvision"}
print(json.dumps([sorted(heavy & set(sys.modules)), [name for name in sys.modules if name.startswith("gae_hub.")]]))
"""
    heavy, ours = json.loads(python(code))
    assert heavy == []
    assert {name.split(".")[1] for name in ours} - ASSEMBLY == {"_version", "core"} and "gae_hub.core.hooks" in ours


def test_models_load_no_optional_packages():
    code = """
import sys
from transformers import AutoModel, ImageProcessingMixin, PreTrainedModel
before = set(sys.modules)
from gae_hub import BetaVAEModel, AutoGAE, GenerationPipeline, GaussianMixtureSampler, load_images
extras = {"datasets", "evaluate", "sklearn", "matplotlib", "gradio", "torchvision"}
print(sorted(extras & (set(sys.modules) - before)))
"""
    assert python(code) == "[]"


@pytest.mark.slow
@pytest.mark.parametrize("order", ["import gae_hub; from transformers import AutoConfig, AutoModel",
                                   "from transformers import AutoConfig, AutoModel; import gae_hub"])  # fmt: skip
def test_transformers_auto_classes_find_our_types(order, trained):
    code = f"""
{order}
print(type(AutoConfig.for_model("gae_vae")).__name__, type(AutoModel.from_pretrained({str(trained)!r})).__name__,
      type(AutoModel.from_pretrained({str(trained)!r}, subfolder="sampler")).__name__)
"""
    assert python(code) == "VAEConfig BetaVAEModel GaussianMixtureSampler"


def test_public_names():
    assert len(gae_hub.__all__) == len(set(gae_hub.__all__))
    assert all(getattr(gae_hub, name) is not None for name in gae_hub.__all__)
    assert set(gae_hub.__all__) <= set(dir(gae_hub))
    with pytest.raises(AttributeError, match="has no attribute 'BetaVEA'"):
        _ = gae_hub.BetaVEA
    assert [name for name in gae_hub.__all__ if not inspect.getdoc(getattr(gae_hub, name))] == []


def test_the_stub_lists_every_method_and_sampler():
    """The names of the stub are imported in it, and it has the config and the class of everything registered."""
    stub = ast.parse((SOURCE / "__init__.pyi").read_text())
    imported = {a.name for node in stub.body if isinstance(node, ast.ImportFrom) and node.module for a in node.names}
    needing_extras = {"DiffusersAutoencoder", "ModelMixin"}  # `import *` must not import diffusers
    assert set(gae_hub.__all__) == imported - {"__version__"} - needing_extras
    classes = {
        cls.__name__
        for auto in (gae_hub.AutoGAE, gae_hub.AutoSampler)
        for name in auto.names()
        for cls in (auto.model_class(name), auto.config_class(name))
    }
    missing = sorted(classes - set(gae_hub.__all__))
    assert not missing, f"add {', '.join(missing)} to src/gae_hub/__init__.pyi"


def test_public_api_is_unchanged():
    update = runpy.run_path(str(Path(__file__).parents[1] / "scripts" / "update_api.py"))
    assert update["SNAPSHOT"].read_text() == update["render"](), "run python scripts/update_api.py"


def test_submodules_are_attributes_and_a_star_import_shadows_nothing():
    """Submodules are attributes from the start. `import *` hides no name of Python or torch, and no submodule."""
    folders = sorted(path.parent.name for path in SOURCE.glob("*/__init__.py"))
    code = f"""
import gae_hub
submodules = [getattr(gae_hub, name).__name__ for name in {folders!r}]
del gae_hub
import builtins, json, torch, torch.nn.functional
from gae_hub import *
names = {{name for name in dir() if not name.startswith("_")}} - {{"builtins", "json", "torch", "submodules"}}
taken = set(dir(builtins)) | set(dir(torch)) | set(dir(torch.nn)) | set(dir(torch.nn.functional))
print(json.dumps([submodules, sorted(names & taken), len(names)]))
"""
    expected = [[f"gae_hub.{name}" for name in folders], [], len(gae_hub.__all__)]
    assert json.loads(python(code)) == expected


def imported(path):
    """Modules of gae_hub that a file imports anywhere, as paths in the package: ("models", "vae")."""
    folder = path.relative_to(SOURCE).parts[:-1]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            yield from targets((*folder[: len(folder) - node.level + 1], *(node.module or "").split(".")), node.names)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "gae_hub":
            yield from targets(tuple(node.module.split(".")[1:]), node.names)
        elif isinstance(node, ast.Import):
            yield from (tuple(name.split(".")[1:]) for name in (a.name for a in node.names) if is_ours(name))
        elif isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] == "import_module":
            argument = node.args[0]
            if not isinstance(argument, ast.Constant):
                assert str(path.relative_to(SOURCE)) in DYNAMIC, f"{path.name} imports {ast.unparse(argument)}"
            elif is_ours(argument.value):
                yield tuple(argument.value.split(".")[1:])


def is_ours(name):
    return name.split(".")[0] == "gae_hub"


def targets(module, names):
    """The modules among the names of `from module import names`, or the module itself."""
    module = tuple(part for part in module if part)
    found = [(*module, alias.name) for alias in names if is_module((*module, alias.name))]
    return found or [module]


def is_module(parts):
    return SOURCE.joinpath(*parts).with_suffix(".py").is_file() or SOURCE.joinpath(*parts, "__init__.py").is_file()


def source_files():
    generated = SOURCE / "metrics" / "spaces"  # one folder per metric
    return [path for path in SOURCE.rglob("*.py") if path.parents[1] != generated]


def test_imports_point_one_way():
    """Imports inside functions and by `import_module` count too."""
    for path in source_files():
        here = path.relative_to(SOURCE).with_suffix("").parts
        if here[0] in ASSEMBLY or here[0].startswith("_"):
            continue
        for there in imported(path):
            if there and not there[0].startswith("_"):
                message = f"{'/'.join(here)} imports {'/'.join(there)}: layers are ordered {' -> '.join(LAYERS)}"
                assert LAYERS.index(there[0]) <= LAYERS.index(here[0]), message


def test_no_import_circles():
    """Between files. Assembly files, such as an `__init__` that lists names, do not count."""
    edges = {}
    for path in source_files():
        here = path.relative_to(SOURCE).with_suffix("").parts
        if here[0] not in ASSEMBLY:
            edges[here] = {there if is_file(there) else (*there, "__init__") for there in imported(path)} - {here}
    done, path = set(), []

    def visit(module):
        assert module not in path, " -> ".join("/".join(part) for part in [*path[path.index(module) :], module])
        if module not in done:
            path.append(module)
            for following in sorted(edges.get(module, ())):
                visit(following)
            done.add(path.pop())

    for module in sorted(edges):
        visit(module)


def is_file(parts):
    return bool(parts) and SOURCE.joinpath(*parts).with_suffix(".py").is_file()


def test_core_modules_and_models_are_a_closed_set():
    """Their files import each other only, and have unique names, because a checkpoint copies them into one folder.

    Between folders they use absolute imports, because transformers follows relative imports within one folder only.
    """
    closed = {"core", "modules", "models"}
    files = [path for folder in sorted(closed) for path in (SOURCE / folder).glob("[!_]*.py")]
    others = [path for folder in ("images", "pipelines") for path in (SOURCE / folder).glob("[!_]*.py")]
    assert len({path.name for path in (*files, *others)}) == len(files) + len(others)
    for path in files:
        assert {there[0] for there in imported(path)} <= closed, path
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.level:
                assert node.level == 1 and node.module, f"{path}: {ast.unparse(node)}"


def plain_imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            yield node.module or ""
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def test_no_pickle_and_no_bare_except():
    for path in source_files():
        text = path.read_text()
        assert "pickle" not in [module.split(".")[0] for module in plain_imports(path)]
        loads = re.findall(r"torch\.load\(.*", text)  # only for published weights, as tensors
        assert all("weights_only=True" in load for load in loads) and "torch.save(" not in text
        assert not loads or path.parent.name in ("networks", "pythae")
        handlers = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.ExceptHandler)]
        names = [getattr(node.type, "id", "") for node in handlers if node.type is not None]
        assert len(names) == len(handlers), path
        assert "Exception" not in names or str(path.relative_to(SOURCE)) in CATCH_ALL, path
