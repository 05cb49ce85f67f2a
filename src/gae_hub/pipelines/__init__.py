"""Objects that bundle a model with its sampler and its image processor, as one repository of the Hub.

Files here import the layers up to auto.
"""
