"""The public API. Editors and type checkers read this file; `__init__.py` loads each name on first use.

A new method or sampler adds its names twice: an import, and an entry in `__all__`.
"""

# Submodules
from . import auto as auto
from . import cli as cli
from . import conversion as conversion
from . import core as core
from . import data as data
from . import hub as hub
from . import images as images
from . import metrics as metrics
from . import models as models
from . import modules as modules
from . import pipelines as pipelines
from . import plot as plot
from . import samplers as samplers
from . import spaces as spaces
from . import study as study
from . import training as training
from ._version import __version__ as __version__

# Load anything by name
from .auto import AutoGAE as AutoGAE
from .auto import AutoSampler as AutoSampler

# For pipelines of diffusers, which look up both names here; not in __all__, since they need the extra `diffusers`
from .conversion.diffusers import DiffusersAutoencoder as DiffusersAutoencoder
from .conversion.diffusers import ModelMixin as ModelMixin

# Data, training, use
from .data.datasets import InMemoryDataset as InMemoryDataset
from .data.embeddings import embed_dataset as embed_dataset
from .data.loading import load_data as load_data
from .data.loading import load_images as load_images
from .images.normalization import Normalization as Normalization
from .images.processing import GAEImageProcessor as GAEImageProcessor
from .metrics.evaluation import evaluate_model as evaluate_model
from .models.aae import AAEConfig as AAEConfig
from .models.aae import AAEModel as AAEModel
from .models.ae import AEConfig as AEConfig
from .models.ae import AEModel as AEModel

# Methods, and the bases of families
from .models.base import GAEConfig as GAEConfig
from .models.base import GAEOutput as GAEOutput
from .models.base import GAEPreTrainedModel as GAEPreTrainedModel
from .models.base import register_model as register_model
from .models.beta_tc_vae import BetaTCVAEConfig as BetaTCVAEConfig
from .models.beta_tc_vae import BetaTCVAEModel as BetaTCVAEModel
from .models.beta_vae import BetaVAEConfig as BetaVAEConfig
from .models.beta_vae import BetaVAEModel as BetaVAEModel
from .models.ciwae import CIWAEConfig as CIWAEConfig
from .models.ciwae import CIWAEModel as CIWAEModel
from .models.conditional import ConditionalModel as ConditionalModel
from .models.disentangled_beta_vae import DisentangledBetaVAEConfig as DisentangledBetaVAEConfig
from .models.disentangled_beta_vae import DisentangledBetaVAEModel as DisentangledBetaVAEModel
from .models.factor_vae import FactorVAEConfig as FactorVAEConfig
from .models.factor_vae import FactorVAEModel as FactorVAEModel
from .models.flow_prior_vae import FlowPriorVAEConfig as FlowPriorVAEConfig
from .models.flow_prior_vae import FlowPriorVAEModel as FlowPriorVAEModel
from .models.hrq_vae import HRQVAEConfig as HRQVAEConfig
from .models.hrq_vae import HRQVAEModel as HRQVAEModel
from .models.hvae import HVAEConfig as HVAEConfig
from .models.hvae import HVAEModel as HVAEModel
from .models.image_gan import ImageGANConfig as ImageGANConfig
from .models.image_gan import ImageGANModel as ImageGANModel
from .models.info_vae import InfoVAEConfig as InfoVAEConfig
from .models.info_vae import InfoVAEModel as InfoVAEModel
from .models.iwae import IWAEConfig as IWAEConfig
from .models.iwae import IWAEModel as IWAEModel
from .models.kl_gan import KLGANConfig as KLGANConfig
from .models.kl_gan import KLGANModel as KLGANModel
from .models.latent_gan import LatentGANConfig as LatentGANConfig
from .models.latent_gan import LatentGANModel as LatentGANModel
from .models.miwae import MIWAEConfig as MIWAEConfig
from .models.miwae import MIWAEModel as MIWAEModel
from .models.msssim_vae import MSSSIMVAEConfig as MSSSIMVAEConfig
from .models.msssim_vae import MSSSIMVAEModel as MSSSIMVAEModel
from .models.piwae import PIWAEConfig as PIWAEConfig
from .models.piwae import PIWAEModel as PIWAEModel
from .models.poincare_vae import PoincareVAEConfig as PoincareVAEConfig
from .models.poincare_vae import PoincareVAEModel as PoincareVAEModel
from .models.quantized import QuantizedConfig as QuantizedConfig
from .models.quantized import QuantizedModel as QuantizedModel
from .models.rae_gp import RAEGPConfig as RAEGPConfig
from .models.rae_gp import RAEGPModel as RAEGPModel
from .models.rae_l2 import RAEL2Config as RAEL2Config
from .models.rae_l2 import RAEL2Model as RAEL2Model
from .models.rae_l2 import RegularizedAEConfig as RegularizedAEConfig
from .models.rae_l2 import RegularizedAEModel as RegularizedAEModel
from .models.representation_ae import RepresentationAEConfig as RepresentationAEConfig
from .models.representation_ae import RepresentationAEModel as RepresentationAEModel
from .models.rhvae import RHVAEConfig as RHVAEConfig
from .models.rhvae import RHVAEModel as RHVAEModel
from .models.svae import SVAEConfig as SVAEConfig
from .models.svae import SVAEModel as SVAEModel
from .models.vae import MonteCarloVAEModel as MonteCarloVAEModel
from .models.vae import VAEConfig as VAEConfig
from .models.vae import VAEModel as VAEModel
from .models.vae_gan import VAEGANConfig as VAEGANConfig
from .models.vae_gan import VAEGANModel as VAEGANModel
from .models.vae_iaf import VAEIAFConfig as VAEIAFConfig
from .models.vae_iaf import VAEIAFModel as VAEIAFModel
from .models.vae_lin_nf import VAELinNFConfig as VAELinNFConfig
from .models.vae_lin_nf import VAELinNFModel as VAELinNFModel
from .models.vamp import VAMPConfig as VAMPConfig
from .models.vamp import VAMPModel as VAMPModel
from .models.vq_gan import VQGANConfig as VQGANConfig
from .models.vq_gan import VQGANModel as VQGANModel
from .models.vq_vae import VQVAEConfig as VQVAEConfig
from .models.vq_vae import VQVAEModel as VQVAEModel
from .models.wae_gan import WAEGANConfig as WAEGANConfig
from .models.wae_gan import WAEGANModel as WAEGANModel
from .models.wae_mmd import WAEMMDConfig as WAEMMDConfig
from .models.wae_mmd import WAEMMDModel as WAEMMDModel

