"""What the Hub sees of a model: its card."""
