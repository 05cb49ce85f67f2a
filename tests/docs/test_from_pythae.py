"""The tables of docs/choose/from_pythae.md are those that scripts/compare_pythae.py writes from both packages."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "choose" / "from_pythae.md").read_text(encoding="utf-8")
CODE = "import json, compare_pythae as script; print(json.dumps(script.write_tables()))"
MEASURED = {"losses", "gradients", "other"}


@pytest.fixture(scope="module")
def tables() -> dict[str, str]:
    """Tables by name, written in a process of its own, because Pythae raises many warnings."""
    command = [sys.executable, "-W", "ignore", "-c", CODE]
    done = subprocess.run(command, cwd=ROOT / "scripts", capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def read_table(name: str) -> str:
    """A table of the page."""
    found = re.findall(f"<!-- {name}: begin .*?-->\n(.*?)\n<!-- {name}: end -->", PAGE, re.S)
    assert len(found) == 1, f"the page has {len(found)} tables {name}"
    return found[0]


def split_numbers(table: str) -> tuple[str, list[float]]:
    """The text of a table without its decimal numbers, and the numbers."""
    number = r"-?\d+\.\d+(?:e[+-]\d+)?|(?<=\| )-?\d+(?= \|)"
    return re.sub(number, "#", table), [float(value) for value in re.findall(number, table)]


@pytest.mark.slow
def test_tables_are_current(tables):
    assert {"calls", "methods", "training", "samplers", *MEASURED} == tables.keys()
    for name in tables.keys() - MEASURED:
        assert read_table(name) == tables[name], f"run `python scripts/compare_pythae.py`: {name} is out of date"


@pytest.mark.slow
def test_measured_numbers_are_current(tables):
    for name in MEASURED:
        text, numbers = split_numbers(tables[name])
        expected_text, expected = split_numbers(read_table(name))
        assert text == expected_text, f"run `python scripts/compare_pythae.py`: {name} is out of date"
        assert numbers == pytest.approx(expected, rel=0.02, abs=0.011)


def test_comparison_of_numbers():
    text, numbers = split_numbers("| `A` | 1.5 | -2 | 0.1.2 |\n| 1e3 | 3 |")
    assert numbers[:2] == [1.5, -2.0] and numbers[-1] == 3.0 and "1.5" not in text and "`A`" in text
    assert split_numbers("| x | 1.0 |")[0] == split_numbers("| x | 2.0 |")[0] != split_numbers("| y | 2.0 |")[0]
