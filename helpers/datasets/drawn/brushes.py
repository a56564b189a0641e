"""Parts that all drawn cells have in common: outlines, noise, chromatin, nucleoli, randomness.

Every random choice comes from the generator that is passed in: the same state of
it draws the same pixels.
"""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np


def balanced_normals(
    rng: np.random.Generator, names: Iterable[str], positive: np.ndarray, images: np.ndarray
) -> list[dict[str, float]]:
    """Return standard normal values for each subject that do not tell the classes apart.

    Subjects are few and some have many images, so plain random values could give
    the class away by accident. Such values are rejected and drawn again.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of randomness.
    names : iterable of str
        Of the properties that need a value.
    positive : numpy.ndarray
        (n,), bool: whether the subject is of the positive class.
    images : numpy.ndarray
        (n,), int: number of images of each subject.

    Returns
    -------
    list of dict of str to float
        A value from -2.2 to 2.2 for each name, for each of n subjects. Over all images,
        a property's AUC for the positive class lies between 0.4 and 0.6.
    """
    weights = np.outer(images * positive, images * ~positive)
    drawn = {}
    for name in names:
        auc = 0.0
        while abs(auc - 0.5) >= 0.1:
            values = rng.standard_normal(len(images)).clip(-2.2, 2.2)
            auc = (weights * (values[:, None] > values[None, :])).sum() / weights.sum()
        drawn[name] = values.tolist()
    return [dict(zip(drawn, row, strict=True)) for row in zip(*drawn.values(), strict=True)]


def cell_traits(
    rng: np.random.Generator,
    means: dict[str, float],
    sign: int,
    spread: float,
    own: dict[str, float],
) -> dict[str, float]:
    """Return the traits of one cell in standard deviations.

    A trait is `sign` times its entry in `means`, plus what the cell's subject or field
    has of its `own`, plus a random part with standard deviation `spread`.
    """
    return {
        name: sign * mean + own.get(name, 0.0) + spread * float(rng.standard_normal())
        for name, mean in means.items()
    }


def logistic(x: float) -> float:
    """Return `x` mapped to 0..1 by the logistic function."""
    return float(1 / (1 + np.exp(-x)))


def random_direction(rng: np.random.Generator) -> np.ndarray:
    """Return a unit vector (2,) in a random direction."""
    turn = rng.uniform(0, 2 * np.pi)
    return np.array([np.cos(turn), np.sin(turn)])


def angles_from_random(rng: np.random.Generator, angles: np.ndarray) -> np.ndarray:
    """Return each angle's signed distance, -pi to pi, from one random direction."""
    return np.angle(np.exp(1j * (angles - rng.uniform(0, 2 * np.pi))))


def notched(radii: np.ndarray, away: np.ndarray, depth: float, width: float) -> np.ndarray:
    """Return `radii` with a notch `depth` (part of the radius) deep where `away` is 0."""
    return radii * (1 - depth * np.exp(-0.5 * (away / width) ** 2))


def harmonics(rng: np.random.Generator, angles: np.ndarray, amplitudes: np.ndarray) -> np.ndarray:
    """Return the radii of a closed outline: 1 plus waves with 2, 3, ... periods a turn."""
    orders = np.arange(2, 2 + len(amplitudes))
    size = amplitudes * (0.4 + 0.6 * np.abs(rng.standard_normal(len(amplitudes))))
    phase = rng.uniform(0, 2 * np.pi, len(amplitudes))
    return 1 + (size[:, None] * np.cos(orders[:, None] * angles + phase[:, None])).sum(axis=0)


def filled(points: np.ndarray, side: int) -> np.ndarray:
    """Return a filled, anti-aliased polygon: float32 (side, side) from 0 to 1.

    `points` is (n, 2): x and y in pixels.
    """
    canvas = np.zeros((side, side), np.uint8)
    fixed = np.round(points * 16).astype(np.int32)[None]
    cv2.fillPoly(canvas, fixed, 255, lineType=cv2.LINE_AA, shift=4)
    return canvas.astype(np.float32) / 255


def blob(
    angles: np.ndarray, radii: np.ndarray, centre: tuple[float, float] | np.ndarray, side: int
) -> np.ndarray:
    """Return a filled outline, given by its radii around `centre` (x, y), as :func:`filled`."""
    x, y = centre[0] + radii * np.cos(angles), centre[1] + radii * np.sin(angles)
    return filled(np.stack([x, y], axis=1), side)


def noise(rng: np.random.Generator, side: int, scale: float) -> np.ndarray:
    """Return smooth noise, float32 (side, side), SD about 1, features about `scale` pixels."""
    cells = max(int(np.ceil(side / scale)) + 2, 4)
    small = rng.standard_normal((cells, cells), dtype=np.float32)
    large = cv2.resize(small, (side, side), interpolation=cv2.INTER_CUBIC)
    return large * np.float32(1.3)


def chromatin(rng: np.random.Generator, side: int, openness: float, scale: float) -> np.ndarray:
    """Return how much denser than average the chromatin is, float32 (side, side).

    Open chromatin (`openness` 1) is fine and even; clumped chromatin (0) forms dark
    blocks with pale gaps between them. Both have a few small pale spots.
    """
    broad = noise(rng, side, 40 * scale)
    middle = noise(rng, side, 17 * scale)
    small = noise(rng, side, 9 * scale)
    fine = noise(rng, side, 4.5 * scale)
    clumps = np.tanh(1.5 * (middle + 0.4 * small) + 0.45)
    even = 0.55 * small + 0.75 * fine
    pattern = np.float32(1.25 * (1 - openness)) * clumps + np.float32(0.8 * openness) * even
    gaps = np.maximum(0.65 * small + 0.75 * middle + 0.15 * fine - 0.9, 0)
    return 0.08 * broad + 0.088 * pattern - 0.18 * gaps


def nucleoli(
    rng: np.random.Generator, side: int, centre: np.ndarray, radius: float, count: int
) -> np.ndarray:
    """Return `count` pale round spots, float32 (side, side) from 0 to about 1."""
    spots = np.zeros((side, side), np.float32)
    for _ in range(count):
        far = radius * 0.68 * np.sqrt(rng.uniform())
        x, y = centre + far * random_direction(rng)
        size = radius * rng.uniform(0.10, 0.17)
        axes = max(int(size * rng.uniform(0.8, 1.25)), 2), max(int(size), 2)
        tilt = int(rng.integers(180))
        ellipse = cv2.ellipse2Poly((int(x), int(y)), axes, tilt, 0, 360, 12)
        spot = filled(ellipse.astype(float), side) * np.float32(rng.uniform(0.6, 1.1))
        np.maximum(spots, spot, out=spots)
    return cv2.GaussianBlur(spots, (0, 0), 2.2) if count else spots
