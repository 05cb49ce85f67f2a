"""Benchmarks: gae_hub against its peers and against the limits of the machine. README.md holds the results."""
