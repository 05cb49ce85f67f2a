"""The tasks of `transformers.pipeline`, by name. This file imports nothing, since it is read early."""

__all__ = ["TASKS"]

TASKS = {
    "unconditional-image-generation": "generation.GenerationPipeline",
    "image-feature-extraction": "feature_extraction.FeatureExtractionPipeline",
    "image-reconstruction": "reconstruction.ReconstructionPipeline",
    "image-interpolation": "interpolation.InterpolationPipeline",
    "latent-traversal": "traversal.TraversalPipeline",
}
"""Task to file and class in this folder. The first and the second are tasks of the Hub, the others ours."""
