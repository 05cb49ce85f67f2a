"""Import of Pythae checkpoints.

`reading` opens a checkpoint safely, `methods` converts the settings and tensors of each method, `network_matching`
recognises encoders and decoders, and `convert` builds the model.
"""
