"""Diffusion models: schedules, losses and their step, the bound, samplers, guidance, in-painting, flow matching."""

from course_lib.diffusion.bound import Bound, step_weight, variational_bound
from course_lib.diffusion.denoisers import as_denoiser, exact_denoiser, guided, mixture_mean, noised, score_of
from course_lib.diffusion.flow import exact_velocity, flow, flow_loss, flow_step, straight
from course_lib.diffusion.losses import (
    LOSSES,
    PREDICTS,
    Parts,
    centred,
    diffusion_step,
    drop_labels,
    eps_loss,
    error_weight,
    parts,
    v_loss,
    x0_loss,
)
from course_lib.diffusion.samplers import ddim, ddim_inversion, ddpm, heun, inpaint, last, slerp, times
from course_lib.diffusion.schedules import Schedule, posterior, q_sample

__all__ = [
    "LOSSES", "PREDICTS", "Bound", "Parts", "Schedule", "as_denoiser", "centred", "ddim", "ddim_inversion", "ddpm",
    "diffusion_step", "drop_labels", "eps_loss", "error_weight", "exact_denoiser", "exact_velocity", "flow",
    "flow_loss", "flow_step", "guided", "heun", "inpaint", "last", "mixture_mean", "noised", "parts", "posterior",
    "q_sample", "score_of", "slerp", "step_weight", "straight", "times", "v_loss", "variational_bound", "x0_loss",
]
