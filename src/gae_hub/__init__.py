"""gae_hub: a Hub library of generative autoencoders.

Every public name is imported from here, and loaded when it is first used: `import gae_hub` itself pulls in neither
    torch nor
transformers.
"""

from importlib import import_module

from ._autoload import install_when_imported

__version__ = "0.1.0"

_WHERE = {
    "AutoGAE": "auto",
    "AutoSampler": "auto",
    "GAEImageProcessor": "image_processing",
    "GAETrainer": "trainer",
    "GAETrainingArguments": "training_args",
    "GenerationPipeline": "pipelines",
    "embed_dataset": "data",
    "load_images": "data",
}
_SUBMODULES = (
    "auto",
    "callbacks",
    "cli",
    "data",
    "hub",
    "metrics",
    "models",
    "pipelines",
    "plotting",
    "samplers",
    "trainer",
)


def __getattr__(name: str):
    if name in _SUBMODULES:
        return import_module(f".{name}", __name__)
    if name in _WHERE:
        return getattr(import_module(f".{_WHERE[name]}", __name__), name)
    if name == "__all__" or not name.startswith("_"):
        registries = [import_module(f".{folder}", __name__) for folder in ("models", "samplers")]
        if name == "__all__":
            return sorted({*_WHERE, *(public for registry in registries for public in registry.__all__)})
        for registry in registries:
            if hasattr(registry, name):
                return getattr(registry, name)
    raise AttributeError(f"module 'gae_hub' has no attribute '{name}'")


def __dir__():
    return sorted({*globals(), *_SUBMODULES, *__getattr__("__all__")})


install_when_imported()
