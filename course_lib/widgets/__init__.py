"""Live figures for notebooks. Each is a VBox of controls and pictures that are redrawn, never an Output widget."""

from course_lib.widgets.apart import apart_explorer
from course_lib.widgets.clipping import clipping_explorer
from course_lib.widgets.dirac import dirac_explorer
from course_lib.widgets.explorers import denoise_explorer, latent_explorer
from course_lib.widgets.forward import denoising_explorer, forward_explorer
from course_lib.widgets.game import game_explorer
from course_lib.widgets.gamma import gamma_explorer
from course_lib.widgets.kl import kl_explorer
from course_lib.widgets.measures import CorruptionBench, measures_explorer
from course_lib.widgets.questions import predict

__all__ = ["CorruptionBench", "apart_explorer", "clipping_explorer", "denoise_explorer", "denoising_explorer",
           "dirac_explorer", "forward_explorer", "game_explorer", "gamma_explorer", "kl_explorer", "latent_explorer",
           "measures_explorer", "predict"]
