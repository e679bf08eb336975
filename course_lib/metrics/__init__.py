"""Measuring latent spaces and samples: distances, holes, areas; scores, Fréchet and kernel distances, manifolds."""

from course_lib.metrics.areas import LevelSet, area_ratio, level_set
from course_lib.metrics.blocks import as_floats, confidence, in_blocks
from course_lib.metrics.components import pca_codes, pca_reconstruction
from course_lib.metrics.frechet import FeatureStatistics, feature_statistics, frechet_distance, whitened
from course_lib.metrics.holes import HoleRuler, HoleShares, hole_limits
from course_lib.metrics.inception import inception_features
from course_lib.metrics.kernels import KID, kid
from course_lib.metrics.latents import RULES, box_of_codes, local_mean, sample_latents
from course_lib.metrics.manifolds import (
    DensityCoverage,
    PrecisionRecall,
    density_coverage,
    in_manifold,
    neighbour_radius,
    precision_recall,
)
from course_lib.metrics.memorisation import CopyingTest, NearestTraining, copying_test, nearest_training
from course_lib.metrics.nearest import Nearest, nearest_distance
from course_lib.metrics.pixels import edge_energy, sharpness, shift, shift_shares
from course_lib.metrics.scores import InceptionScore, inception_score

__all__ = [
    "KID", "RULES", "CopyingTest", "DensityCoverage", "FeatureStatistics", "HoleRuler", "HoleShares", "InceptionScore",
    "LevelSet", "Nearest", "NearestTraining", "PrecisionRecall", "area_ratio", "as_floats", "box_of_codes",
    "confidence", "copying_test", "density_coverage", "edge_energy", "feature_statistics", "frechet_distance",
    "hole_limits", "in_blocks", "in_manifold", "inception_features", "inception_score", "kid", "level_set",
    "local_mean", "nearest_distance", "nearest_training", "neighbour_radius", "pca_codes", "pca_reconstruction",
    "precision_recall", "sample_latents", "sharpness", "shift", "shift_shares", "whitened",
]
