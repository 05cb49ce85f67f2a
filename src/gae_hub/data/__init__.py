"""Loads images from any source as batches of `pixel_values`, and embeds data sets with a model.

One file for each step: `sources` opens a source, `image_reader` and `decoding` turn its rows into the data sets of
`datasets`, `loading` combines these steps in `load_images`, and `embeddings` encodes a data set with a model.

Files here import core, modules and images, and models for annotations only. They import Hugging Face `datasets` on
first use.
"""
