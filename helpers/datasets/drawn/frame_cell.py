"""Drawing one phantom cell: outline, chromatin, stain, optics, cut-out.

A frame is made the way a real one is. Dyes lie in a cell and take light away
(Beer and Lambert's law), a microscope blurs what is left, a camera adds noise,
and a segmentation cuts the cell out along a ragged line and paints the rest
black. Each of these is a small function, to be used again for other cells.

What tells the classes apart is what the FAB group described: blasts are larger
and less regular, with an indented or cleft nucleus that fills most of the cell,
open chromatin and visible nucleoli; normal precursors are smaller and rounder,
with clumped chromatin and more cytoplasm. Bennett et al. 1976, 10.1111/j.1365-2141.1976.tb03563.x.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

#: Side of a frame in pixels, as in C-NMC 2019.
SIDE = 450
#: No cell is wider than this, so that its cut-out always fits into the frame.
WIDEST = 356

# Light that falls through empty glass (R, G, B of 255) in the reference stain.
_GLASS = np.array([112.0, 72.0, 117.0], np.float32)
# Optical density (-ln of the light let through) in R, G, B per unit of each
# tissue; fitted by eye and by moments to the 38 real frames of C-NMC 2019.
_NUCLEUS = np.array([0.53, 1.04, 0.44], np.float32)
_CHROMATIN = np.array([1.00, 1.05, 0.38], np.float32)
_CYTOPLASM = np.array([0.55, 0.74, 0.24], np.float32)
_RED_CELL = np.array([0.20, 0.14, 0.34], np.float32)
_BLUER = np.array([0.45, 0.22, 0.08], np.float32)
#: Traits of a cell: how far the mean of each class lies from the middle (`all` above,
#: `hem` below), in standard deviations.
TRAITS = {
    "size": 0.24,
    "outline": 0.52,
    "filling": 0.34,
    "openness": 0.56,
    "nucleoli": 0.6,
    "basophilia": 0.52,
}


@dataclass(frozen=True)
class Style:
    """How one subject's slide was stained and photographed, and how its cells tend to be.

    Attributes
    ----------
    strength : float
        Amount of dye; 1 is the reference.
    hue : float
        From bluish (-1) to reddish (1).
    warmth : float
        Colour of the lamp, from cold (-1) to warm (1).
    green : float
        Green in the lamp's light, from little (-1) to much (1).
    blur : float
        Standard deviation of the point spread in pixels.
    noise : float
        Standard deviation of the camera's noise in grey levels.
    zoom : float
        Size of all cells against the reference.
    contrast : float
        Of the chromatin; 1 is the reference.
    grain : float
        Scale of the chromatin's pattern; 1 is the reference.
    fringe : tuple of float
        Shift of blue against red in pixels, x and y (lateral chromatic aberration).
    margin : float
        How far outside the cell the cut-out runs, in pixels.
    ragged : float
        How ragged the cut-out is, in pixels.
    traits : dict of str to float
        How far this subject's cells lie from their class, in standard deviations.
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


@dataclass(frozen=True)
class Phantom:
    """A drawn frame and the truth about it.

    Attributes
    ----------
    frame : numpy.ndarray
        (450, 450, 3), uint8, RGB, black outside the cut-out.
    nucleus, cytoplasm : numpy.ndarray
        (450, 450), bool: where each is inside the cut-out; they do not overlap.
    label : str
        ``all`` or ``hem``.
    parameters : dict of str to float
        What was drawn: radius in pixels, nucleus area in pixels, nucleus-to-cell
        area ratio, number of nucleoli, openness of the chromatin (0 clumped to
        1 open), depth of the cleft as a part of the radius.
    """

    frame: np.ndarray
    nucleus: np.ndarray
    cytoplasm: np.ndarray
    label: str
    parameters: dict[str, float]


