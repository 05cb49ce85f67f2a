"""Loads data of any kind as batches of `pixel_values`, and embeds data sets with a model.

One file for each step: `options` says how data are read, `sources` opens them, `splits` holds out a validation part,
`split_reading` makes the data sets of `datasets`, and `loading` combines these steps in `load_images` and `load_data`.
`embeddings` encodes a data set with a model, `caches` recognises networks that were used before, and
`latent_dimensions` measures and changes single dimensions.

Files here import core, modules, models and images. They import Hugging Face `datasets` on first use.
"""
