"""Frames of noise, and files of them."""

import cv2
import numpy as np


def picture(height=30, width=40, seed=0):
    """Return a frame: an ellipse of noise on black."""
    image = np.zeros((height, width, 3), np.uint8)
    mask = np.zeros((height, width), np.uint8)
    axes = (width // 4, height // 4 + seed % 3)
    cv2.ellipse(mask, (width // 2, height // 2), axes, 0, 0, 360, 1, -1)
    image[mask > 0] = np.random.default_rng(seed).integers(
        1, 256, (int(mask.sum()), 3), dtype=np.uint8
    )
    return image


def save(path, rgb):
    """Write an RGB or grey image; return the path."""
    assert cv2.imwrite(str(path), rgb[..., ::-1] if rgb.ndim == 3 else rgb)
    return path
