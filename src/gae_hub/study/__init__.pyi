"""The public names of `gae_hub.study`, which load on first use."""

from .collect import load_results as load_results
from .declaration import BUILTIN_STUDIES as BUILTIN_STUDIES
from .declaration import Study as Study
from .declaration import load_study as load_study
from .folder import StudyFolder as StudyFolder
from .report import write_report as write_report
from .results import CellResult as CellResult
from .results import StudyResults as StudyResults
from .runner import run_study as run_study
from .table import Table as Table

__all__ = [
    "BUILTIN_STUDIES",
    "CellResult",
    "Study",
    "StudyFolder",
    "StudyResults",
    "Table",
    "load_results",
    "load_study",
    "run_study",
    "write_report",
]
