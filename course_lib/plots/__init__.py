"""Pictures: each function draws one figure and returns it; a notebook ends the cell with ``plt.show()``."""

from course_lib.plots.budgets import budget_chart, distance_chart, progress_chart, search_chart
from course_lib.plots.charts import (
    compression_chart,
    confidence_histogram,
    few_labels_chart,
    hole_chart,
    loss_curves,
    shift_chart,
    signals,
)
from course_lib.plots.clinic import clinic_chart, range_histograms, symptom_chart
from course_lib.plots.critics import (
    critic_chart,
    gradient_at_samples,
    gradient_sizes,
    noise_chart,
    parting_histograms,
)
from course_lib.plots.diffusion import (
    guidance_chart,
    inpaint_grid,
    noise_rows,
    schedule_chart,
    steps_chart,
    time_loss_chart,
)
from course_lib.plots.diffusion_toys import (
    cloud_strip,
    mode_weights_chart,
    order_chart,
    paths_chart,
    posterior_chart,
    score_fields,
)
from course_lib.plots.divergences import apart_chart, plan_arrows, plan_matrix, potential_chart
from course_lib.plots.games import (
    balance_chart,
    dirac_chart,
    discriminator_chart,
    game_frames,
    gradient_chart,
    js_chart,
    mode_samples,
    modes_chart,
    runs_chart,
    slope_chart,
    value_chart,
)
from course_lib.plots.images import coloured, image_grids, image_rows
from course_lib.plots.latent import area_chart, grid_of, hole_maps, latent_plane, latent_planes, walk
from course_lib.plots.measures import (
    bias_chart,
    corruption_chart,
    entropy_chart,
    gaussian_ellipses,
    manifold_chart,
    neighbour_chart,
    precision_recall_chart,
    rank_chart,
)
from course_lib.plots.restricted import signed, slip_chart, spectrum_chart
from course_lib.plots.style import PART_COLOURS, save_svg, use_style
from course_lib.plots.vaegan import edit_chart, edit_grid, model_table_chart, rate_chart, side_by_side
from course_lib.plots.vaegan_ideas import two_errors, vaegan_scheme
from course_lib.plots.variational import (
    bound_chart,
    collapse_chart,
    estimator_chart,
    gap_chart,
    manifold,
    quantile_grid,
    rate_distortion_chart,
)
from course_lib.plots.wasserstein import (
    clip_chart,
    convergence_chart,
    layer_chart,
    slope_histograms,
    surface_chart,
    weight_histograms,
)

__all__ = [
    "PART_COLOURS", "apart_chart", "area_chart", "balance_chart", "bias_chart", "bound_chart", "budget_chart",
    "clinic_chart", "clip_chart", "cloud_strip", "collapse_chart", "coloured", "compression_chart",
    "confidence_histogram", "convergence_chart", "corruption_chart", "critic_chart", "dirac_chart",
    "discriminator_chart", "distance_chart", "edit_chart", "edit_grid", "entropy_chart", "estimator_chart",
    "few_labels_chart", "game_frames", "gap_chart", "gaussian_ellipses", "gradient_at_samples", "gradient_chart",
    "gradient_sizes", "grid_of", "guidance_chart", "hole_chart", "hole_maps", "image_grids", "image_rows",
    "inpaint_grid", "js_chart", "latent_plane", "latent_planes", "layer_chart", "loss_curves", "manifold",
    "manifold_chart", "mode_samples", "mode_weights_chart", "model_table_chart", "modes_chart", "neighbour_chart",
    "noise_chart", "noise_rows", "order_chart", "parting_histograms", "paths_chart", "plan_arrows", "plan_matrix",
    "posterior_chart", "potential_chart", "precision_recall_chart", "progress_chart", "quantile_grid",
    "range_histograms", "rank_chart", "rate_chart", "rate_distortion_chart", "runs_chart", "save_svg", "schedule_chart",
    "score_fields", "search_chart", "shift_chart", "side_by_side", "signals", "signed", "slip_chart", "slope_chart",
    "slope_histograms", "spectrum_chart", "steps_chart", "surface_chart", "symptom_chart", "time_loss_chart",
    "two_errors", "use_style", "vaegan_scheme", "value_chart", "walk", "weight_histograms",
]
