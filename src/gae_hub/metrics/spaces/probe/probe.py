"""The paper's classifier: accuracy of one linear layer on latents, over 20 runs that are trained together.

A metric of gae_hub for `evaluate`; this file was made by scripts/make_spaces.py.
"""

from gae_hub.metrics import evaluate_metric


class Probe(evaluate_metric.GAEMetric):
    """The paper's classifier: accuracy of one linear layer on latents, over 20 runs that are trained together."""

    measure = "probe"