# Networks
from .modules.backbones import Backbone as Backbone
from .modules.backbones import BackboneConfig as BackboneConfig
from .modules.backbones import register_backbone as register_backbone

# Pipelines
from .pipelines.feature_extraction import FeatureExtractionPipeline as FeatureExtractionPipeline
from .pipelines.generation import GenerationPipeline as GenerationPipeline
from .pipelines.interpolation import InterpolationPipeline as InterpolationPipeline
from .pipelines.reconstruction import ReconstructionPipeline as ReconstructionPipeline
from .pipelines.scikit_learn import GAETransformer as GAETransformer
from .pipelines.training import TrainingPipeline as TrainingPipeline
from .pipelines.traversal import TraversalPipeline as TraversalPipeline

# Samplers
from .samplers.base import GAESampler as GAESampler
from .samplers.base import GAESamplerConfig as GAESamplerConfig
from .samplers.base import register_sampler as register_sampler
from .samplers.code_sampler import CodeSampler as CodeSampler
from .samplers.code_sampler import CodeSamplerConfig as CodeSamplerConfig
from .samplers.empirical import EmpiricalSampler as EmpiricalSampler
from .samplers.empirical import EmpiricalSamplerConfig as EmpiricalSamplerConfig
from .samplers.flow_matching import FlowMatchingSampler as FlowMatchingSampler
from .samplers.flow_matching import FlowMatchingSamplerConfig as FlowMatchingSamplerConfig
from .samplers.gaussian_mixture import GaussianMixtureSampler as GaussianMixtureSampler
from .samplers.gaussian_mixture import GaussianMixtureSamplerConfig as GaussianMixtureSamplerConfig
from .samplers.iaf import IAFSampler as IAFSampler
from .samplers.iaf import IAFSamplerConfig as IAFSamplerConfig
from .samplers.kernel_density import KernelDensitySampler as KernelDensitySampler
from .samplers.kernel_density import KernelDensitySamplerConfig as KernelDensitySamplerConfig
from .samplers.learned import LearnedSampler as LearnedSampler
from .samplers.learned import LearnedSamplerConfig as LearnedSamplerConfig
from .samplers.maf import MAFSampler as MAFSampler
from .samplers.maf import MAFSamplerConfig as MAFSamplerConfig
from .samplers.neural_spline import NeuralSplineSampler as NeuralSplineSampler
from .samplers.neural_spline import NeuralSplineSamplerConfig as NeuralSplineSamplerConfig
from .samplers.per_class import PerClassSampler as PerClassSampler
from .samplers.per_class import PerClassSamplerConfig as PerClassSamplerConfig
from .samplers.pixel_cnn import PixelCNNSampler as PixelCNNSampler
from .samplers.pixel_cnn import PixelCNNSamplerConfig as PixelCNNSamplerConfig
from .samplers.prior import PriorSampler as PriorSampler
from .samplers.prior import PriorSamplerConfig as PriorSamplerConfig
from .samplers.rhvae_manifold import RHVAEManifoldSampler as RHVAEManifoldSampler
from .samplers.rhvae_manifold import RHVAEManifoldSamplerConfig as RHVAEManifoldSamplerConfig
from .samplers.transformer import TransformerSampler as TransformerSampler
from .samplers.transformer import TransformerSamplerConfig as TransformerSamplerConfig
from .samplers.two_stage_vae import TwoStageVAESampler as TwoStageVAESampler
from .samplers.two_stage_vae import TwoStageVAESamplerConfig as TwoStageVAESamplerConfig
from .training.arguments import GAETrainingArguments as GAETrainingArguments
from .training.trainer import GAETrainer as GAETrainer

