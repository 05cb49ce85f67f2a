"""Runs a command of `gae-hub` in this process."""

from gae_hub.cli.main import main


def run(*words) -> int:
    """The exit status of `gae-hub` with these words, which may be paths and numbers."""
    return main([str(word) for word in words])
