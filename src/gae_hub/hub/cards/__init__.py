"""Model cards: README.md of a saved model or sampler, with the facts and pictures that it shows.

`render.write_card` is called at each save. It loads the facts of the training run, renders a template, and merges the
result with the text that people added to the earlier card.
"""
