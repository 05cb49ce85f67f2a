"""The papers of the measures, for the modules of `evaluate` and their pages."""

__all__ = ["CITATIONS", "cite"]

from ..hub.cards.papers import Paper

_PYTHAE = Paper(
    "Pythae",
    "Pythae: Unifying Generative Autoencoders in Python, A Benchmarking Use Case",
    "Chadebec, Vincent & Allassonnière",
    2022,
    "arXiv:2206.08309",
)
_FID = Paper(
    "FID",
    "GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash Equilibrium",
    "Heusel, Ramsauer, Unterthiner, Nessler & Hochreiter",
    2017,
    "arXiv:1706.08500",
)
_KID = Paper("KID", "Demystifying MMD GANs", "Bińkowski, Sutherland, Arbel & Gretton", 2018, "arXiv:1801.01401")
_INCEPTION_SCORE = Paper(
    "Inception Score",
    "Improved Techniques for Training GANs",
    "Salimans, Goodfellow, Zaremba, Cheung, Radford & Chen",
    2016,
    "arXiv:1606.03498",
)
_PRECISION_RECALL = Paper(
    "Precision and recall",
    "Improved Precision and Recall Metric for Assessing Generative Models",
    "Kynkäänniemi, Karras, Laine, Lehtinen & Aila",
    2019,
    "arXiv:1904.06991",
)
_DENSITY_COVERAGE = Paper(
    "Density and coverage",
    "Reliable Fidelity and Diversity Metrics for Generative Models",
    "Naeem, Oh, Uh, Choi & Yoo",
    2020,
    "arXiv:2002.09797",
)
_SSIM = Paper(
    "SSIM",
    "Image Quality Assessment: From Error Visibility to Structural Similarity",
    "Wang, Bovik, Sheikh & Simoncelli",
    2004,
    "doi:10.1109/TIP.2003.819861",
)
_MS_SSIM = Paper(
    "MS-SSIM",
    "Multiscale Structural Similarity for Image Quality Assessment",
    "Wang, Simoncelli & Bovik",
    2003,
    "doi:10.1109/ACSSC.2003.1292216",
)
_LPIPS = Paper(
    "LPIPS",
    "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric",
    "Zhang, Isola, Efros, Shechtman & Wang",
    2018,
    "arXiv:1801.03924",
)
_IWAE = Paper("IWAE", "Importance Weighted Autoencoders", "Burda, Grosse & Salakhutdinov", 2016, "arXiv:1509.00519")
_MIG = Paper(
    "MIG",
    "Isolating Sources of Disentanglement in VAEs",
    "Chen, Li, Grosse & Duvenaud",
    2018,
    "arXiv:1802.04942",
)
_DCI = Paper(
    "DCI",
    "A Framework for the Quantitative Evaluation of Disentangled Representations",
    "Eastwood & Williams",
    2018,
    "openreview:By-7dz-AZ",
)
_SAP = Paper(
    "SAP",
    "Variational Inference of Disentangled Latent Concepts from Unlabeled Observations",
    "Kumar, Sattigeri & Balakrishnan",
    2018,
    "arXiv:1711.00848",
)
_FACTOR_VAE = Paper("FactorVAE score", "Disentangling by Factorising", "Kim & Mnih", 2018, "arXiv:1802.05983")
_BETA_VAE = Paper(
    "beta-VAE score",
    "beta-VAE: Learning Basic Visual Concepts with a Constrained Variational Framework",
    "Higgins, Matthey, Pal, Burgess, Glorot, Botvinick, Mohamed & Lerchner",
    2017,
    "openreview:Sy2fzU9gl",
)
_ENERGY = Paper(
    "Energy distance",
    "Energy Statistics: A Class of Statistics Based on Distances",
    "Székely & Rizzo",
    2013,
    "doi:10.1016/j.jspi.2013.03.018",
)
_GAN_TEST = Paper(
    "GAN-test",
    "How Good Is My GAN?",
    "Shmelkov, Schmid & Alahari",
    2018,
    "arXiv:1807.09499",
)
_DEQUANTIZATION = Paper(
    "Dequantisation",
    "A Note on the Evaluation of Generative Models",
    "Theis, van den Oord & Bethge",
    2016,
    "arXiv:1511.01844",
)

CITATIONS: dict[str, tuple[Paper, ...]] = {
    "beta_vae_score": (_BETA_VAE,),
    "class_accuracy": (_GAN_TEST,),
    "clustering": (_PYTHAE,),
    "dci": (_DCI,),
    "energy": (_ENERGY,),
    "factor_vae_score": (_FACTOR_VAE,),
    "fid": (_FID,),
    "inception_score": (_INCEPTION_SCORE,),
    "kid": (_KID,),
    "latent_usage": (_IWAE,),
    "log_likelihood": (_IWAE, _DEQUANTIZATION),
    "lpips": (_LPIPS,),
    "mig": (_MIG,),
    "ms_ssim": (_MS_SSIM,),
    "mse": (_PYTHAE,),
    "prdc": (_PRECISION_RECALL, _DENSITY_COVERAGE),
    "probe": (_PYTHAE,),
    "sap": (_SAP,),
    "ssim": (_SSIM,),
}
"""Name of a measure to the papers that define it, or that use it for autoencoders as it is defined here."""

_SOFTWARE = (
    "@software{gae_hub,\n  title = {gae_hub: a Hub library of generative autoencoders},\n"
    "  author = {{The gae_hub authors}},\n  url = {https://github.com/gae-hub/gae_hub}\n}"
)


def cite(name: str) -> str:
    """BibTeX of a measure's papers, or of gae_hub if it has no paper."""
    return "\n\n".join(paper.bibtex for paper in CITATIONS.get(name, ())) or _SOFTWARE
