"""gae_hub: a Hub library of generative autoencoders.

All public names are listed in `__init__.pyi` and load on first use: `import gae_hub` imports neither torch nor
transformers.
"""

from pathlib import Path

from ._autoload import install_when_imported
from ._hooks import register_hooks
from ._lazy import attach_stub
from ._version import __version__

__getattr__, __dir__, __all__ = attach_stub(__name__, Path(__file__).with_suffix(".pyi"))

register_hooks()
install_when_imported()
