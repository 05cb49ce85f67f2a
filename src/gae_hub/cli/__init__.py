"""The command line: one file per command, and what the commands share.

The top layer: a command may import every other layer, but only inside `add_arguments` and `run`, so that `--help` and
mistyped commands respond without loading torch.
"""
