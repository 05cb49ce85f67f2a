"""What a run of a study left, so that a killed run can be compared with an undisturbed one."""

import json
from hashlib import sha256
from pathlib import Path

from gae_hub.study.collect import load_results
from gae_hub.study.folder import StudyFolder

COMPARED = ("*.png", "*.safetensors", "plan.json", "study.yaml")  # files without times, of cells and extractors


def read_outcome(root: Path) -> dict[str, str]:
    """Numbers, passports and hashes of files by name. Times are left out: they differ from run to run."""
    results = load_results(StudyFolder.find(root))
    found = {"counts": json.dumps(sorted((cell.method, cell.configuration, cell.state) for cell in results.cells))}
    for cell in results.cells:
        for kind in ("numbers", "passports"):
            values = {name: v for name, v in getattr(cell, kind).items() if name != "training/seconds"}
            found[f"{cell.method} {cell.configuration} {kind}"] = json.dumps(values, sort_keys=True)
    for pattern in COMPARED:
        for path in root.rglob(pattern):
            found[path.relative_to(root).as_posix()] = sha256(path.read_bytes()).hexdigest()
    return found


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
