"""Where in an image a network found its answer, and what such maps are worth."""

from helpers.explaining.maps import (
    feature_layer,
    grad_cam,
    gradient,
    integrated_gradients,
    logits,
    occlusion,
    share_inside,
)

__all__ = [
    "feature_layer",
    "grad_cam",
    "gradient",
    "integrated_gradients",
    "logits",
    "occlusion",
    "share_inside",
]
