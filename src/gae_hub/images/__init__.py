"""Images in and out: conversion to `pixel_values` and back, files of many images, and pictures of grids and curves.

Files here import core and modules. They import matplotlib and Hugging Face `datasets` on first use.
"""
