"""The claims of the paper's text, each with a criterion and the comparison that decides it."""

__all__ = ["RULES", "Rule"]

from collections.abc import Callable
from dataclasses import dataclass

from .comparisons import (
    ADVERSARIAL,
    AUTOENCODERS,
    KL_ALTERNATIVES,
    VARIATIONAL,
    disentangling_classifies,
    flows_train_fast,
    gmm_and_maf_are_alike,
    group_is_best,
    network_is_better,
    prior_classifies,
    rae_beats_ae,
    sampler_is_worse,
    vae_equals_in_clustering,
    vaegan_costs_and_generates,
)
from .evidence import Evidence
from .grid_comparisons import (
    best_dimensions,
    beta_hurts_reconstruction,
    generation_wants_larger_beta,
    iwae_samples,
    large_beta_hurts_all,
    small_beta_reconstructs,
    variational_are_robust,
)
from .outcomes import Rows


@dataclass(frozen=True)
class Rule:
    """A claim and how it is checked.

    Args:
        claim: the claim.
        section: where the paper makes it.
        criterion: what a comparison is, and when it agrees.
        compare: returns rows of numbers with the outcomes of their comparisons.
        note: what to know about the paper's own numbers.
        needs: what the comparisons need.
    """

    claim: str
    section: str
    criterion: str
    compare: Callable[[Evidence], Rows]
    note: str = ""
    needs: str = "numbers that the comparisons need"


