"""Model cards, and copies of custom code that a checkpoint needs, for repositories on the Hub.

May import every layer up to `pipelines`.
"""
