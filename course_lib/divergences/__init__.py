"""How far one distribution is from another: KL, JS and W₁, of densities, of samples and in closed form."""

from course_lib.divergences.closed_forms import (
    Apart,
    gaussians_apart,
    lines_apart,
    uniforms_apart,
    wasserstein_1d_gaussians,
)
from course_lib.divergences.densities import js, kl, wasserstein_1d_densities
from course_lib.divergences.samples import (
    Estimate,
    js_from_samples,
    js_of_histograms,
    kl_from_samples,
    wasserstein_1d,
)
from course_lib.divergences.transport import (
    Dual,
    Transport,
    emd,
    kantorovich_dual,
    kantorovich_potential,
    transport_cost,
)

__all__ = [
    "Apart", "Dual", "Estimate", "Transport", "emd", "gaussians_apart", "js", "js_from_samples", "js_of_histograms",
    "kantorovich_dual", "kantorovich_potential", "kl", "kl_from_samples", "lines_apart", "transport_cost",
    "uniforms_apart", "wasserstein_1d", "wasserstein_1d_densities", "wasserstein_1d_gaussians",
]
