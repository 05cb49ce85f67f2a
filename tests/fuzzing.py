"""Damaged and tampered variants of valid files, and the check that reading them raises nothing but sentences."""

import json
import random
import struct
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")

PLACEHOLDER = "@value@"
DEEP = "[" * 2_000 + "]" * 2_000
# JSON text by name; "text" is a name that nothing has
REPLACEMENTS = {
    "null": "null",
    "empty list": "[]",
    "empty object": "{}",
    "text": '"text"',
    "-1": "-1",
    "10**9": "1000000000",
    "1.5": "1.5",
    "true": "true",
    "NaN": "NaN",
    "deep list": DEEP,
}


# JSON


def json_variants(document: Any, number: int | None = None) -> Iterator[tuple[str, str]]:
    """(name, JSON text): at every path of the document, the root included, the value is replaced by each of
    `REPLACEMENTS`, and each key of an object is removed.

    Args:
        document: a valid document.
        number: how many variants at most, see `sample`; all by default.
    """
    changes = [
        (path, name)
        for path in json_paths(document)
        for name in (*REPLACEMENTS, *(["removed"] if path and isinstance(path[-1], str) else []))
    ]
    for path, name in changes if number is None else sample(changes, number):
        if name == "removed":
            yield f"{_say(path)} removed", json.dumps(removed(document, path))
        else:
            text = json.dumps(replaced(document, path, PLACEHOLDER)).replace(
                json.dumps(PLACEHOLDER), REPLACEMENTS[name]
            )
            yield f"{_say(path)} = {name}", text


