"""What all starters of workers do: count the cells that have ended, and fail cells that kill their workers."""

__all__ = ["MAX_DEATHS", "Deaths", "EndedCells"]

from collections import Counter

from .claims import claim
from .folder import StudyFolder, cell_state
from .plan import CellPlan, StudyPlan
from .store import CELL_FILE, Cell

MAX_DEATHS = 2  # deaths of a worker in one cell after which the cell counts as failed


class Deaths:
    """Counts the deaths of workers by cell.

    Args:
        folder: of the study.
    """

    def __init__(self, folder: StudyFolder):
        self.folder, self.counts = folder, Counter[str]()

    def record(self, plan: CellPlan, cause: str):
        """Record that a worker died while it ran a cell. The cell fails when `MAX_DEATHS` have died in it.

        Args:
            plan: the cell. It must be unclaimed.
            cause: why the worker died, such as "by signal 9".
        """
        self.counts[plan.id] += 1
        if self.counts[plan.id] < MAX_DEATHS:
            return
        held = claim(self.folder.lock(plan))
        if held is None:
            return
        with held:
            cell = Cell(self.folder.cell(plan))
            cell.settings = plan.settings
            step = next((s for s, digest in plan.steps.items() if not cell.is_finished(s, digest)), None)
            if step is not None:  # else it was killed after its last step
                reason = f"its worker was killed {MAX_DEATHS} times, {cause}; is there enough memory?"
                cell.fail(step, reason, "", plan.steps[step])


class EndedCells:
    """Counts the cells of a plan that have ended, reading only the records that changed."""

    def __init__(self, folder: StudyFolder, plan: StudyPlan):
        self.folder, self.cells = folder, plan.runnable()
        self._known: dict[str, tuple[int, bool]] = {}

    def count(self) -> int:
        """Number of cells that are done or failed."""
        for plan in self.cells:
            path = self.folder.cell(plan) / CELL_FILE
            changed = path.stat().st_mtime_ns if path.is_file() else 0
            if self._known.get(plan.id, (-1, False))[0] != changed:
                state = cell_state(self.folder, plan, Cell(path.parent))
                self._known[plan.id] = changed, state in ("done", "failed")
        return sum(ended for _, ended in self._known.values())
