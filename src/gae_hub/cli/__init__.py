"""The command line: one file per command, and what the commands share.

The top layer: files here may import every other layer, but only inside functions, so that `--help` and usage errors
appear without loading torch.
"""
