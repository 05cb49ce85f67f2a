"""What a run of a study left, so that a killed run can be compared with an undisturbed one."""

import json
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory

from gae_hub.study.collect import load_results
from gae_hub.study.findings import find_findings, findings_markdown
from gae_hub.study.folder import StudyFolder
from gae_hub.study.results import StudyResults
from gae_hub.study.table_files import write_tables

COMPARED = ("cells/**/*.png", "**/*.safetensors", "studies/*/*.*")  # files without times


def read_outcome(root: Path) -> dict[str, str]:
    """Numbers, passports, tables and hashes of files by name, without times, which differ from run to run."""
    results = without_times(load_results(StudyFolder.find(root)))
    found = {"findings": findings_markdown(find_findings(results))}
    for cell in results.cells:
        name = f"{cell.method} {cell.configuration}"
        found[name] = json.dumps([cell.state, cell.numbers, cell.passports, cell.error], sort_keys=True)
    with TemporaryDirectory() as folder:
        found |= {path.name: hash_of(path) for path in write_tables(results, folder)}
    for pattern in COMPARED:
        found |= {path.relative_to(root).as_posix(): hash_of(path) for path in root.glob(pattern)}
    return found


def without_times(results: StudyResults) -> StudyResults:
    """Results as if each training and each step had taken a second."""
    cells = []
    for cell in results.cells:
        facts = {name: value for name, value in cell.facts.items() if "seconds" not in name}
        cells.append(replace(cell, numbers={**cell.numbers, "training/seconds": 1.0}, facts=facts))
    return replace(results, cells=cells)


def hash_of(path: Path) -> str:
    return sha256(path.read_bytes()).hexdigest()


def list_files(root: Path) -> set[str]:
    """Names of all files and folders."""
    return {path.relative_to(root).as_posix() for path in root.rglob("*")}


def compare_runs(whole: Path, cut: Path) -> dict[str, list[str]]:
    """What differs between an undisturbed run and a killed one: `different`, `missing` and `unfinished` names."""
    one, other = read_outcome(whole), read_outcome(cut)
    files, cut_files = list_files(whole), list_files(cut)
    return {
        "different": sorted(name for name in one.keys() & other.keys() if one[name] != other[name]),
        "missing": sorted((one.keys() - other.keys()) | (files - cut_files)),
        "unfinished": sorted(cut_files - files),
    }
