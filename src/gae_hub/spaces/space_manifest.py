"""The manifest of a Space, and how the files of an earlier Space are replaced without touching any others."""

__all__ = ["MANIFEST_FILE", "SpaceManifest", "read_manifest", "replace_space", "write_manifest"]

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from shutil import copyfile
from tempfile import TemporaryDirectory

from ..core.files import remove_leftovers, temporary_prefix, write_json
from ..core.json_files import read_json_object

MANIFEST_FILE = "space.json"
"""File of a Space that says what it shows and which files belong to it."""

_CARD = "README.md"
_MAX_BYTES = 1 << 24


@dataclass(frozen=True)
class SpaceManifest:
    """What a Space is.

    Args:
        shows: what it shows, by which a later publication recognises it.
        files: paths of its files, relative to its folder, without the manifest.
    """

    shows: str
    files: tuple[str, ...]


def write_manifest(folder: Path, shows: str):
    """Write the manifest of a folder in which every file belongs to the Space."""
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    write_json(folder / MANIFEST_FILE, {"space": shows, "files": [name for name in files if name != MANIFEST_FILE]})


def read_manifest(folder: Path) -> SpaceManifest:
    """The manifest in a folder.

    Raises:
        ValueError: if the folder has none, or one that names files outside the folder.
    """
    try:
        content = read_json_object(folder / MANIFEST_FILE, _MAX_BYTES, any_depth=True)
        shows, files = content["space"], tuple(content["files"])
        is_valid = all(isinstance(text, str) for text in (shows, *files))
    except (OSError, ValueError, KeyError, TypeError):
        is_valid, shows, files = False, "", ()
    if not is_valid:
        raise ValueError(f"'{folder}' was not created by gae-hub space; choose another --output_dir")
    _check_inside(folder, files)
    return SpaceManifest(shows, files)


@contextmanager
def replace_space(folder: str | Path, source: str | Path) -> Iterator[Path]:
    """A temporary folder, whose files replace those of an earlier Space when the context ends.

    The temporary folder holds the card of the earlier Space, and `write_manifest` completes it. After an error the
    earlier Space is unchanged. Files that do not belong to it stay.

    Args:
        folder: new, empty, or the folder of an earlier Space.
        source: folder of the model or the study that the Space shows, which must lie elsewhere.

    Raises:
        ValueError: if the folder holds anything else, overlaps with the source, or has a link to another folder where
            a file of the Space belongs.
    """
    place = Path(folder)
    _check_apart(place, Path(source))
    is_new = not place.exists()
    if not is_new and not place.is_dir():
        raise ValueError(f"'{place}' is not a folder; choose another --output_dir")
    place.mkdir(parents=True, exist_ok=True)
    remove_leftovers(place)
    earlier = read_manifest(place).files if any(place.iterdir()) else ()
    try:
        with TemporaryDirectory(prefix=temporary_prefix(), dir=place) as temporary:
            if (place / _CARD).is_file():
                copyfile(place / _CARD, Path(temporary) / _CARD)
            yield Path(temporary)
            _install(Path(temporary), place, earlier)
    finally:
        if is_new and not any(place.iterdir()):
            place.rmdir()


def _install(staged: Path, place: Path, earlier: Iterable[str]):
    """Move the files of a staged Space to their place, and delete those that only the earlier Space had."""
    files = read_manifest(staged).files
    _check_inside(place, files)
    for name in sorted(set(earlier) - set(files)):
        path = place / name
        path.unlink(missing_ok=True)
        for parent in path.relative_to(place).parents:
            if (place / parent).is_dir() and not any((place / parent).iterdir()):
                (place / parent).rmdir()
    for name in (MANIFEST_FILE, *files):  # the manifest first: a folder without it would be rejected the next time
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (staged / name).replace(place / name)


def _check_apart(place: Path, source: Path):
    """Raise ValueError if one of two folders is the other or contains it."""
    first, second = place.resolve(), source.resolve()
    if first == second or first in second.parents or second in first.parents:
        raise ValueError(
            f"the folder of the Space, '{place}', overlaps with '{source}', which it shows: choose another "
            "--output_dir"
        )


def _check_inside(folder: Path, names: Iterable[str]):
    """Raise ValueError for a file that lies outside a folder, such as behind a link to another folder."""
    root = folder.resolve()
    for name in names:
        if not (root / name).resolve().is_relative_to(root):
            raise ValueError(
                f"'{folder / name}' lies outside '{folder}': remove the link, or choose another --output_dir"
            )