def draw_cell(label: str, style: Style, rng: np.random.Generator) -> Phantom:
    """Draw one cell of class `label` in the style of a subject.

    Parameters
    ----------
    label : str
        ``all`` (lymphoblast) or ``hem`` (normal precursor).
    style : Style
        Of the subject.
    rng : numpy.random.Generator
        All chance comes from here: the same state draws the same bytes.

    Returns
    -------
    Phantom
        The frame with its masks and parameters.
    """
    if label not in ("all", "hem"):
        raise ValueError(f"A phantom cell is 'all' or 'hem', not {label!r}.")
    z = draw_traits(label, style.traits or {}, rng)
    radius = float(np.clip(100 * style.zoom * np.exp(0.14 * z["size"]), 70, 150))
    angles = np.linspace(0, 2 * np.pi, 256, endpoint=False)
    uneven = float(np.clip(0.020 * np.exp(0.6 * z["outline"]), 0.007, 0.045))
    waves = np.array([1.5, 1.1, 0.65, 0.45, 0.35, 0.3, 0.25, 0.2])
    shape = harmonics(rng, angles, uneven * waves)
    long = 0.09 * abs(rng.standard_normal())
    shape = shape * (1 + long * np.cos(2 * (angles - rng.uniform(0, np.pi))))
    cell = radius * shape
    ratio = float(np.clip(0.845 + 0.085 * z["filling"], 0.58, 0.985))
    nucleus, cleft = _nucleus(rng, angles, cell, ratio, uneven, z["outline"])
    side = 2 * int(np.ceil(cell.max() * 1.06 + 24)) + 1
    middle = (side - 1) / 2
    shift = _eccentricity(rng, angles, cell, nucleus)
    cell_soft = filled(outline(angles, cell, (middle, middle)), side)
    nucleus_soft = filled(outline(angles, nucleus, (middle + shift[0], middle + shift[1])), side)
    nucleus_soft = np.minimum(nucleus_soft, cell_soft)

    openness = float(1 / (1 + np.exp(-1.8 * z["openness"])))
    texture = chromatin(rng, side, openness, style.grain * (radius / 100) ** 0.5)
    count = int(np.clip(np.round(1.2 + 1.1 * z["nucleoli"]), 0, 4))
    spots = nucleoli(rng, side, middle + shift, nucleus.min(), count)
    red, shadow = _neighbour(rng, side, cell, middle)
    density = _stained(
        rng, style, cell_soft, nucleus_soft, texture, spots, red, shadow, openness, z["basophilia"]
    )
    light = photographed(rng, density, style)
    cut = _cut_out(rng, angles, cell, style, side, middle, red)
    kept = cut > 0
    frame = cv2.convertScaleAbs(np.maximum(light * cut[..., None], kept[..., None]))
    in_nucleus = kept & (nucleus_soft > 0.5)
    in_cytoplasm = kept & (cell_soft > 0.5) & ~in_nucleus
    frame, in_nucleus, in_cytoplasm = _centred(kept, frame, in_nucleus, in_cytoplasm)
    area = int(in_nucleus.sum())
    parameters = {
        "radius": radius,
        "nucleus_area": float(area),
        "nucleus_to_cell": area / max(area + int(in_cytoplasm.sum()), 1),
        "nucleoli": float(count),
        "openness": openness,
        "cleft": cleft,
    }
    return Phantom(frame, in_nucleus, in_cytoplasm, label, parameters)


def draw_traits(
    label: str, subject: dict[str, float], rng: np.random.Generator
) -> dict[str, float]:
    """Return each trait in standard deviations: class mean, subject's own offset, chance."""
    sign = 1 if label == "all" else -1
    return {
        name: sign * mean + subject.get(name, 0.0) + 0.5 * float(rng.standard_normal())
        for name, mean in TRAITS.items()
    }


def harmonics(rng: np.random.Generator, angles: np.ndarray, amplitudes: np.ndarray) -> np.ndarray:
    """Return a closed outline's radius around 1: waves of 2, 3, ... to the turn."""
    orders = np.arange(2, 2 + len(amplitudes))
    size = amplitudes * (0.4 + 0.6 * np.abs(rng.standard_normal(len(amplitudes))))
    phase = rng.uniform(0, 2 * np.pi, len(amplitudes))
    return 1 + (size[:, None] * np.cos(orders[:, None] * angles + phase[:, None])).sum(axis=0)


def outline(angles: np.ndarray, radii: np.ndarray, centre: tuple[float, float]) -> np.ndarray:
    """Return the points (n, 2) in x, y of an outline given by radius and angle."""
    return np.stack(
        [centre[0] + radii * np.cos(angles), centre[1] + radii * np.sin(angles)], axis=1
    )


def filled(points: np.ndarray, side: int) -> np.ndarray:
    """Return a polygon filled and anti-aliased: float32 (side, side) from 0 to 1."""
    canvas = np.zeros((side, side), np.uint8)
    fixed = np.round(points * 16).astype(np.int32)[None]
    cv2.fillPoly(canvas, fixed, 255, lineType=cv2.LINE_AA, shift=4)
    return canvas.astype(np.float32) / 255


def noise(rng: np.random.Generator, side: int, scale: float) -> np.ndarray:
    """Return smooth noise, float32 (side, side), SD about 1, features about `scale` pixels."""
    cells = max(int(np.ceil(side / scale)) + 2, 4)
    small = rng.standard_normal((cells, cells), dtype=np.float32)
    large = cv2.resize(small, (side, side), interpolation=cv2.INTER_CUBIC)
    return large * np.float32(1.3)


