"""From whatever holds images to batches of `pixel_values`, and from data sets to their embeddings.

One file for each step: `sources` opens what a user has, `image_reader` and `decoding` turn its rows into the data sets
of `datasets`, `loading` puts these steps behind `load_images`, and `embeddings` encodes a data set with a model.

Files here import core, modules and images, and models for annotations only. They import Hugging Face `datasets` on
first use.
"""
