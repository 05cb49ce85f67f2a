"""Execute the notebooks of the documentation: python scripts/run_notebooks.py [docs/notebooks/first_model.ipynb ...].

Each runs in a new folder and a new kernel. Needs `pip install "gae_hub[docs]"`.
"""

import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

FOLDER = Path(__file__).parents[1] / "docs" / "notebooks"
TIMEOUT = 600  # seconds per cell


def run_notebook(path: Path) -> nbformat.NotebookNode:
    """The notebook with the outputs of its cells; the file stays as it is.

    Raises:
        CellExecutionError: if a cell raises.
    """
    notebook = nbformat.read(path, as_version=4)
    with TemporaryDirectory() as folder:
        NotebookClient(notebook, timeout=TIMEOUT, resources={"metadata": {"path": folder}}).execute()
    return notebook


def main() -> int:
    """Exit status: 0 if all notebooks ran."""
    failed = False
    for path in [Path(name) for name in sys.argv[1:]] or sorted(FOLDER.glob("*.ipynb")):
        start = time.perf_counter()
        try:
            run_notebook(path)
        except CellExecutionError as error:
            print(f"{path.name} failed:\n{error}", file=sys.stderr)
            failed = True
        else:
            print(f"{path.name} ran in {time.perf_counter() - start:.0f} s", flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
