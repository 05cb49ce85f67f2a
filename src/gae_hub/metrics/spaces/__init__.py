"""One folder for each metric of `evaluate`, laid out as a Space on the Hub, and the code that writes and serves them.

`scripts/make_spaces.py` writes the folders from `templates`. Files here import the other parts of `metrics`.
"""
