"""Examples in and out: conversion to `pixel_values` and back, files of images and arrays, and pictures of any data.

Files here import core and modules. They import matplotlib, pyarrow and Hugging Face `datasets` on first
use.
"""
