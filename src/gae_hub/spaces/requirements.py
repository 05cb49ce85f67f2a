"""The requirements of a Space: the versions that are installed here, so that it starts in years as it does today."""

__all__ = ["pin_requirements"]

from importlib.metadata import PackageNotFoundError, distribution, version

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from .._version import __version__

_CPU_INDEX = "https://download.pytorch.org/whl/cpu"
_ROOTS = ("gae_hub", "gradio")
# PyTorch's GPU libraries, which its CPU build does not need; and what the Hub's own image of Spaces installs
_NOT_PINNED = ("nvidia-", "cuda-", "triton", "psutil")


def pin_requirements() -> str:
    """The text of requirements.txt: gae_hub, Gradio and everything that they need, with exact versions.

    PyTorch is the CPU build, which is smaller by gigabytes.

    Raises:
        ImportError: if Gradio is not installed.
    """
    pins = {canonicalize_name(name): __version__ if name == "gae_hub" else version(name) for name in _ROOTS}
    waiting = list(pins)
    while waiting:
        for line in distribution(waiting.pop()).requires or ():
            requirement = Requirement(line)
            name = canonicalize_name(requirement.name)
            if name in pins or name.startswith(_NOT_PINNED):
                continue
            if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
                continue
            try:
                pins[name] = version(name)
            except PackageNotFoundError:  # an optional part, such as a system's own
                continue
            waiting.append(name)
    del pins[canonicalize_name("gae_hub")]
    pins[canonicalize_name("torch")] = f"{Version(version('torch')).public}+cpu"
    lines = [f"--extra-index-url {_CPU_INDEX}", f"gae_hub=={__version__}"]
    return "\n".join([*lines, *(f"{name}=={pins[name]}" for name in sorted(pins)), ""])
