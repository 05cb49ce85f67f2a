"""Every command that documentation, scripts, cards and error messages quote can be read by its parser."""

import re
import shlex
from functools import cache
from pathlib import Path

import pytest

import gae_hub
from gae_hub.cli.main import COMMANDS, make_parser

ROOT, SOURCE = Path(__file__).parents[2], Path(gae_hub.__file__).parent
PAGES = sorted(
    path
    for pattern in (
        "*.md",
        "docs/*.md",
        "docs/start/*.md",
        "docs/howto/*.md",
        "docs/choose/*.md",
        "model_cards/*/README.md",
        "scripts/*.py",
        "Makefile",
        "CITATION.cff",
    )
    for path in ROOT.glob(pattern)
    if path.name != "CHANGELOG.md"  # it also names the commands of earlier versions
)
MESSAGES = sorted(
    path
    for path in SOURCE.rglob("*")
    if path.suffix in {".py", ".md", ".jinja"} and "cli" not in path.relative_to(SOURCE).parts
)


def commands(text):
    """(command, flags) for each `gae-hub command ...` and `scripts/train.py ...`, in code blocks and in backticks."""
    blocks = re.findall(r"^```\w*\n(.*?)^```$", text, re.S | re.M)
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.S | re.M)
    lines = [line.partition(" #")[0] for block in blocks for line in block.splitlines()]
    for span in [*lines, *re.findall(r"`([^`]+)`", prose), *re.findall(r".*scripts/train\.py.*", prose)]:
        words = " ".join(span.split())
        found = re.match(r"gae-hub ((?:study )?[a-z-]+)(?= |$)(.*)", words) or re.search(
            r"scripts/(train)\.py (--.*)", words
        )
        if found:
            yield found[1], found[2]


@cache
def flags_of(command):
    parser = make_parser(command)
    if parser.extend is not None:
        parser.extend(parser, [])
    return parser.flags.keys()


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_commands_of_a_page_are_complete(path, tmp_path):
    for command, rest in commands(path.read_text(encoding="utf-8")):
        assert command in COMMANDS, f"{path.name}: gae-hub {command}"
        words = shlex.split(rest.replace("betavae.yaml", str(tmp_path / "betavae.yaml")))
        (tmp_path / "betavae.yaml").write_text("beta: 0.1\n")
        if words and "--help" not in words:
            make_parser(command).read(words)


def test_messages_of_the_library_quote_commands_and_flags_that_exist():
    known = {flag for command in COMMANDS for flag in flags_of(command)} | {"extra-index-url"}  # of pip
    for path in MESSAGES:
        text = path.read_text(encoding="utf-8").replace("{role}", "encoder")
        for command, rest in re.findall(r"gae-hub ((?:study )?[a-z][a-z-]+)([^`\n]*)", text):
            assert command in COMMANDS, f"{path}: gae-hub {command}"
            assert set(re.findall(r"--([\w-]+)", rest)) <= flags_of(command), f"{path}: gae-hub {command}{rest}"
        text = re.sub(r"var\(--[^)]+\)|style=\"--[\w-]+|\{ --[\w-]+:", "", text)  # variables of CSS
        quoted = set(re.findall(r"(?<![\w-])--([a-z][\w-]*)", text))
        assert quoted <= known, f"{path}: {quoted - known}"


def test_commands_are_found():
    found = [command for path in PAGES for command, _ in commands(path.read_text(encoding="utf-8"))]
    assert set(COMMANDS) - {"list", "quickstart"} <= set(found)
    assert len(found) > 15
