"""From a catalog's files to one array of square images."""

from helpers.images.loading import is_frame, load_images, prepare, read_image, readable

__all__ = ["is_frame", "load_images", "prepare", "read_image", "readable"]
