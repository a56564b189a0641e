"""From dyes on glass to a photograph: light source, lens and camera."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

#: Light that passes through empty glass (R, G, B of 255) on C-NMC's slides.
GLASS = np.array([112.0, 72.0, 117.0], np.float32)


@dataclass(frozen=True)
class Style:
    """How one subject's slide was stained and photographed, and how its cells tend to be.

    Attributes
    ----------
    strength : float
        Amount of dye; 1 is the reference.
    hue : float
        Of the dye, from bluish (-1) to reddish (1).
    warmth : float
        Colour of the light source, from cold (-1) to warm (1).
    green : float
        Green in the light, from little (-1) to much (1).
    blur : float
        Standard deviation of the point spread function in pixels.
    noise : float
        Standard deviation of the camera's noise in grey levels.
    zoom : float
        Size of all cells; 1 is the reference.
    contrast : float
        Of the chromatin; 1 is the reference.
    grain : float
        Size of the chromatin's pattern; 1 is the reference.
    fringe : tuple of float
        Shift of blue against red in pixels, x and y (lateral chromatic aberration).
    margin : float
        Distance from the cell to the line along which it was cut out, in pixels.
    ragged : float
        Roughness of that line in pixels.
    traits : dict of str to float, optional
        How far this subject's cells differ from their class, in standard deviations.
    """

    strength: float = 1.0
    hue: float = 0.0
    warmth: float = 0.0
    green: float = 0.0
    blur: float = 1.2
    noise: float = 1.0
    zoom: float = 1.0
    contrast: float = 1.0
    grain: float = 1.0
    fringe: tuple[float, float] = (0.0, 0.0)
    margin: float = 2.0
    ragged: float = 1.0
    traits: dict[str, float] | None = None


def photographed(rng: np.random.Generator, density: np.ndarray, style: Style) -> np.ndarray:
    """Return the light (R, G, B in grey levels) that the camera records.

    Parameters
    ----------
    rng : numpy.random.Generator
        Draws how evenly the light falls, the focus and the camera's noise.
    density : numpy.ndarray
        (side, side, 3), float32: optical density, -ln of the light let through.
    style : Style
        Light source, focus and camera.

    Returns
    -------
    numpy.ndarray
        (side, side, 3), float32.
    """
    side = len(density)
    light = cv2.exp(-density)  # the law of Beer and Lambert
    slope = rng.normal(0, 0.045, 2).astype(np.float32)
    ramp = np.linspace(-1, 1, side, dtype=np.float32)
    even = 1 + slope[0] * ramp[:, None] + slope[1] * ramp[None, :]
    tints = 1 + 0.07 * style.warmth, 1 + 0.07 * style.green, 1 - 0.07 * style.warmth
    blur = max(style.blur * float(np.exp(0.15 * rng.standard_normal())), 0.4)
    # One field of noise, cut at three places, costs a third of three fields.
    grain = rng.standard_normal((side + 24, side + 24), dtype=np.float32) * np.float32(style.noise)
    planes = []
    for plane, glass, tint, part, at in zip(
        cv2.split(light), GLASS, tints, (-0.5, 0, 0.5), (0, 12, 24), strict=True
    ):
        plane = cv2.GaussianBlur(plane * (even * np.float32(glass * tint)), (0, 0), blur)
        if part:
            move = np.float32([[1, 0, part * style.fringe[0]], [0, 1, part * style.fringe[1]]])
            plane = cv2.warpAffine(plane, move, (side, side), borderMode=cv2.BORDER_REPLICATE)
        planes.append(plane + grain[at : at + side, 24 - at : 24 - at + side])
    return cv2.merge(planes)
