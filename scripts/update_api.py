"""Write tests/public_api.txt, the names and signatures of the public API: python scripts/update_api.py.

A test compares the file with the code, so that every change of the API is seen in review.
"""

import inspect
import re
from pathlib import Path
from types import FunctionType

from transformers import PreTrainedConfig, TrainingArguments

import gae_hub

SNAPSHOT = Path(__file__).parents[1] / "tests" / "public_api.txt"


def render() -> str:
    """The whole snapshot."""
    return "\n".join(line for name in sorted(gae_hub.__all__) for line in describe(name)) + "\n"


def describe(name: str) -> list[str]:
    """Lines for a public function, or for a class with the fields or methods that gae_hub adds to its bases."""
    public = getattr(gae_hub, name)
    if not inspect.isclass(public):
        return [name + parameters(public)]
    lines = [f"{name}({', '.join(base.__name__ for base in public.__bases__)})"]
    if issubclass(public, (PreTrainedConfig, TrainingArguments)):
        own = [field for field in public.__dataclass_fields__ if field in vars(public).get("__annotations__", {})]
        return lines + [f"    {field} = {getattr(public, field, None)!r}" for field in own]
    for member, value in sorted(vars(public).items()):
        function = getattr(value, "__func__", value)
        if isinstance(value, property) and not member.startswith("_"):
            lines.append(f"    {member}")
        elif isinstance(function, FunctionType) and (member == "__init__" or not member.startswith("_")):
            lines.append(f"    {member}{parameters(function)}")
    return lines


def parameters(function) -> str:
    """The parameters of a function with their defaults, without types."""
    kept = [p.replace(annotation=p.empty) for p in inspect.signature(function).parameters.values()]
    text = str(inspect.Signature(kept))
    return re.sub(r"<function (\w+) at 0x\w+>", r"\1", text)


if __name__ == "__main__":
    SNAPSHOT.write_text(render(), encoding="utf-8")
