"""transformers' own test mixins, from the source distribution of the installed version.

The distribution is downloaded with pip and its tests are unpacked to build/. Run this file to do so before pytest.
"""

import subprocess
import sys
import tarfile
from importlib import import_module
from importlib.machinery import ModuleSpec
from importlib.util import module_from_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType

import transformers

FOLDER = Path(__file__).parents[2] / "build" / "transformers-tests" / transformers.__version__
PACKAGE = "transformers_tests"
# fields of every config, with values that are not their defaults
CONFIG_FIELDS = {
    "architectures": ["SomeModel"],
    "chunk_size_feed_forward": 5,
    "dtype": "float16",
    "id2label": {0: "label"},
    "label2id": {"label": "0"},
    "output_attentions": True,
    "output_hidden_states": True,
    "problem_type": "regression",
    "return_dict": False,
}
# what the test files import and the source distribution does not contain
ABSENT = {
    f"{PACKAGE}.exporters.test_export": {"ExportTesterMixin": type("ExportTesterMixin", (), {})},
    f"{PACKAGE}.generation.test_utils": {"GenerationTesterMixin": type("GenerationTesterMixin", (), {})},
    f"{PACKAGE}.utils.test_configuration_utils": {"config_common_kwargs": CONFIG_FIELDS},
    "fetch_hub_objects_for_ci": {"url_to_local_path": lambda url, **_: url},
}


def download():
    """Unpack the tests of the installed version of transformers to `FOLDER`, if they are not there."""
    if FOLDER.is_dir():
        return
    FOLDER.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=FOLDER.parent) as temporary:
        wanted = f"transformers=={transformers.__version__}"
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary=transformers", wanted]
        subprocess.run([*command, f"--dest={temporary}"], check=True)
        (archive,) = Path(temporary).glob("*.tar.gz")
        with tarfile.open(archive) as files:
            tests = [item for item in files.getmembers() if item.name.split("/")[1:2] == ["tests"]]
            files.extractall(temporary, tests, filter="data")
        (unpacked,) = Path(temporary).glob("*/tests")
        (unpacked / "__init__.py").touch()
        unpacked.rename(FOLDER)


def load(name: str) -> ModuleType:
    """A module of transformers' tests, such as "test_modeling_common"."""
    if PACKAGE not in sys.modules:
        spec = ModuleSpec(PACKAGE, None, is_package=True)
        spec.submodule_search_locations = [str(FOLDER)]
        sys.modules[PACKAGE] = module_from_spec(spec)
        for absent, content in ABSENT.items():
            module = ModuleType(absent)
            vars(module).update(content)
            sys.modules[absent] = module
    before = list(sys.path)
    try:
        return import_module(f"{PACKAGE}.{name}")
    finally:
        sys.path[:] = before  # the modules append folders


if __name__ == "__main__":
    download()
