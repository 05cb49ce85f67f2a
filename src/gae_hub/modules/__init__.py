"""Building blocks of the models and samplers: networks, posteriors, flows, codebooks, geometries and parts of losses.

Files here import `core` and each other only. With `core` and `models` they are the closed set of files that can travel
with a checkpoint, so file names are unique over the three folders.
"""