_BEST = (
    "In each setup, the group's median is better than that of the other methods, and more than half of the k best "
    "methods belong to the group, k being its size. The group needs two different models, and so do the others."
)
_TWO_MODELS = "At least two different models are needed."
_TIME = "Times of models that trained together are left out; the others assume one kind of device. "
RULES = (
    Rule(
        "Autoencoder-based methods reconstruct best",
        "4.2.1, task 1",
        f"{_BEST} The number is MSE on test.",
        group_is_best("reconstruction", AUTOENCODERS),
        "MSSSIM-VAE and VAEGAN minimise another reconstruction loss, which puts them at a disadvantage.",
    ),
    Rule(
        "Regularisation improves the autoencoder's reconstruction",
        "4.2.1, task 1",
        "RAE-L2 and RAE-GP each have a lower MSE on test than AE, in each setup.",
        rae_beats_ae,
        "The reference penalises the gradient with respect to the image instead of the latents, and trains RAE-L2 "
        "with weight decay instead of a penalty.",
    ),
    Rule(
        "With a small beta, beta-VAE methods reconstruct like autoencoders",
        "4.2.1, task 1",
        "beta-VAE and beta-TC-VAE, with the beta that is best on validation, close at least three quarters of the gap "
        "in MSE on test between the VAE and the median of the autoencoder-based methods, and this beta is below 1. "
        "The autoencoder-based methods need two different models, and the grid a beta below 1.",
        small_beta_reconstructs,
        "The reference weights samples wrongly in the total correlation of beta-TC-VAE.",
    ),
    Rule(
        "A mixture fitted after training generates better than the normal prior, for variational methods",
        "4.2.1, task 2",
        "For each variational method and setup, FID on test is lower with the GMM sampler than with the normal one. "
        f"{_TWO_MODELS}",
        sampler_is_worse("normal", "gmm", VARIATIONAL),
    ),
    Rule(
        "GMM and MAF are alike",
        "4.2.1, task 2",
        "In each setup, the median over methods of the relative difference of FID on test, |MAF - GMM| / GMM, is at "
        f"most 10 %. {_TWO_MODELS}",
        gmm_and_maf_are_alike,
    ),
    Rule(
        "The two-stage VAE generates worse than a mixture",
        "D.2",
        "For each variational method and setup, FID on test is higher with the two-stage VAE than with the GMM "
        f"sampler. {_TWO_MODELS}",
        sampler_is_worse("two_stage_vae", "gmm", VARIATIONAL),
        "In the reference, the second stage has a fixed observation variance of 1, so that it collapses; ours learns "
        "it, as arXiv:1903.05789 does.",
    ),
    Rule(
        "beta-VAE and beta-TC-VAE classify better than the VAE",
        "4.2.1, task 3",
        "beta-VAE and beta-TC-VAE each have a higher accuracy on test than the VAE, in each setup.",
        disentangling_classifies,
        "The paper's Table 2 has no row for beta-VAE.",
    ),
    Rule(
        "Autoencoder-based methods classify best",
        "4.2.1, task 3",
        f"{_BEST} The number is accuracy on test.",
        group_is_best("classification", AUTOENCODERS),
    ),
    Rule(
        "A more flexible prior classifies better",
        "4.2.1, task 3",
        "Each method with a more expressive prior has a higher accuracy on test than the baseline of its family, VAE "
        "or AE, in each setup.",
        prior_classifies,
        "The paper does not say which methods it means; section 4.1 lists VAMP, RAE-L2 and RAE-GP for a more "
        "expressive prior. The reference's VAMP prior had errors when the paper was written.",
    ),
    Rule(
        "Adversarial methods and alternatives to the KL regularisation cluster best",
        "4.2.1, task 4",
        f"{_BEST} It also needs one of each kind. The number is accuracy of k-means on training embeddings.",
        group_is_best("clustering", ADVERSARIAL, KL_ALTERNATIVES),
        "InfoVAE is not in the group, since it adds to the KL and does not replace it. In the reference, VAEGAN's "
        "decoder gets the adversarial gradient with the wrong sign.",
    ),
    Rule(
        "The VAE equals disentangling methods in clustering",
        "4.2.1, task 4",
        "The VAE's accuracy of k-means is at most 1 percentage point below that of each disentangling method, in each "
        f"setup. {_TWO_MODELS}",
        vae_equals_in_clustering,
        "In the reference, FactorVAE's discriminator loss reaches the encoder.",
    ),
    Rule(
        "Variational methods interpolate more smoothly than autoencoders",
        "4.2.1, task 5",
        "None: the paper found no metric for interpolation. Compare the figures.",
        lambda evidence: [],
        needs="there is no number for this claim",
    ),
    Rule(
        "The best latent dimension of autoencoders depends on the task, that of variational methods less",
        "4.2.2",
        "The standard deviation over tasks of log2 of the best number of dimensions (on validation; best sampler for "
        "generation) has a larger mean over autoencoder-based methods than over variational ones, for each network "
        "and data set. Each family needs two different models.",
        best_dimensions,
        needs="a data set with at least three numbers of latent dimensions",
    ),
    Rule(
        "Variational methods are robust to the latent dimension",
        "4.2.2, D.1",
        "The difference between the best and the worst number on test over the dimensions, relative to the smaller, "
        "has a lower median over variational methods than over autoencoder-based ones, for each network, data set and "
        "task. Each family needs two different models.",
        variational_are_robust,
        "For CIFAR-10 the paper excepts clustering.",
        needs="a data set with at least three numbers of latent dimensions",
    ),
    Rule(
        "The ConvNet reconstructs and generates better than the ResNet",
        "D.3",
        "For each method, data set and number of dimensions, MSE, and FID of the best sampler on validation, are "
        f"lower on test with the ConvNet. {_TWO_MODELS}",
        network_is_better("convnet", "resnet", ["reconstruction", "generation"]),
        "The paper says so of MNIST with 16 latent dimensions.",
    ),
    Rule(
        "The ResNet classifies and clusters better than the ConvNet",
        "D.3",
        "For each method, data set and number of dimensions, accuracies of classification and clustering are higher "
        f"with the ResNet. {_TWO_MODELS}",
        network_is_better("resnet", "convnet", ["classification", "clustering"]),
        "The paper says so of MNIST with 16 latent dimensions.",
    ),
    Rule(
        "VAEGAN generates best and takes the longest training",
        "D.3",
        "In each setup, VAEGAN has the lowest FID on test of all methods, each with its best sampler on validation, "
        "and its configuration the longest training time. The other methods need two different models.",
        vaegan_costs_and_generates,
        f"{_TIME}In the reference, VAEGAN's decoder gets the adversarial gradient with the wrong sign.",
    ),
    Rule(
        "Flows on the posterior keep the training time reasonable",
        "D.3",
        "Each method with flows on the posterior trains at most twice as long as the VAE, in each setup.",
        flows_train_fast,
        _TIME.strip(),
    ),
    Rule(
        "With more samples IWAE reconstructs better and trains slower",
        "D.4",
        "Over IWAE's configurations, the rank correlation (Spearman) of the number of samples with MSE on test is at "
        "most -0.5, and with training time at least 0.5, in each setup. At least three numbers of samples are needed.",
        iwae_samples,
        f"{_TIME}The reference had inverted importance weights when the paper was written.",
    ),
    Rule(
        "Reconstruction degrades with beta",
        "D.4",
        "Over the configurations of beta-VAE and of beta-TC-VAE, the rank correlation (Spearman) of beta with MSE on "
        "test is at least 0.5, in each setup. At least three values of beta are needed.",
        beta_hurts_reconstruction,
    ),
    Rule(
        "Generation from the normal prior needs a larger beta than reconstruction",
        "D.4",
        "The beta that is best on validation for FID with the normal sampler is larger than the best one for MSE, for "
        "beta-VAE and beta-TC-VAE in each setup. At least three values of beta are needed.",
        generation_wants_larger_beta,
    ),
    Rule(
        "Too large a beta is poor at every task",
        "D.4",
        "The largest beta of beta-VAE and of beta-TC-VAE is worse on test than the median over their configurations, "
        "for each task and setup (generation with the normal sampler). At least three values of beta are needed, one "
        "of them above 1.",
        large_beta_hurts_all,
    ),
)
