"""Results of a study with what users ask of them: the best cell, and tables in several formats."""

__all__ = ["LoadedResults", "PrintableTable"]

from typing import TYPE_CHECKING

from .best_cells import find_best
from .results import CellResult, StudyResults
from .table import Table
from .table_files import list_cells, to_csv, to_markdown
from .table_latex import to_latex
from .tables import build_tables

if TYPE_CHECKING:
    from pandas import DataFrame


class PrintableTable(Table):
    """A table of a study that writes itself in several formats."""

    def to_markdown(self) -> str:
        """The table as Markdown, with its notes."""
        return to_markdown(self)

    def to_latex(self) -> str:
        """The table as LaTeX, with its notes."""
        return to_latex(self)

    def to_csv(self) -> str:
        """The table as CSV: see `to_pandas`."""
        return to_csv(self)

    def to_pandas(self) -> "DataFrame":
        """The table as a DataFrame with the columns of the CSV file.

        Values have the printed unit and all digits. Names of columns end in `_std` for standard deviations, and in
        `_low` and `_high` for 95 % intervals.
        """
        import pandas

        header, rows = list_cells(self)
        return pandas.DataFrame(rows, columns=pandas.Index(header))


class LoadedResults(StudyResults):
    """Results of a study, as `load_results` returns them."""

    def best(
        self,
        task: str,
        method: str | None = None,
        *,
        sampler: str | None = None,
        dataset: str | None = None,
        network: str | None = None,
        latent_dim: int | None = None,
        seed: int | None = None,
    ) -> CellResult:
        """The cell that is best at a task on validation, as tables choose it.

        Args:
            task: "reconstruction", "generation", "classification", "clustering" or "interpolation".
            method: name of the method; by default the best of all.
            sampler: name of the sampler, for "generation"; by default the best of the method's.
            dataset, network, latent_dim: place of the cell; they can be left out if the study has one.
            seed: seed of the training; by default the first.

        Raises:
            ValueError: for an unknown name, if a place is not given and the study has several, or if no configuration
                is complete.
        """
        return find_best(self, task, method, sampler, dataset, network, latent_dim, seed)

    def tables(self) -> list[PrintableTable]:
        """All tables that the study has numbers for."""
        return [PrintableTable(**vars(table)) for table in build_tables(self)]

    def table(self, name: str) -> PrintableTable:
        """A table of the study.

        Args:
            name: "reconstruction", "classification_clustering", "generation", "generation_all_samplers",
                "generation_quality", "interpolation", "log_likelihood", "training" or "configurations".

        Raises:
            ValueError: if the study has no such table.
        """
        tables = {table.name: table for table in self.tables()}
        if name not in tables:
            raise ValueError(
                f"the study '{self.name}' has no table '{name}'; it has {', '.join(tables) or 'none yet'}"
            )
        return tables[name]