def chromatin(rng: np.random.Generator, side: int, openness: float, scale: float) -> np.ndarray:
    """Return the chromatin's density around 0, float32 (side, side).

    Open chromatin is fine and even; clumped chromatin lies in dark blocks with
    pale gaps between them. Both have a few small pale spots.
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
    field = np.zeros((side, side), np.float32)
    for _ in range(count):
        far = radius * 0.68 * np.sqrt(rng.uniform())
        turn = rng.uniform(0, 2 * np.pi)
        where = centre + far * np.array([np.cos(turn), np.sin(turn)])
        size = radius * rng.uniform(0.10, 0.17)
        axes = (size * rng.uniform(0.8, 1.25), size)
        box = cv2.ellipse2Poly(
            (int(where[0]), int(where[1])),
            (max(int(axes[0]), 2), max(int(axes[1]), 2)),
            int(rng.integers(180)),
            0,
            360,
            12,
        )
        spot = filled(box.astype(float), side) * np.float32(rng.uniform(0.6, 1.1))
        np.maximum(field, spot, out=field)
    return cv2.GaussianBlur(field, (0, 0), 2.2) if count else field


def photographed(rng: np.random.Generator, density: np.ndarray, style: Style) -> np.ndarray:
    """Return the light (R, G, B in grey levels) that the camera records.

    Parameters
    ----------
    rng : numpy.random.Generator
        Draws the slope of the light, the focus and the camera's noise.
    density : numpy.ndarray
        (side, side, 3), float32: optical density.
    style : Style
        Lamp, focus and camera.

    Returns
    -------
    numpy.ndarray
        (side, side, 3), float32.
    """
    side = len(density)
    light = cv2.exp(-density)
    slope = rng.normal(0, 0.045, 2).astype(np.float32)
    ramp = np.linspace(-1, 1, side, dtype=np.float32)
    even = 1 + slope[0] * ramp[:, None] + slope[1] * ramp[None, :]
    tints = 1 + 0.07 * style.warmth, 1 + 0.07 * style.green, 1 - 0.07 * style.warmth
    blur = max(style.blur * float(np.exp(0.15 * rng.standard_normal())), 0.4)
    # One field of noise, read at three places, costs a third of three fields.
    grain = rng.standard_normal((side + 24, side + 24), dtype=np.float32) * np.float32(style.noise)
    planes = []
    for plane, glass, tint, part, at in zip(
        cv2.split(light), _GLASS, tints, (-0.5, 0, 0.5), (0, 12, 24), strict=True
    ):
        plane = cv2.GaussianBlur(plane * (even * np.float32(glass * tint)), (0, 0), blur)
        if part:
            move = np.float32([[1, 0, part * style.fringe[0]], [0, 1, part * style.fringe[1]]])
            plane = cv2.warpAffine(plane, move, (side, side), borderMode=cv2.BORDER_REPLICATE)
        planes.append(plane + grain[at : at + side, 24 - at : 24 - at + side])
    return cv2.merge(planes)


def _nucleus(rng, angles, cell, ratio, uneven, trait):
    """Return the nucleus's radii and the depth of its cleft."""
    own = harmonics(rng, angles, uneven * np.array([1.8, 1.7, 1.4, 1.0, 0.7]))
    radii = np.sqrt(ratio) * cell.mean() * (0.65 * cell / cell.mean() + 0.35 * own)
    cleft = 0.0
    if rng.uniform() < 0.28 + 0.2 * np.tanh(trait):
        cleft = float(rng.uniform(0.08, 0.3))
        width = rng.uniform(0.10, 0.28)
        away = np.angle(np.exp(1j * (angles - rng.uniform(0, 2 * np.pi))))
        radii = radii * (1 - cleft * np.exp(-0.5 * (away / width) ** 2))
    return radii, cleft


def _eccentricity(rng, angles, cell, nucleus):
    """Return how far the nucleus lies off the middle, so that it stays inside."""
    room = max(float(np.percentile(cell - nucleus, 25)), 0.0)
    turn = rng.uniform(0, 2 * np.pi)
    return rng.uniform(0.2, 0.95) * room * np.array([np.cos(turn), np.sin(turn)])


def _neighbour(rng, side, cell, middle):
    """Return a piece of a touching red cell (mask) and the shadow where it touches."""
    if rng.uniform() > 0.12:
        return None, None
    turn = rng.uniform(0, 2 * np.pi)
    angles = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    edge = cell[int(turn / (2 * np.pi) * len(cell)) % len(cell)]
    size = edge * rng.uniform(0.12, 0.34)
    far = edge + size * rng.uniform(-0.2, 0.5)
    far = min(far, middle - 1.2 * size)
    where = (middle + far * np.cos(turn), middle + far * np.sin(turn))
    radii = size * harmonics(rng, angles, np.array([0.35, 0.2, 0.1, 0.08, 0.06, 0.05, 0.05]))
    radii = radii * (1 + 0.04 * rng.standard_normal(64))
    red = filled(outline(angles, np.maximum(radii, 2), where), side)
    return red, cv2.GaussianBlur(red, (0, 0), 7)


