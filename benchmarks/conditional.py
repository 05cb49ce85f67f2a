"""Class-conditional samples of MNIST, recognised by a classifier: python -m benchmarks.conditional DATASET OUTPUT_DIR.

A classifier is trained on the images, and a conditional VAE on the images and their labels. The classifier then
recognises samples of each class, without guidance and with it; the VAE classifies test images by Bayes' rule; and
samplers with classes draw latents for it, and for a VAE without conditions. Pictures and `conditional.json` are
written there.
"""

import json
import sys
from pathlib import Path
from time import perf_counter

import torch

from gae_hub import (
    FlowMatchingSampler,
    GAETrainer,
    GAETrainingArguments,
    GaussianMixtureSampler,
    PerClassSampler,
    VAEConfig,
    VAEModel,
    load_images,
)
from gae_hub.images.examples import draw_rows
from gae_hub.images.grids import save_picture
from gae_hub.metrics import train_extractor

NUM_TRAIN, NUM_TEST, NUM_SAMPLES, EPOCHS = 20_000, 2_000, 1_000, 10
GUIDANCE_SCALES = (1.0, 1.5, 2.0, 3.0)
FIELDS = {"likelihood": "bernoulli", "latent_dim": 16, "encoder_config": "conv", "decoder_config": "conv"}


def train(folder: Path, dataset, eval_dataset, **fields) -> VAEModel:
    """A trained VAE, read from a folder if it is there."""
    if (folder / "config.json").is_file():
        return VAEModel.from_pretrained(folder)
    model = VAEModel(VAEConfig(**FIELDS, **fields))
    options = {"num_train_epochs": EPOCHS, "learning_rate": 1e-3, "seed": 0, "disable_tqdm": True}
    arguments = GAETrainingArguments(str(folder) + "-run", overwrite_output_dir=True, image_interval=0, **options)
    GAETrainer(model, arguments, train_dataset=dataset, eval_dataset=eval_dataset).train()
    model.save_pretrained(folder)
    return model


@torch.no_grad()
def recognise(classifier, images: torch.Tensor, class_labels: torch.Tensor) -> float:
    """Share of images that a classifier recognises as their class."""
    predicted = torch.cat([classifier(part)["logits"].argmax(1) for part in images.split(500)])
    return float((predicted == class_labels).double().mean())


def main(source: str, folder: Path):
    folder.mkdir(parents=True, exist_ok=True)
    train_set, validation, test = load_images(source, splits=("train", "validation", "test"))
    train_set, validation, test = train_set.select(0, NUM_TRAIN), validation.select(0, 2_000), test.select(0, NUM_TEST)
    found: dict[str, float] = {}
    classifier = train_extractor(train_set, validation, num_train_epochs=4, progress=False).eval()
    images, labels = test[:]["pixel_values"], torch.as_tensor(test.labels)
    found["classifier on test images"] = recognise(classifier, images, labels)

    start = perf_counter()
    model = train(folder / "vae", train_set, validation, num_classes=10, condition_dropout=0.1).eval()
    found["seconds of training, 0 if it was loaded"] = round(perf_counter() - start, 1)
    classes = torch.arange(10).repeat_interleave(NUM_SAMPLES // 10)
    rows = []
    for scale in GUIDANCE_SCALES:
        options = {"class_labels": classes, "guidance_scale": scale}
        samples = model.generate(len(classes), generator=torch.Generator().manual_seed(0), **options)
        found[f"samples, guidance_scale {scale}"] = recognise(classifier, samples, classes)
        rows.append(samples[:: NUM_SAMPLES // 20])
    names = [f"scale {scale}" for scale in GUIDANCE_SCALES]
    save_picture(
        draw_rows(torch.stack(rows), "Two samples of each class, by guidance_scale", names), folder / "guidance.png"
    )
    samples = model.generate(100, generator=torch.Generator().manual_seed(1), class_labels=torch.arange(100) // 10)
    title = "Samples of a conditional VAE, a row for each class"
    save_picture(draw_rows(samples.unflatten(0, (10, 10)), title, list("0123456789")), folder / "classes.png")
    first = torch.stack([(labels == k).nonzero()[0, 0] for k in range(10)])
    targets = torch.arange(10).repeat(10)
    styles = model.reconstruct(
        images[first].repeat_interleave(10, 0),
        class_labels=labels[first].repeat_interleave(10),
        target_class_labels=targets,
    )
    rows = torch.cat([images[first].unsqueeze(1), styles.unflatten(0, (10, 10))], 1)
    save_picture(
        draw_rows(rows, "Style transfer: an image, and its style in each class", list("0123456789")),
        folder / "styles.png",
    )
    log_p = model.class_log_probs(images[:1000], 50, torch.Generator().manual_seed(0))
    found["Bayes' rule on test images"] = float((log_p.argmax(1) == labels[:1000]).double().mean())

    plain = train(folder / "plain", train_set, validation).eval()
    samplers = {
        "a mixture per class": PerClassSampler(GaussianMixtureSampler(num_components=10), num_classes=10),
        "flow matching with classes": FlowMatchingSampler(num_classes=10),
    }
    for kind, vae in (("conditional VAE", model), ("VAE without conditions", plain)):
        for name, sampler in samplers.items():
            sampler.fit_to(vae, train_set, progress=False)
            samples = vae.generate(len(classes), sampler, torch.Generator().manual_seed(0), class_labels=classes)
            found[f"samples of {name}, {kind}"] = recognise(classifier, samples, classes)
    (folder / "conditional.json").write_text(json.dumps(found, indent=2) + "\n")
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
