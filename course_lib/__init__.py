"""Tested helpers for the course on generative models: datasets, networks, training, losses, metrics, plots.

Importing the package costs nothing: each module is imported where it is used (``from course_lib import metrics``).
"""

__version__ = "0.1.0"