def _stained(rng, style, cell, nucleus, texture, spots, red, shadow, openness, blue):
    """Return the optical density (side, side, 3) of everything on the glass."""
    side = len(cell)
    membrane = cv2.GaussianBlur(nucleus, (0, 0), 5)
    membrane = 4 * membrane * (1 - membrane) * nucleus
    inside = cv2.GaussianBlur(nucleus, (0, 0), float(rng.uniform(2.0, 4.5)))
    around = cv2.GaussianBlur(cell, (0, 0), float(rng.uniform(2.4, 4.2)))
    amount = np.float32(style.strength * np.exp(0.05 * rng.standard_normal()))
    varied = np.float32(style.contrast) * texture - 0.40 * spots + 0.12 * membrane
    cytoplasm = around * (1 - 0.85 * inside) * (1 + 0.10 * noise(rng, side, 9))
    redder = np.array([-0.10, 0.04, 0.12], np.float32) * np.float32(style.hue)
    # The cell's edge is thicker on one side, or out of focus there: dark and blue.
    edge = np.maximum(1 - cv2.GaussianBlur(cell, (0, 0), 14), 0) * noise(rng, side, side / 2)
    bluer = np.array([0.12, 0.0, -0.05], np.float32) * np.float32(blue)  # RNA takes up azure
    pale = np.float32(1.10 - 0.20 * openness)  # open chromatin takes up less dye
    layers = cv2.merge([inside * pale, inside * varied, cytoplasm, around * edge])
    dyes = (
        np.stack([_NUCLEUS + redder, _CHROMATIN, _CYTOPLASM + redder + bluer, _BLUER], axis=1)
        * amount
    )
    density = cv2.transform(layers, dyes)
    if red is not None:
        outside = cv2.GaussianBlur(red, (0, 0), 1.5) * (1 - around)
        density += cv2.transform(
            cv2.merge([outside, shadow * around]), np.stack([_RED_CELL, _BLUER], axis=1)
        )
    return density


def _cut_out(rng, angles, cell, style, side, middle, red):
    """Return the cut-out, float32 (side, side): 0 outside, up to 1 inside, dim at its edge."""
    fine = np.interp(
        np.arange(256), np.arange(0, 256 + 4, 4), np.resize(rng.standard_normal(64), 65)
    )
    coarse = np.interp(
        np.arange(256), np.arange(0, 256 + 16, 16), np.resize(rng.standard_normal(16), 17)
    )
    radii = cell + style.margin + style.ragged * (0.6 * fine + 1.2 * coarse)
    for _ in range(rng.poisson(1.3 * style.ragged)):  # a tag or a bite, with a jagged outline
        away = np.angle(np.exp(1j * (angles - rng.uniform(0, 2 * np.pi))))
        bump = np.exp(-((np.abs(away) / rng.uniform(0.04, 0.16)) ** 3)) * (1 + 0.25 * fine)
        radii = radii + rng.choice([-1.0, 1.0]) * rng.gamma(2.0, 4.0) * bump
    if rng.uniform() < 0.2:  # a straight cut, as where two touching cells were parted
        away = np.cos(angles - rng.uniform(0, 2 * np.pi))
        limit = cell.mean() * rng.uniform(0.86, 0.98) + 1.5 * fine
        radii = np.where(away > 0, np.minimum(radii, limit / np.maximum(away, 1e-3)), radii)
    mask = filled(outline(angles, radii, (middle, middle)), side)
    if red is not None:
        mask = np.maximum(mask, red)
    soft = cv2.GaussianBlur(mask, (0, 0), 0.9)
    return np.where(soft > 0.3, np.minimum(soft * 1.15, 1), 0).astype(np.float32)


def _centred(kept, *arrays):
    """Return each array pasted into a frame so that the cut-out's box lies in its middle."""
    rows, columns = np.flatnonzero(kept.any(axis=1)), np.flatnonzero(kept.any(axis=0))
    boxes = []
    for span in (rows, columns):
        first, last = int(span[0]), min(int(span[-1]) + 1, int(span[0]) + WIDEST)
        boxes.append((slice(first, last), (SIDE - (last - first)) // 2))
    (source_rows, top), (source_columns, left) = boxes
    height, width = source_rows.stop - source_rows.start, source_columns.stop - source_columns.start
    pasted = []
    for array in arrays:
        frame = np.zeros((SIDE, SIDE, *array.shape[2:]), array.dtype)
        frame[top : top + height, left : left + width] = array[source_rows, source_columns]
        pasted.append(frame)
    return pasted
