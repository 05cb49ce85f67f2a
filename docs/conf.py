"""Configuration of the documentation site: `make docs` builds it into build/docs."""

import os
import sys
from pathlib import Path

# the folder of the extension
sys.path.insert(0, str(Path(__file__).parent / "_extensions"))
# transformers must not look for updates or files while classes are imported
os.environ.setdefault("HF_HUB_OFFLINE", "1")

from gae_hub import __version__  # noqa: E402

project = "gae_hub"
author = "The gae_hub authors"
copyright = author
version = release = __version__

extensions = ["sphinx.ext.autodoc", "myst_parser", "sphinx_copybutton", "gae_docs"]
exclude_patterns = ["_extensions", "**/.ipynb_checkpoints"]
myst_enable_extensions = ["attrs_block", "colon_fence"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True
python_display_short_literal_types = True
maximum_signature_line_length = 100

# Names that have a page must resolve. Types of other libraries, and of modules without a page, stay plain text.
nitpicky = True
nitpick_ignore_regex = [
    ("py:.*", r"(?!gae_hub\.).*"),
    ("py:.*", r"gae_hub\.[a-z_]+\.[a-z_.]+\.\w+"),
    ("py:.*", r"gae_hub\..*\b_\w+"),
]

html_theme = "furo"
html_title = "gae_hub"
html_math_renderer = "mathml"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_theme_options = {
    "source_repository": "https://github.com/gae-hub/gae_hub",
    "source_branch": "main",
    "source_directory": "docs/",
}
copybutton_exclude = ".linenos, .gp, .go"
linkcheck_ignore = [r"https://github\.com/gae-hub/.*", r"http://localhost.*"]
