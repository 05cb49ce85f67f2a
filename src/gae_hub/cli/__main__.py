"""Runs the command line: `python -m gae_hub.cli`."""

import sys

from .main import main

sys.exit(main())
