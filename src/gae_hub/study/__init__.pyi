"""The public names of `gae_hub.study`, which load on first use."""

from .collect import load_results as load_results
from .declaration import BUILTIN_STUDIES as BUILTIN_STUDIES
from .declaration import Study as Study
from .declaration import load_study as load_study
from .folder import StudyFolder as StudyFolder
from .loaded_results import LoadedResults as LoadedResults
from .loaded_results import PrintableTable as PrintableTable
from .report import write_report as write_report
from .results import CellResult as CellResult
from .results import StudyResults as StudyResults
from .runner import run_study as run_study

__all__ = [
    "BUILTIN_STUDIES",
    "CellResult",
    "LoadedResults",
    "PrintableTable",
    "Study",
    "StudyFolder",
    "StudyResults",
    "load_results",
    "load_study",
    "run_study",
    "write_report",
]
