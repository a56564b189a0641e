"""From a catalog's files to one array of square images."""

from helpers.images.loading import load_images, prepare, read_image, readable
from helpers.images.preparing import is_frame

__all__ = ["is_frame", "load_images", "prepare", "read_image", "readable"]