def broken_texts(text: str) -> Iterator[tuple[str, bytes]]:
    """(name, content): files that are no JSON or YAML, or are not in UTF-8."""
    content = text.encode()
    yield "empty", b""
    yield "cut", content[: len(content) // 2]
    yield "zeros", b"\0" * len(content)
    yield "latin-1", '{"\u00e9": 1}'.encode("latin-1")
    yield "unclosed", b"[" * 100_000
    yield "longer", content + b"}"


def json_paths(document: Any, path: tuple = ()) -> Iterator[tuple]:
    """Keys and indices that lead to every value of a document, the root first."""
    yield path
    items = document.items() if isinstance(document, dict) else enumerate(document) if type(document) is list else ()
    for key, value in items:
        yield from json_paths(value, (*path, key))


def replaced(document: Any, path: tuple, value: Any) -> Any:
    """A copy of a document with another value at a path."""
    if not path:
        return value
    copy = deepcopy(document)
    _parent(copy, path)[path[-1]] = value
    return copy


def removed(document: Any, path: tuple) -> Any:
    """A copy of a document without the key or index at a path."""
    copy = deepcopy(document)
    del _parent(copy, path)[path[-1]]
    return copy


def _parent(document: Any, path: tuple) -> Any:
    for key in path[:-1]:
        document = document[key]
    return document


def _say(path: tuple) -> str:
    return ".".join(map(str, path)) or "root"


# safetensors


def safetensors_variants(content: bytes) -> Iterator[tuple[str, bytes]]:
    """(name, file content): a valid safetensors file that is truncated, has garbage in its header, no metadata or
    other metadata, or a tensor that is missing, has another shape, another dtype or other values, or is not known.

    Metadata that is JSON is replaced at every path, see `json_variants`.
    """
    length = struct.unpack("<Q", content[:8])[0]
    header, data = json.loads(content[8 : 8 + length]), content[8 + length :]
    metadata = header.pop("__metadata__", {})
    tensors = {
        name: (entry["dtype"], entry["shape"], data[slice(*entry["data_offsets"])]) for name, entry in header.items()
    }

    for kept in (0, 4, 8 + length // 2, 8 + length, len(content) - 4):
        yield f"truncated to {kept} bytes", content[:kept]
    yield "longer", content + b"\0" * 4
    yield "header of other bytes", content[:8] + b"\xff" * length + data
    yield "header too long", struct.pack("<Q", 2**63 - 1) + content[8:]
    for name, text in REPLACEMENTS.items():
        yield f"header = {name}", _with_header(text, data)
        for key in ("__metadata__", *list(header)[:1]):
            text_of_header = json.dumps({**header, "__metadata__": metadata, key: PLACEHOLDER})
            yield (
                f"header of {key} = {name}",
                _with_header(text_of_header.replace(json.dumps(PLACEHOLDER), text), data),
            )

    yield "without metadata", write_safetensors(tensors, {})
    for key, value in metadata.items():
        for name, text in json_variants(_parse(value), 200):
            yield f"metadata {key}: {name}", write_safetensors(tensors, {**metadata, key: text})
        yield f"metadata {key}: no JSON", write_safetensors(tensors, {**metadata, key: value[: len(value) // 2]})

    for name, (dtype, shape, values) in tensors.items():
        others = {key: tensor for key, tensor in tensors.items() if key != name}
        yield f"{name} missing", write_safetensors(others, metadata)
        yield f"{name} with another axis", write_safetensors({**others, name: (dtype, [1, *shape], values)}, metadata)
        longer = (dtype, [2, *shape], values * 2)
        yield f"{name} twice as long", write_safetensors({**others, name: longer}, metadata)
        yield f"{name} empty", write_safetensors({**others, name: (dtype, [0], b"")}, metadata)
        smaller = ("U8", [len(values)], values)
        yield f"{name} as bytes", write_safetensors({**others, name: smaller}, metadata)
        if dtype == "F32":
            number = len(values) // 4
            for other in ("I32", "U32"):
                yield f"{name} as {other}", write_safetensors({**others, name: (other, shape, values)}, metadata)
            for value in (float("nan"), float("-inf"), -1.0, 1e30):
                filled = (dtype, shape, struct.pack("<f", value) * number)
                yield f"{name} full of {value}", write_safetensors({**others, name: filled}, metadata)
    if tensors:
        yield "an additional tensor", write_safetensors({**tensors, "additional": ("U8", [3], b"abc")}, metadata)


def write_safetensors(tensors: dict[str, tuple[str, list[int], bytes]], metadata: dict[str, Any]) -> bytes:
    """Content of a safetensors file with these (dtype, shape, bytes)."""
    header: dict[str, Any] = {"__metadata__": metadata} if metadata else {}
    data = b""
    for name, (dtype, shape, values) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + len(values)]}
        data += values
    return _with_header(json.dumps(header), data)


def _with_header(text: str, data: bytes) -> bytes:
    header = text.encode()
    header += b" " * (-len(header) % 8)
    return struct.pack("<Q", len(header)) + header + data


def _parse(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


# The check


def sample(variants: Iterable[T], number: int) -> list[T]:
    """At most this number of variants, always the same ones, in order."""
    found = list(variants)
    if len(found) <= number:
        return found
    return [found[index] for index in sorted(random.Random(0).sample(range(len(found)), number))]


def check_reading(
    file: Path,
    variants: Iterator[tuple[str, str | bytes]] | list[tuple[str, Any]],
    read: Callable[[], Any],
    allowed: tuple[type[Exception], ...] = (OSError, ValueError),
    max_length: int = 700,
) -> Counter[str]:
    """Write each variant into `file` and read it: it must be accepted, or be an error of one sentence. The file is
    then as it was.

    Args:
        file: the file to replace.
        variants: (name, content) pairs.
        read: reads the file.
        allowed: types of errors that are sentences.
        max_length: longest message, without the file's folder.

    Returns:
        How many variants were "read" and how many were "rejected".
    """
    before, outcomes, faults = file.read_bytes(), Counter(), []
    try:
        for name, content in variants:
            file.write_bytes(content if isinstance(content, bytes) else content.encode())
            try:
                read()
            except allowed as error:
                outcomes["rejected"] += 1
                text = str(error).replace(str(file.parent), "")
                if isinstance(error, UnicodeDecodeError) or not text or "\n" in text or len(text) > max_length:
                    faults.append(f"{name}: {type(error).__name__} is no sentence: {text[:300]!r}")
            except Exception as error:
                faults.append(f"{name}: {type(error).__name__}: {str(error)[:300]!r}")
            else:
                outcomes["read"] += 1
    finally:
        file.write_bytes(before)
    assert not faults, f"{len(faults)} of {file.name}'s variants:\n" + "\n".join(faults[:40])
    return outcomes
