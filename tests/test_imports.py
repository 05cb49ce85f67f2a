"""What an import costs, what it makes visible, and which way imports point."""

import ast
import inspect
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import gae_hub

SOURCE = Path(gae_hub.__file__).parent
# each may import what stands before it, and its own like
ORDER = """process models image_processing image_output environment data plotting callbacks checkpointing averaging
    divergence health image_logging training_args trainer samplers auto pipelines metrics hub tables
    quickstart cli""".split()


def python(code):
    process = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-c", code], capture_output=True, text=True, timeout=120
    )
    assert process.returncode == 0, process.stderr
    return process.stdout.strip()


def test_importing_is_light():
    """No torch, and far less than 0.3 s on top of transformers."""
    code = """
import json, sys, time
import transformers
start = time.perf_counter()
import gae_hub
print(json.dumps([time.perf_counter() - start, [name for name in
    ("torch", "datasets", "evaluate", "sklearn", "matplotlib", "gradio", "torchvision") if name in sys.modules]]))
"""
    seconds, heavy = json.loads(python(code))
    assert heavy == [] and seconds < 0.3


def test_using_models_loads_no_heavy_extras():
    code = """
import sys
from transformers import ImageProcessingMixin, PreTrainedModel
before = set(sys.modules)
from gae_hub import BetaVAEModel, AutoGAE, GenerationPipeline, GaussianMixtureSampler, load_images
extras = {"datasets", "evaluate", "sklearn", "matplotlib", "gradio", "torchvision"}
print(sorted(extras & (set(sys.modules) - before)))
"""
    assert python(code) == "[]"


@pytest.mark.slow
@pytest.mark.parametrize("order", ["import gae_hub; from transformers import AutoConfig, AutoModel",
                                   "from transformers import AutoConfig, AutoModel; import gae_hub"])  # fmt: skip
def test_transformers_knows_our_types_after_the_import(order, trained):
    code = f"""
{order}
print(type(AutoConfig.for_model("gae_vae")).__name__, type(AutoModel.from_pretrained({str(trained)!r})).__name__,
      type(AutoModel.from_pretrained({str(trained)!r}, subfolder="sampler")).__name__)
"""
    assert python(code) == "VAEConfig BetaVAEModel GaussianMixtureSampler"


def test_public_names():
    assert {"AutoGAE", "BetaVAEModel", "GaussianMixtureSampler", "GAETrainer", "load_images"} <= set(gae_hub.__all__)
    assert all(getattr(gae_hub, name) is not None for name in gae_hub.__all__)
    assert set(gae_hub.__all__) <= set(dir(gae_hub))
    with pytest.raises(AttributeError, match="has no attribute 'BetaVEA'"):
        _ = gae_hub.BetaVEA
    assert [name for name in gae_hub.__all__ if not inspect.getdoc(getattr(gae_hub, name))] == []


def imports(path):
    """(level, module) of every from-import of a file, and the names of plain imports."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            yield node.level, node.module or ""
        elif isinstance(node, ast.Import):
            yield from ((0, alias.name) for alias in node.names)


def test_the_folder_of_models_is_closed():
    """Only `from .x import y`: a checkpoint can then carry its own code."""
    for path in SOURCE.glob("models/*.py"):
        for level, module in imports(path):
            assert level <= 1 and not module.startswith("gae_hub") and (level == 0 or module), f"{path.name}: {module}"


def test_imports_point_one_way():
    for path in SOURCE.rglob("*.py"):
        here = path.relative_to(SOURCE).with_suffix("").parts
        if here[0].startswith("_"):
            continue
        for level, module in imports(path):
            if level == 0 or not module or level < len(here):  # inside of its own folder
                continue
            there = module.split(".")[0]
            assert ORDER.index(there) <= ORDER.index(here[0]), f"{'/'.join(here)} imports {there}"


def test_no_pickle_and_no_bare_except():
    for path in SOURCE.rglob("*.py"):
        text = path.read_text()
        assert "pickle" not in [module.split(".")[0] for _, module in imports(path)]
        loads = re.findall(r"torch\.load\(.*", text)  # published weights of others, as tensors and nothing else
        assert all("weights_only=True" in load for load in loads) and "torch.save(" not in text
        assert not loads or path.name in ("weights.py", "pythae.py")
        handlers = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.ExceptHandler)]
        assert all(node.type is not None and getattr(node.type, "id", "") != "Exception" for node in handlers), path
