"""Live figures for notebooks. Each is a VBox of controls and pictures that are redrawn, never an Output widget."""

from course_lib.widgets.explorers import denoise_explorer, latent_explorer
from course_lib.widgets.kl import kl_explorer
from course_lib.widgets.questions import predict

__all__ = ["denoise_explorer", "kl_explorer", "latent_explorer", "predict"]
