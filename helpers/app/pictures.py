"""The small pictures of the pages: thumbnails, numbered boxes, a layer of colours."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

_THUMBNAIL, _SHOWN = 96, 1400
_COLOUR, _AROUND = (91, 63, 149), (255, 255, 255)


def png(image: np.ndarray) -> bytes:
    """Return an RGB or RGBA image as the bytes of a PNG file."""
    order = cv2.COLOR_RGBA2BGRA if image.shape[2] == 4 else cv2.COLOR_RGB2BGR
    return cv2.imencode(".png", cv2.cvtColor(image, order))[1].tobytes()


def thumbnail(crop: np.ndarray) -> bytes:
    """Return a crop as a PNG of at most 96 pixels."""
    return png(_at_most(crop, _THUMBNAIL)[0])


def boxed(image: np.ndarray, boxes: Sequence[tuple[int, int, int, int]]) -> bytes:
    """Return an image of at most 1,400 pixels as a PNG, with a box around each cell.

    The boxes (top, left, bottom, right) are numbered from 1 when there are several.
    """
    image, scale = _at_most(image, _SHOWN)
    image = np.ascontiguousarray(image)
    side = max(image.shape[:2])
    width, size = max(1, side // 350), max(0.45, side / 1000)
    for number, box in enumerate(boxes, start=1):
        top, left, bottom, right = (round(edge * scale) for edge in box)
        for line, colour in ((2 * width + 1, _AROUND), (width, _COLOUR)):
            cv2.rectangle(image, (left, top), (right, bottom), colour, line)
        if len(boxes) > 1:
            text, font = str(number), cv2.FONT_HERSHEY_SIMPLEX
            (wide, high), _ = cv2.getTextSize(text, font, size, width + 1)
            cv2.rectangle(image, (left, top), (left + wide + 8, top + high + 10), _COLOUR, -1)
            place = (left + 4, top + high + 5)
            cv2.putText(image, text, place, font, size, _AROUND, width + 1, cv2.LINE_AA)
    return png(image)


def layer(heat: np.ndarray) -> bytes:
    """Return a map from 0 to 1 as a PNG of colours that is clear where the map is 0."""
    grey = np.uint8(np.clip(heat, 0, 1) * 255)
    colours = cv2.cvtColor(cv2.applyColorMap(grey, cv2.COLORMAP_INFERNO), cv2.COLOR_BGR2RGB)
    return png(np.dstack([colours, grey]))


def _at_most(image: np.ndarray, side: int) -> tuple[np.ndarray, float]:
    """Return an image no larger than `side`, and by how much it was scaled."""
    scale = min(1.0, side / max(image.shape[:2]))
    if scale == 1:
        return image, scale
    return cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), scale
