"""Mixtures fitted to posterior means, and to samples of the posteriors: FID by method and number of dimensions.

Run: python -m benchmarks.posterior_samples FOLDER EXTRACTOR, with the folder of a finished study `mnist-latent-dims`
and its extractor, FOLDER/extractors/NAME. Mixtures of 10 with diagonal covariances are fitted to 20,000 training
images; 5,000 generated images are compared with 5,000 test images. "prior" are samples of N(0, I).
"""

import argparse

import torch
from torch import Tensor

import gae_hub
from gae_hub import GaussianMixtureSampler, embed_dataset, load_images
from gae_hub.data.loading import iterate_batches
from gae_hub.models.base import GAEPreTrainedModel
from gae_hub.study import load_results

METHODS, DIMENSIONS = ("VAE", "beta-VAE", "WAE-IMQ"), (16, 64, 256)


def measure_fid(
    model: GAEPreTrainedModel, sampler: GaussianMixtureSampler | None, test: Tensor, extractor: str
) -> float:
    """FID of as many generated images as there are test images."""
    generator = torch.Generator().manual_seed(1)
    images = model.generate(len(test), sampler=sampler, generator=generator)
    fid = gae_hub.metrics.load("fid", feature_extractor=extractor)
    fid.add_batch(references=test)
    fid.add_batch(predictions=images.clamp(0, 1))
    return float(fid.compute()["fid"])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("extractor")
    args = parser.parse_args()
    results = load_results(args.folder, study="mnist-latent-dims")
    train, test = load_images("ylecun/mnist", splits=("train", "test"))
    images, references = next(iterate_batches(train, 20_000)), next(iterate_batches(test, 5000))
    print("| method | latent dimensions | means | samples | prior |\n|---|---:|---:|---:|---:|")
    for method in METHODS:
        for dim in DIMENSIONS:
            cell = next(cell for cell in results.cells if (cell.method, cell.latent_dim) == (method, dim))
            model = cell.load_model().eval()
            samplers: list[GaussianMixtureSampler | None] = [
                GaussianMixtureSampler(num_components=10, covariance_type="diag").fit(
                    embed_dataset(model, images, progress=False, cache=False, sample=sample)
                )
                for sample in (False, True)
            ]
            values = [measure_fid(model, sampler, references, args.extractor) for sampler in [*samplers, None]]
            print(f"| {method} | {dim} | {' | '.join(f'{value:.0f}' for value in values)} |", flush=True)


if __name__ == "__main__":
    main()
