"""Conversion between gae_hub and other formats: Pythae checkpoints in; torch.export, ONNX and diffusers out.

May import every layer up to `metrics`.
"""
