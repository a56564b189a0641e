"""Which parts of an image decide the score of a network, and tests of such maps."""

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