__all__ = [
    "AAEConfig",
    "AAEModel",
    "AEConfig",
    "AEModel",
    "AutoGAE",
    "AutoSampler",
    "Backbone",
    "BackboneConfig",
    "BetaTCVAEConfig",
    "BetaTCVAEModel",
    "BetaVAEConfig",
    "BetaVAEModel",
    "CIWAEConfig",
    "CIWAEModel",
    "CodeSampler",
    "CodeSamplerConfig",
    "ConditionalModel",
    "DisentangledBetaVAEConfig",
    "DisentangledBetaVAEModel",
    "EmpiricalSampler",
    "EmpiricalSamplerConfig",
    "FactorVAEConfig",
    "FactorVAEModel",
    "FeatureExtractionPipeline",
    "FlowMatchingSampler",
    "FlowMatchingSamplerConfig",
    "FlowPriorVAEConfig",
    "FlowPriorVAEModel",
    "GAEConfig",
    "GAEImageProcessor",
    "GAEOutput",
    "GAEPreTrainedModel",
    "GAESampler",
    "GAESamplerConfig",
    "GAETrainer",
    "GAETrainingArguments",
    "GAETransformer",
    "GaussianMixtureSampler",
    "GaussianMixtureSamplerConfig",
    "GenerationPipeline",
    "HRQVAEConfig",
    "HRQVAEModel",
    "HVAEConfig",
    "HVAEModel",
    "IAFSampler",
    "IAFSamplerConfig",
    "IWAEConfig",
    "IWAEModel",
    "ImageGANConfig",
    "ImageGANModel",
    "InMemoryDataset",
    "InfoVAEConfig",
    "InfoVAEModel",
    "InterpolationPipeline",
    "KLGANConfig",
    "KLGANModel",
    "KernelDensitySampler",
    "KernelDensitySamplerConfig",
    "LatentGANConfig",
    "LatentGANModel",
    "LearnedSampler",
    "LearnedSamplerConfig",
    "MAFSampler",
    "MAFSamplerConfig",
    "MIWAEConfig",
    "MIWAEModel",
    "MSSSIMVAEConfig",
    "MSSSIMVAEModel",
    "MonteCarloVAEModel",
    "NeuralSplineSampler",
    "NeuralSplineSamplerConfig",
    "Normalization",
    "PIWAEConfig",
    "PIWAEModel",
    "PerClassSampler",
    "PerClassSamplerConfig",
    "PixelCNNSampler",
    "PixelCNNSamplerConfig",
    "PoincareVAEConfig",
    "PoincareVAEModel",
    "PriorSampler",
    "PriorSamplerConfig",
    "QuantizedConfig",
    "QuantizedModel",
    "RAEGPConfig",
    "RAEGPModel",
    "RAEL2Config",
    "RAEL2Model",
    "RHVAEConfig",
    "RHVAEManifoldSampler",
    "RHVAEManifoldSamplerConfig",
    "RHVAEModel",
    "ReconstructionPipeline",
    "RegularizedAEConfig",
    "RegularizedAEModel",
    "RepresentationAEConfig",
    "RepresentationAEModel",
    "SVAEConfig",
    "SVAEModel",
    "TrainingPipeline",
    "TransformerSampler",
    "TransformerSamplerConfig",
    "TraversalPipeline",
    "TwoStageVAESampler",
    "TwoStageVAESamplerConfig",
    "VAEConfig",
    "VAEGANConfig",
    "VAEGANModel",
    "VAEIAFConfig",
    "VAEIAFModel",
    "VAELinNFConfig",
    "VAELinNFModel",
    "VAEModel",
    "VAMPConfig",
    "VAMPModel",
    "VQGANConfig",
    "VQGANModel",
    "VQVAEConfig",
    "VQVAEModel",
    "WAEGANConfig",
    "WAEGANModel",
    "WAEMMDConfig",
    "WAEMMDModel",
    "embed_dataset",
    "evaluate_model",
    "load_data",
    "load_images",
    "register_backbone",
    "register_model",
    "register_sampler",
]
