"""The linear probe beside scikit-learn's logistic regression and a linear layer trained by Adam: accuracy and time.

Run: python -m benchmarks.probe [--mnist FOLDER]

Latents are draws around the centres of 10 classes, 16 dimensions. With --mnist, the folder of a parquet copy of MNIST,
its raw pixels follow: 5,000 training images, and the 10,000 test images.
"""

import argparse
import platform
import time
from collections.abc import Callable, Iterator

import sklearn
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from gae_hub import load_images
from gae_hub.metrics import linear_probe

Split = tuple[Tensor, Tensor]  # (num, dim) latents, (num,) labels


def draw_latents(num: int, num_test: int = 5000, dim: int = 16, num_classes: int = 10) -> tuple[Split, Split]:
    """Training and test set around the same centres, with correlated dimensions."""
    g = torch.Generator().manual_seed(0)
    centres, mixing = torch.randn(num_classes, dim, generator=g), torch.randn(dim, dim, generator=g) / dim**0.5
    labels = torch.arange(num + num_test) % num_classes
    latents = (0.8 * centres[labels] + torch.randn(num + num_test, dim, generator=g)) @ mixing
    return (latents[:num], labels[:num]), (latents[num:], labels[num:])


def read_mnist(folder: str, num: int = 5000) -> tuple[Split, Split]:
    """The first `num` training images and all test images, as vectors of pixels in [0, 1]."""
    train, test = load_images(folder, ("train", "test"))
    pixels = train.read(list(range(num))).flatten(1), test.read(list(range(len(test)))).flatten(1)
    return (pixels[0], train.labels[:num]), (pixels[1], test.labels)


def score_probe(train: Split, test: Split) -> float:
    return linear_probe(*train, *test)["probe_accuracy"].value


def score_scikit_learn(train: Split, test: Split) -> float:
    (x, y), (test_x, test_y) = ((rows.double().numpy(), labels.numpy()) for rows, labels in (train, test))
    return float(make_pipeline(StandardScaler(), LogisticRegression(max_iter=10_000)).fit(x, y).score(test_x, test_y))


def score_adam(train: Split, test: Split, num_runs: int = 20, num_epochs: int = 50, batch_size: int = 256) -> float:
    """Mean accuracy of linear layers after a fixed number of epochs, each run with its own seed."""
    (x, y), (test_x, test_y) = train, test
    mean, deviation = x.mean(0), x.std(0).clamp(min=1e-6)
    x, test_x = (x - mean) / deviation, (test_x - mean) / deviation
    scores = []
    for seed in range(num_runs):
        torch.manual_seed(seed)
        layer = torch.nn.Linear(x.shape[1], int(y.max()) + 1)
        optimizer = torch.optim.Adam(layer.parameters(), lr=1e-2)
        steps = num_epochs * -(-len(x) // batch_size)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        for _ in range(num_epochs):
            for chosen in torch.randperm(len(x)).split(batch_size):
                optimizer.zero_grad()
                torch.nn.functional.cross_entropy(layer(x[chosen]), y[chosen]).backward()
                optimizer.step()
                schedule.step()
        scores.append((layer(test_x).argmax(1) == test_y).float().mean().item())
    return sum(scores) / num_runs


SIDES: dict[str, Callable[[Split, Split], float]] = {
    "gae_hub": score_probe,
    "scikit-learn": score_scikit_learn,
    "20 runs of Adam, 50 epochs": score_adam,
}


def cases(mnist: str | None) -> Iterator[tuple[str, tuple[Split, Split]]]:
    for num in (200, 2000, 20_000):
        yield f"{num:,} x 16", draw_latents(num)
    if mnist:
        yield "MNIST, 5,000 x 784", read_mnist(mnist)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mnist", help="folder of a parquet copy of MNIST with the splits train and test")
    parser.add_argument("--rounds", type=int, default=3, help="the fastest of so many rounds is shown")
    args = parser.parse_args()
    print(
        f"torch {torch.__version__}, scikit-learn {sklearn.__version__}, Python {platform.python_version()}, "
        f"{torch.get_num_threads()} threads\n"
    )
    print("| training rows | " + " | ".join(f"{side}, accuracy | s" for side in SIDES) + " |")
    print("|" + "---|" * (1 + 2 * len(SIDES)))
    for name, (train, test) in cases(args.mnist):
        cells = [name]
        for score in SIDES.values():
            times, accuracy = [], 0.0
            for _ in range(args.rounds if score is not score_adam else 1):
                start = time.perf_counter()
                accuracy = score(train, test)
                times.append(time.perf_counter() - start)
            cells += [f"{accuracy:.4f}", f"{min(times):.3f}"]
        print("| " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
