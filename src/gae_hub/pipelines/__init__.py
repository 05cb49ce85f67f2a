"""Pipelines: a model with its image processor, and its sampler if the task needs one, in one call per task.

Each is a `transformers.Pipeline`, and `transformers.pipeline(task, model=...)` finds it by its name in `TASKS`. Files
here import the layers up to auto. A checkpoint that carries its code carries the files of the tasks too: their names
are unique among those of core, modules, models and images, and they import other layers in functions only.
"""

from pathlib import Path

from .._lazy import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, Path(__file__).with_suffix(".pyi"))
