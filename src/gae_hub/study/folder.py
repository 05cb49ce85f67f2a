"""The folder of one or more studies: where cells, claims, extractors, plans and reports are."""

__all__ = ["StudyFolder", "cell_state", "is_complete"]

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from .claims import holder
from .plan import STUDY_FILE, CellPlan, StudyPlan, read_plan
from .store import Cell

if TYPE_CHECKING:
    from .declaration import Study

State = Literal["done", "running", "failed", "waiting", "skipped"]


@dataclass(frozen=True, init=False)
class StudyFolder:
    """A study in a folder, which it may share with others: cells of equal settings are then run once.

    Args:
        root: holds `cells`, `extractors`, `claims`, `stacks` and `studies`.
        name: of the study.
    """

    root: Path
    name: str

    def __init__(self, root: str | Path, name: str):
        object.__setattr__(self, "root", Path(root))
        object.__setattr__(self, "name", name)

    @property
    def study(self) -> Path:
        """The folder of the study's declaration, plan and report."""
        return self.root / "studies" / self.name

    def cell(self, plan: CellPlan) -> Path:
        """The folder of a cell."""
        return self.root / "cells" / plan.id

    def lock(self, plan: CellPlan) -> Path:
        """The lock file of a cell."""
        return self.root / "claims" / f"{plan.id}.lock"

    def group_lock(self, group: str) -> Path:
        """The lock file of cells that train together, which a worker needs before it claims one to train."""
        return self.root / "claims" / f"group-{group}.lock"

    def locks(self, plan: CellPlan, cell: Cell) -> list[Path]:
        """The lock files that a worker needs to run a cell: that of its group, if it is to be trained, and its own."""
        if plan.group is None or cell.is_finished("train", plan.steps["train"]):
            return [self.lock(plan)]
        return [self.group_lock(plan.group), self.lock(plan)]

    @classmethod
    def find(cls, root: str | Path, name: str | None = None) -> "StudyFolder":
        """The only study in a folder, or the one of that name.

        Raises:
            ValueError: if there is no such study, or several and no name.
        """
        root = Path(root)
        names = sorted(path.parent.name for path in root.glob(f"studies/*/{STUDY_FILE}"))
        if not names:
            raise ValueError(f"'{root}' holds no study; start one with gae-hub study run NAME --output_dir {root}")
        if name is None and len(names) > 1:
            raise ValueError(
                f"'{root}' holds several studies: choose one with --study: {', '.join(names)} (in Python: "
                "load_results(folder, study=...))"
            )
        if name is not None and name not in names:
            raise ValueError(f"'{root}' holds no study '{name}'; it holds {', '.join(names)}")
        return cls(root, name or names[0])

    def read_plan(self) -> StudyPlan:
        """The plan, as of the last start of the study."""
        return read_plan(self.study)

    def load_study(self) -> "Study":
        """The declaration, as of the last start of the study."""
        from ..core.yaml_files import read_yaml_file
        from .declaration import read_study

        path = self.study / STUDY_FILE
        return read_study(read_yaml_file(path), str(path))


def is_complete(plan: CellPlan, cell: Cell) -> bool:
    """Whether all steps of a cell are finished, with what they depend on now."""
    return all(cell.is_finished(step, digest) for step, digest in plan.steps.items())


def cell_state(folder: StudyFolder, plan: CellPlan, cell: Cell) -> State:
    """Where a cell stands."""
    if plan.skipped is not None:
        return "skipped"
    if is_complete(plan, cell):
        return "done"
    if holder(folder.lock(plan)) is not None:
        return "running"
    return "failed" if cell.has_failed(plan.steps) else "waiting"
