"""List methods, samplers, networks, metrics and built-in studies, with their papers."""

__all__ = ["add_arguments", "run"]

from argparse import Namespace

from .parser import Parser
from .tables import print_table


def add_arguments(parser: Parser):
    parser.usage = "%(prog)s"


def run(args: Namespace):
    from ..auto import AutoGAE, AutoSampler
    from ..hub.cards.papers import paper_of
    from ..metrics.model_metrics import METRICS
    from ..modules.backbones import backbone_names
    from ..study.declaration import BUILTIN_STUDIES, load_study

    for auto, title in ((AutoGAE, "method"), (AutoSampler, "sampler")):
        papers = {name: paper_of(auto.model_class(name)) for name in auto.names()}
        rows = [[name, p.name, f"{p.authors}, {p.year}, {p.id}"] for name, p in papers.items() if p is not None]
        print_table([title, "", "paper"], rows)
    encoders, decoders = backbone_names("encoder"), backbone_names("decoder")
    roles = {
        name: [*["encoder"] * (name in encoders), *["decoder"] * (name in decoders)]
        for name in sorted({*encoders, *decoders})
    }
    print_table(["network", "as"], [[name, ", ".join(names)] for name, names in roles.items()])
    metrics = {name: metric.description for name, metric in METRICS.items()}
    print_table(["metric", ""], [[name, summary] for name, summary in metrics.items()])
    print_table(["study", ""], [[name, load_study(name).title] for name in BUILTIN_STUDIES])
