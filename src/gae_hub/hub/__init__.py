"""What a repository on the Hub shows and carries besides weights: its model card, and copies of custom code.

May import every layer up to `pipelines`.
"""
