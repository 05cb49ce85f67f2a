"""The paper's values beside ours: in a column next to ours if measured alike, apart from ours otherwise."""

__all__ = ["PaperColumns"]

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace

from .paper_values import PaperValue, paper_methods
from .results import StudyResults
from .table import Column, Entry, Row, Table

# how the paper measured: section C of arXiv:2206.08309
EPOCHS = {"mnist": 100, "cifar10": 100, "celeba": 50}
LATENT_DIMS = {"mnist": 16, "cifar10": 256, "celeba": 64}
SIZES = {
    "mnist": {"train": 50000, "validation": 10000, "test": 10000},
    "cifar10": {"train": 40000, "validation": 10000, "test": 10000},
    "celeba": {"train": 162770, "validation": 19867, "test": 19962},
}
ENCODERS = {"convnet": "paper_conv", "resnet": "paper_resnet"}
NUM_SAMPLES = 10000
NUM_CONFIGURATIONS = 10
WITH_EXTRACTOR = ("fid", "inception_score")  # metrics that compare features of Inception


class PaperColumns:
    """Columns of the paper's values for the columns of a table.

    Args:
        results: results of the study, whose settings are compared with the paper's.
        values: the paper's values.
    """

    def __init__(self, results: StudyResults, values: Iterable[PaperValue]):
        self.results = results
        self._values: dict[tuple[str, str, str, str], PaperValue] = {}
        for value in values:  # of values that are printed twice, the first
            self._values.setdefault((value.method, value.network, value.dataset, value.number), value)
        self._num_configurations = max((cell.configuration for cell in results.cells), default=0)

    def add_to(self, table: Table) -> Table:
        """The table with the paper's columns: next to ours if measured alike, after all of ours otherwise."""
        theirs = {column.key: self._column(column) for column in table.columns if self._has_values(column, table.rows)}
        beside, apart = [], []  # pairs of a column and the index of ours that it stands for
        for i, ours in enumerate(table.columns):
            beside.append((ours, i))
            if ours.key in theirs:
                (apart if theirs[ours.key].apart else beside).append((theirs[ours.key], i))
        headings = list(dict.fromkeys(column.group for column, _ in apart))
        order = beside + sorted(apart, key=lambda pair: headings.index(pair[0].group))
        rows = tuple(
            replace(row, entries=tuple(self._any_entry(column, table.columns[i], row, i) for column, i in order))
            for row in table.rows
        )
        shown = [column for column in table.columns if column.key in theirs]
        notes = (*table.notes, *self._comparison(shown), *self._doubts(shown, table.rows))
        return replace(table, columns=tuple(column for column, _ in order), rows=rows, notes=notes)

    def entry(self, column: Column, row: Row) -> Entry:
        """The paper's value for a row of one of our columns. Empty if the paper has none."""
        found = self._find(column, row)
        return Entry() if found is None else Entry(value=found.plain_value, spread=found.plain_std)

    def differences(self, column: Column) -> list[str]:
        """How our numbers of a column were measured otherwise than the paper's. Empty if they were measured alike."""
        settings, setup = self.results.settings, column.setup
        if setup is None:
            return ["the paper has no such column"]
        dataset = paper_name(setup.dataset)
        training = self.results.training(setup.dataset)
        found: list[str] = []
        if training.get("recipe") != "paper":
            name = training.get("recipe")
            found.append(f"training recipe {name} instead of the paper's" if name else "other training arguments")
        if training.get("num_train_epochs") != EPOCHS.get(dataset):
            ours = training.get("num_train_epochs", "unknown")
            found.append(f"{ours} epochs instead of {EPOCHS.get(dataset)} on {setup.dataset}")
        if own := self.results.method_training():
            found.append(f"training arguments of their own for {', '.join(own)}")
        sizes = settings.get("sizes", {}).get(setup.dataset, {})
        if {split: sizes.get(split) for split in ("train", "validation", "test")} != SIZES.get(dataset):
            found.append(f"{describe_sizes(sizes)} examples of {setup.dataset}")
        network = settings.get("networks", {}).get(setup.network, {})
        if network and network.get("encoder_config") != ENCODERS.get(paper_name(setup.network)):
            found.append(f"networks {setup.network} that are not the paper's")
        if self._num_configurations < NUM_CONFIGURATIONS:
            found.append(f"the best of {self._num_configurations} configurations instead of {NUM_CONFIGURATIONS}")
        if column.metric in WITH_EXTRACTOR:
            extractor = settings.get("extractor")
            if extractor != "inception":
                found.append(f"extractor {extractor} instead of Inception")
            num_samples = self.results.tasks.get("generation", {}).get("num_samples", NUM_SAMPLES)
            if (column.number or "").startswith("generation/") and num_samples != NUM_SAMPLES:
                found.append(f"{num_samples} generated images instead of {NUM_SAMPLES}")
        return found

    def _find(self, column: Column, row: Row) -> PaperValue | None:
        if column.setup is None or column.number is None:
            return None
        theirs, ours = paper_methods().get(row.method), self.results.methods.get(row.method)
        if theirs is None or ours is None or theirs["model"] != ours.get("model"):
            return None  # no such method, or another one of its name
        dataset = paper_name(column.setup.dataset)
        if column.setup.latent_dim != LATENT_DIMS.get(dataset):
            return None
        number = column.number.format(sampler=row.sampler)
        return self._values.get((row.method, paper_name(column.setup.network), dataset, number))

    def _has_values(self, column: Column, rows: Sequence[Row]) -> bool:
        return any(self.entry(column, row).value is not None for row in rows)

    def _column(self, ours: Column) -> Column:
        apart = bool(self.differences(ours))
        headers = (self._heading(ours), *ours.headers) if apart else (*ours.headers[:-1], f"{ours.headers[-1]}, paper")
        key = f"paper_{ours.key}"
        return replace(ours, key=key, headers=headers, source="paper", apart=apart, number=None)

    def _any_entry(self, column: Column, ours: Column, row: Row, i: int) -> Entry:
        return row.entries[i] if column.source == "ours" else self.entry(ours, row)

    def _comparison(self, columns: Sequence[Column]) -> list[str]:
        """What sets the paper's columns apart, or that they were measured alike."""
        alike = [column for column in columns if not self.differences(column)]
        apart = [column for column in columns if self.differences(column)]
        notes: list[str] = []
        if alike:
            notes.append('Columns headed ", paper" hold the values of arXiv:2206.08309, which were measured alike.')
        if apart:
            reasons = list(dict.fromkeys(reason for column in apart for reason in self.differences(column)))
            notes.append(
                f'The values under "{self._heading(apart[0])}" are those of arXiv:2206.08309. They cannot be compared '
                f"with ours, which were measured otherwise: {'; '.join(reasons)}."
            )
        return notes

    def _doubts(self, columns: Sequence[Column], rows: Sequence[Row]) -> list[str]:
        """Doubtful values of the paper: the methods they belong to, and why."""
        methods: dict[str, list[str]] = {}
        for row in rows:
            for column in columns:
                found = self._find(column, row)
                if found is not None and found.note and row.method not in methods.setdefault(found.note, []):
                    methods[found.note].append(row.method)
        return [f"The paper's values of {', '.join(names)}: {note}." for note, names in methods.items()]

    @staticmethod
    def _heading(column: Column) -> str:
        dataset = paper_name(column.setup.dataset) if column.setup else ""
        extractor = "Inception, " if column.metric in ("mse", *WITH_EXTRACTOR) else ""  # MSE shares a table with FID
        return f"paper ({extractor}{EPOCHS.get(dataset, 100)} epochs)"


def paper_name(key: str) -> str:
    """A key of the study file as the paper's tables write it: "cifar10" for "CIFAR-10"."""
    return re.sub(r"[^a-z0-9]", "", key.lower())


def describe_sizes(sizes: dict[str, int]) -> str:
    """Numbers of examples: "50000 / 10000 / 10000"."""
    return " / ".join(str(sizes.get(split, "?")) for split in ("train", "validation", "test"))
