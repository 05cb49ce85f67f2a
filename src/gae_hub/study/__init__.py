"""Studies: methods with grids of configurations, trained, sampled and measured on data sets, in one resumable command.

A study is declared in a YAML file. `declaration` reads it, `planning` makes its cells, `worker` runs them, and
`report` writes tables, figures and a page. Files here may import all folders before `study`. Reading results imports
no torch, so that `gae-hub study status` is fast.
"""

from pathlib import Path

from .._lazy import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, Path(__file__).with_suffix(".pyi"))
