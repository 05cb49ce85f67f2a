"""The packages that a Space installs, in the versions that the library is tested with."""

__all__ = ["GRADIO_VERSION", "PINNED", "PYTHON_VERSION", "requirements"]

from ..._version import __version__

GRADIO_VERSION = "6.31.0"
"""Version of Gradio that the Spaces are tested with, and that the Hub installs."""

PYTHON_VERSION = "3.11"
"""Version of Python of the Spaces: the oldest that the library supports. The Hub's default is older."""

PINNED = {
    "torch": "2.13.0",
    "transformers": "5.23.0",
    "accelerate": "1.15.0",
    "datasets": "5.2.0",
    "evaluate": "0.4.6",
    "huggingface_hub": "2.4.0",
    "safetensors": "0.8.0",
    "numpy": "2.4.6",
    "pillow": "12.3.0",
    "scikit-learn": "1.9.1",
    "scipy": "1.17.1",
    "matplotlib": "3.11.2",
    "gradio": GRADIO_VERSION,
}
"""Version of each package that a Space imports."""


def requirements() -> str:
    """Content of requirements.txt: gae_hub and what it imports, each in one version, so that a Space keeps working."""
    return "".join(f"{name}=={version}\n" for name, version in {"gae_hub": __version__, **PINNED}.items())
