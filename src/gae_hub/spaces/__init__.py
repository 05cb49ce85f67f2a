"""Gradio apps: the Space of one model, its folder, and how it is served and published.

It may import every layer but the command line. Gradio is imported on first use.
"""
