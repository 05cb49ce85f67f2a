"""Densities over the latents of a trained autoencoder: one file per sampler.

`base` and `latent_kinds` hold the contract, `learned` the base of the samplers that [`GAETrainer`] trains, and
`flow_base` the base of the normalizing flows. Importing this package registers every sampler. Files here
may import all layers up to training; they import the trainer where it is used, because it is slow to import.
"""

from importlib import import_module
from pkgutil import iter_modules

for _module in iter_modules(__path__):
    import_module(f".{_module.name}", __name__)
