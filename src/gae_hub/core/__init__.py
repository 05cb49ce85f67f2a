"""What every Hub object shares: configs, loading, saving, errors of the Hub, and communication between processes.

The lowest layer: files here import no other layer. With `modules` and `models` it is the closed set of files that can
travel with a checkpoint, so file names are unique over the three folders.
"""
