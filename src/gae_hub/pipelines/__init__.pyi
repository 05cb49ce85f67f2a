"""The public names of `gae_hub.pipelines`, which load on first use."""

from .feature_extraction import FeatureExtractionPipeline as FeatureExtractionPipeline
from .generation import GenerationPipeline as GenerationPipeline
from .interpolation import InterpolationPipeline as InterpolationPipeline
from .reconstruction import ReconstructionPipeline as ReconstructionPipeline
from .task_names import TASKS as TASKS
from .task_pipeline import TaskPipeline as TaskPipeline
from .training import TrainingPipeline as TrainingPipeline
from .traversal import TraversalPipeline as TraversalPipeline

__all__ = [
    "TASKS",
    "FeatureExtractionPipeline",
    "GenerationPipeline",
    "InterpolationPipeline",
    "ReconstructionPipeline",
    "TaskPipeline",
    "TrainingPipeline",
    "TraversalPipeline",
]
