"""Reads the fenced blocks of a page of docs/, and how its tests run them.

A comment before a block changes how it is tested, not how it reads:

    <!-- test: num_train_epochs=40 -> num_train_epochs=1 -->   replace a text, which must be there, before it runs
    <!-- test: not run, because it needs two GPUs -->           only compile the block

A block of the language `text` after one of Python is what that prints. `...` in it stands for any text, and after

    <!-- test: numbers within 20 % -->

its numbers may differ from those that are printed, as they do between machines.
"""

import re
from dataclasses import dataclass, field
from doctest import ELLIPSIS, NORMALIZE_WHITESPACE, OutputChecker
from math import isclose
from pathlib import Path

FOLDERS = ("start", "howto", "choose")
NUMBER = re.compile(r"-?\d+\.\d+")
BLOCK = re.compile(r"((?:^ *<!-- test: .*? -->\n)*)^( *)```(\w*)\n(.*?)^\2```$", re.S | re.M)


@dataclass
class Block:
    """One fenced block, with the replacements of its comments."""

    language: str
    body: str
    replacements: list[tuple[str, str]] = field(default_factory=list)
    reason: str | None = None  # why it does not run
    tolerance: float = 0.0  # largest relative difference of its numbers from those that are printed

    def code(self) -> str:
        """What the test runs."""
        code = self.body
        for old, new in self.replacements:
            assert old in code, f"a test comment replaces '{old}', which the block does not contain:\n{self.body}"
            code = code.replace(old, new)
        return code


def read_blocks(page: str) -> list[Block]:
    """The blocks of a page of Markdown, in order."""
    blocks = []
    for comments, indent, language, body in BLOCK.findall(page):
        block = Block(language, re.sub(f"^{indent}", "", body, flags=re.M))
        for comment in re.findall(r"<!-- test: (.*?) -->", comments):
            old, arrow, new = comment.partition(" -> ")
            within = re.fullmatch(r"numbers within (\d+) %", comment)
            if arrow:
                block.replacements.append((old, new))
            elif within:
                block.tolerance = int(within[1]) / 100
            else:
                assert comment.startswith("not run, because "), f"unknown comment for the test: {comment}"
                block.reason = comment
        blocks.append(block)
    return blocks


def find_pages(docs: Path) -> list[Path]:
    """The pages whose blocks share one namespace and run in order."""
    return sorted(page for folder in FOLDERS for page in (docs / folder).rglob("*.md"))


def is_output(expected: str, found: str, tolerance: float = 0.0) -> bool:
    """Whether a block of text is what a block of Python printed.

    Args:
        expected: the block of text.
        found: what was printed.
        tolerance: how far a number with a decimal point may be from the expected one, as a share of it; numbers
            near 0 may be a tenth of this away.
    """
    options = ELLIPSIS | NORMALIZE_WHITESPACE
    if tolerance:
        numbers = [[float(number) for number in NUMBER.findall(text)] for text in (expected, found)]
        if len(numbers[0]) != len(numbers[1]):
            return False
        if not all(isclose(a, b, rel_tol=tolerance, abs_tol=tolerance / 10) for a, b in zip(*numbers, strict=True)):
            return False
        expected, found = (NUMBER.sub("0.0", text) for text in (expected, found))
    return OutputChecker().check_output(expected.strip() + "\n", found.strip() + "\n", options)
