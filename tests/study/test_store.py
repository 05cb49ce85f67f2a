"""The record of a cell: what is finished, with hashes by which a changed file is noticed."""

import hashlib
import json
import os
from dataclasses import replace

import pytest

from gae_hub.study.folder import StudyFolder, cell_state, is_complete
from gae_hub.study.plan import CellPlan
from gae_hub.study.store import CELL_FILE, Cell, StepRecord

PLAN = CellPlan("vae-01-abc", "VAE", 1, {}, "d", "n", 4, 0, {"beta": 1}, {"train": "t1", "clustering": "c1"})


@pytest.fixture
def cell(tmp_path) -> Cell:
    """A cell with two finished steps and one file."""
    found = Cell(tmp_path / "cells" / PLAN.id)
    found.settings = PLAN.settings
    found.folder.mkdir(parents=True)
    (found.folder / "weights").write_bytes(bytes(range(200)))
    found.finish("train", StepRecord("t1", seconds=1.5, numbers={"training/seconds": 1.5}), ["weights"])
    found.finish("clustering", StepRecord("c1", numbers={"clustering/accuracy/train": 0.25}))
    return found


def state(cell: Cell) -> str:
    return cell_state(StudyFolder(cell.folder.parents[1], "s"), PLAN, Cell(cell.folder))


def test_round_trip(cell):
    """A record is read back as it was written."""
    again = Cell(cell.folder)
    assert (again.steps, again.files, again.settings, again.error, again.problem) == (
        *(cell.steps, cell.files, {"beta": 1}),
        *(None, None),
    )
    assert is_complete(PLAN, again) and again.find_changed_file(thorough=True) is None


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 1e-320, 1e300, 3.0, 0.1 + 0.2, 2**60])
def test_numbers_survive(cell, value):
    """Also those that are not finite: the seal of the record still fits."""
    cell.finish("clustering", StepRecord("c1", numbers={"x": value}))
    again = Cell(cell.folder)
    assert again.problem is None and repr(again.steps["clustering"].numbers["x"]) == repr(value)


def test_no_folder(tmp_path):
    found = Cell(tmp_path / "none")
    assert (found.steps, found.problem, found.error, found.find_changed_file()) == ({}, None, None, None)


def test_another_digest(cell):
    """A step counts as finished for one digest."""
    assert cell.is_finished("train", "t1")
    assert not cell.is_finished("train", "t2") and not cell.is_finished("likelihood", "t1")


# Changes that are noticed


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("0.25", "0.95"),
        lambda text: text.replace('"beta": 1', '"beta": 2'),
        lambda text: text.replace('"t1"', '"t2"'),
        lambda text: text.replace('"state": "done"', '"state": "skipped"', 1),
        lambda text: text[:-20],
        lambda text: "",
        lambda text: "[]",
        lambda text: "{}",
        lambda text: json.dumps({**json.loads(text), "more": 1}),
        lambda text: json.dumps({**json.loads(text), "seal": None}),
        lambda text: "[" * 100_000,
        lambda text: "\x00" * len(text),
    ],
)
def test_changed_record(cell, change):
    """An edited number, another digest, a file that ends early: the record proves nothing any more."""
    path = cell.folder / CELL_FILE
    text = path.read_text()
    assert change(text) != text
    path.write_text(change(text))
    found = Cell(cell.folder)
    assert found.problem is not None and CELL_FILE in found.problem
    assert found.steps == {} and state(cell) == "waiting"


def test_record_of_another_version(cell):
    """A sealed record with unknown fields of a step is a problem, not an error."""
    path = cell.folder / CELL_FILE
    sealed = path.read_text().split("\n", 2)[2].replace('"reason"', '"colour"')
    path.write_text(f'{{\n "seal": "{hashlib.sha256(sealed.encode()).hexdigest()}",\n{sealed}')
    found = Cell(cell.folder)
    assert found.problem is not None and "another version" in found.problem and found.steps == {}


def flip(path):
    content = bytearray(path.read_bytes())
    content[50] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    "change",
    [
        flip,
        lambda path: path.write_bytes(path.read_bytes()[:100]),
        lambda path: path.write_bytes(path.read_bytes() + b"x"),
        lambda path: path.unlink(),
        lambda path: (path.unlink(), path.mkdir()),
    ],
)
def test_changed_file(cell, change):
    """Also one of equal size: it was written after the record."""
    change(cell.folder / "weights")
    assert Cell(cell.folder).find_changed_file() == "weights"


def test_changed_file_with_an_old_time(cell):
    """A thorough check compares the content of files that look old."""
    path = cell.folder / "weights"
    flip(path)
    os.utime(path, (0, 0))
    assert Cell(cell.folder).find_changed_file() is None
    assert Cell(cell.folder).find_changed_file(thorough=True) == "weights"


def test_touched_file(cell):
    """A file that is only newer than the record, as after copying, is compared and not changed."""
    os.utime(cell.folder / "weights")
    assert Cell(cell.folder).find_changed_file() is None


def test_set_aside(cell):
    """The folder gets another name with all that is in it, and the cell starts anew."""
    content = {path.name: path.read_bytes() for path in cell.folder.iterdir()}
    target = cell.set_aside()
    assert {path.name: path.read_bytes() for path in target.iterdir()} == content
    assert not cell.folder.exists() and (cell.steps, cell.files, cell.problem) == ({}, {}, None)
    for _ in range(2):  # twice in a second
        cell.finish("train", StepRecord("t1"))
        cell.set_aside()
    assert len(list(cell.folder.parent.iterdir())) == 3


# Failures


def test_failure(cell):
    """It is recorded beside what is finished, and forgotten when the step succeeds or on request."""
    cell.fail("clustering", "ValueError: x", "Traceback", "c1")
    assert Cell(cell.folder).error == {
        **{"step": "clustering", "message": "ValueError: x", "traceback": "Traceback", "digest": "c1"}
    }
    cell.finish("train", StepRecord("t1"))
    assert Cell(cell.folder).error is not None
    cell.finish("clustering", StepRecord("c1"))
    assert Cell(cell.folder).error is None
    cell.fail("clustering", "ValueError: x", "Traceback", "c1")
    cell.clear_error()
    assert Cell(cell.folder).error is None


def test_state(cell, tmp_path):
    """Of a cell: waiting, failed, done; and failed only as long as the step depends on the same settings."""
    assert state(cell) == "done"
    cell.steps.pop("clustering")
    cell.write()
    assert state(cell) == "waiting"
    cell.fail("clustering", "ValueError: x", "Traceback", "c1")
    assert state(cell) == "failed"
    folder = StudyFolder(tmp_path, "s")
    assert cell_state(folder, replace(PLAN, steps={**PLAN.steps, "clustering": "c2"}), cell) == "waiting"
    assert cell_state(folder, replace(PLAN, steps={"train": "t1"}), cell) == "done"
    assert cell_state(folder, replace(PLAN, skipped="negative"), cell) == "skipped"


def test_failed_write(cell, monkeypatch):
    """If the disk is full, the record stays as it was, and nothing half written counts."""
    before = (cell.folder / CELL_FILE).read_bytes()

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_text", full)
    with pytest.raises(OSError, match="disk is full"):
        cell.finish("likelihood", StepRecord("l1"))
    monkeypatch.undo()
    assert (cell.folder / CELL_FILE).read_bytes() == before
    assert sorted(path.name for path in cell.folder.iterdir()) == [CELL_FILE, "weights"]
