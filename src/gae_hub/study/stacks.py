"""Cells that train together. They are written down, so that a killed training goes on with the same ones.

Weights depend, by rounding, on the models that train together: with fewer of them, results would differ in their last
digits from those of a training that was not killed.
"""

__all__ = ["Stack", "clean_stacks"]

import shutil
from collections.abc import Sequence
from pathlib import Path

from ..core.files import write_json
from ..core.json_files import read_json_object
from .claims import claim
from .folder import StudyFolder
from .plan import PLAN_FILE, read_plan
from .store import Cell

STACKS = "stacks"  # folder of the checkpoints of models that train together
MEMBERS = "members.json"
MAX_BYTES = 1 << 16


class Stack:
    """The folder of a group of cells while they train.

    Args:
        root: of the study.
        group: name of the group.
    """

    def __init__(self, root: Path, group: str):
        self.folder = root / STACKS / group

    def read_members(self) -> list[str] | None:
        """Ids of the cells whose training was begun, in their order; None if no training was."""
        try:
            found = read_json_object(self.folder / MEMBERS, MAX_BYTES)["cells"]
        except (OSError, ValueError, KeyError):
            return None
        return found if isinstance(found, list) else None

    def begin(self, cells: Sequence[str]):
        """Write down the ids of the cells to train."""
        write_json(self.folder / MEMBERS, {"cells": list(cells)})

    def delete(self):
        """Delete the folder, when all models are saved."""
        (self.folder / MEMBERS).unlink(missing_ok=True)  # first: a half-deleted folder is not continued
        shutil.rmtree(self.folder, ignore_errors=True)


def clean_stacks(folder: StudyFolder):
    """Delete what killed workers left of groups whose cells are trained, or that no plan contains."""
    found = [path.name for path in folder.root.glob(f"{STACKS}/*")]
    if not found:
        return
    try:
        plans = [read_plan(path.parent) for path in folder.root.glob(f"studies/*/{PLAN_FILE}")]
    except ValueError:  # of another study, whose groups are then unknown
        return
    for group in found:
        cells = [cell for plan in plans for cell in plan.runnable() if cell.group == group]
        records = [(Cell(folder.cell(cell)), cell.steps["train"]) for cell in cells]
        if all(record.is_finished("train", wanted) for record, wanted in records):
            held = claim(folder.group_lock(group))
            if held is not None:
                with held:
                    Stack(folder.root, group).delete()
