"""Images in and out: PIL images and arrays to `pixel_values` and back, files of images, and pictures for people.

Files here import core and modules. They import matplotlib and Hugging Face `datasets` on first use.
"""
