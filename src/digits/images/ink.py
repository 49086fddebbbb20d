"""Which pixels of a grey picture are ink, and how wide its strokes are.

First the paper's brightness is estimated and subtracted, and in photos ruled lines are removed.
Ink is what clearly stands out, together with weaker pixels that touch it. Of several connected
parts, those that belong to the most likely digit are kept.
"""

import numpy as np
from PIL import Image
from scipy import ndimage

_PHOTO_SIDE = 100  # px; smaller pictures are assumed to have even light and no ruled lines
_PAPER_SIDE = 64  # px; about the shorter side at which the paper's brightness is estimated
_MIN_CONTRAST = 12  # grey levels between ink and paper; with less the picture is blank
_NOISE_FACTOR = 6  # ink is at least this many standard deviations of the paper above it
_STRONG, _WEAK = 0.5, 0.3  # shares of the ink's strength: ink, and ink only if it touches ink
_MIN_PART = 0.04  # share of the main part's strong pixels; smaller parts are specks
_MAX_GAP = 0.35  # share of the digit's longer side; parts farther away don't belong to it
_EDGE_WEIGHT = 0.25  # weight of parts that the picture's edge cuts: perhaps another digit's

Box = tuple[slice, ...]
_SQUARE = np.ones((3, 3))


def find_ink(grey: np.ndarray) -> np.ndarray:
    """How much ink is on each pixel of uint8 `(height, width)`: float, 0 (paper) to 1."""
    photo = max(grey.shape) > _PHOTO_SIDE
    values = _above_paper(grey) if photo else _above_border(grey)
    highest = float(values.max(initial=0))
    strength = float(np.median(values[values > highest / 2])) if highest > 0 else 0.0
    noise = 1.4826 * float(np.median(np.abs(values - np.median(values)))) if photo else 0.0
    if strength < max(_MIN_CONTRAST, _NOISE_FACTOR * noise):
        return np.zeros_like(values)
    weak = values > max(_WEAK * strength, 3 * noise)
    if photo:
        weak = _without_ruled_lines(weak, values)
    digit = _most_likely_digit(weak, values > _STRONG * strength)
    faint = 0.1 * strength
    ink = np.clip((values - faint) / (0.9 * strength - faint), 0, 1)
    return np.where(ndimage.binary_dilation(digit, _SQUARE), ink, 0)


def stroke_width(mask: np.ndarray) -> np.ndarray:
    """Mean stroke width in px: twice the area over the outline, which is counted in pixel edges.

    Exact for long horizontal and vertical strokes. Where strokes run in all directions, multiply
    by 4/π: pixel edges overstate the length of such an outline by that factor (Crofton's formula).

    Args:
        mask: bool `(…, height, width)`.

    Returns:
        float `(…)`; 0 where there is no ink.
    """
    padded = np.pad(mask, [(0, 0)] * (mask.ndim - 2) + [(1, 1), (1, 1)])
    outline = (padded[..., 1:, :] != padded[..., :-1, :]).sum(axis=(-2, -1))
    outline = outline + (padded[..., 1:] != padded[..., :-1]).sum(axis=(-2, -1))
    return 2 * mask.sum(axis=(-2, -1)) / np.maximum(outline, 1)


def _above_border(grey: np.ndarray) -> np.ndarray:
    """Small pictures: grey levels above the border, which is mostly paper."""
    values = grey.astype(np.float32)
    if np.median(_border(values)) > _otsu(values):
        values = 255 - values
    return values - np.median(_border(values))


def _border(values: np.ndarray) -> np.ndarray:
    return np.concatenate([values[0], values[-1], values[:, 0], values[:, -1]])


def _otsu(values: np.ndarray) -> float:
    """The grey level that best separates ink from paper (Otsu 1979)."""
    counts, edges = np.histogram(values, bins=256)
    centres = (edges[:-1] + edges[1:]) / 2
    below = np.cumsum(counts)
    above = below[-1] - below
    sums = np.cumsum(counts * centres)
    with np.errstate(divide="ignore", invalid="ignore"):
        spread = below * above * (sums / below - (sums[-1] - sums) / above) ** 2
    return float(centres[int(np.argmax(np.nan_to_num(spread)))])


def _above_paper(grey: np.ndarray) -> np.ndarray:
    """Photos: grey levels above unevenly lit paper; in shadow both ink and paper are darker."""
    factor = max(1, round(min(grey.shape) / _PAPER_SIDE))
    small = np.asarray(Image.fromarray(grey).reduce(factor), dtype=np.float32)
    window = max(3, round(0.4 * min(small.shape)))  # wider than strokes, narrower than shadows
    if _is_dark_on_light(small, window):
        paper = 255 - _paper(255 - small, window, grey.shape)
        values = (paper - grey) * (255 / np.maximum(paper, 50))
    else:
        values = grey - _paper(small, window, grey.shape)
    return values - np.median(values)


def _is_dark_on_light(small: np.ndarray, window: int) -> bool:
    """Ink is the strong deviation, on few pixels, from the median of the surroundings."""
    median = ndimage.median_filter(small, (window, 1), mode="nearest")
    median = ndimage.median_filter(median, (1, window), mode="nearest")
    return float(((small - median) ** 3).sum()) < 0


def _paper(small: np.ndarray, window: int, shape: tuple[int, int]) -> np.ndarray:
    """The paper's brightness under bright strokes: what an opening by `window` leaves."""
    paper = ndimage.grey_opening(small, size=(window, window), mode="nearest")
    paper = ndimage.maximum_filter(paper, 3, mode="nearest")  # no false ink along shadows
    paper = ndimage.gaussian_filter(paper, 1, mode="nearest")
    return np.asarray(Image.fromarray(paper).resize(shape[::-1], Image.Resampling.BILINEAR))


def _without_ruled_lines(mask: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The mask without lines from edge to edge that are thinner or fainter than the rest."""
    lines = _lines_across(mask) | _lines_across(mask.T).T
    rest = mask & ~lines
    if not lines.any() or not rest.any():
        return mask
    thinner = stroke_width(lines) < 0.6 * stroke_width(rest)
    fainter = values[lines].mean() < 0.75 * values[rest].mean()
    return rest if thinner or fainter else mask


def _lines_across(mask: np.ndarray) -> np.ndarray:
    """Lines from the left to the right edge, level or leaning a little, without their crossings."""
    height, width = mask.shape
    run = np.ones((1, max(3, width // 8)))
    long = ndimage.binary_opening(ndimage.binary_dilation(mask, np.ones((3, 1))), run) & mask
    parts, _ = ndimage.label(long, _SQUARE)
    edge = max(2, width // 50)
    across = [
        number
        for number, (_, columns) in enumerate(ndimage.find_objects(parts), 1)
        if columns.start <= edge and columns.stop >= width - edge
    ]
    if not across:
        return np.zeros_like(mask)
    thick = 2 * max(3, round(0.02 * height))
    return np.isin(parts, across) & ~ndimage.binary_opening(mask, np.ones((thick, 1)))


def _most_likely_digit(weak: np.ndarray, strong: np.ndarray) -> np.ndarray:
    """Of a mask's connected parts, the one with most strong pixels and those that belong to it."""
    parts, count = ndimage.label(weak, _SQUARE)
    if count <= 1:
        return weak
    sizes = np.bincount(parts[strong], minlength=count + 1)[1:]
    boxes = ndimage.find_objects(parts)
    at_edge = np.array([_touches_edge(box, weak.shape) for box in boxes])
    main = int(np.argmax(np.where(at_edge, _EDGE_WEIGHT, 1.0) * sizes))
    likely = (sizes >= _MIN_PART * sizes[main]) & (at_edge[main] | ~at_edge)
    kept, union = [main + 1], boxes[main]
    for part in sorted(np.flatnonzero(likely), key=lambda part: _gap(boxes[part], boxes[main])):
        if _gap(boxes[part], union) <= _MAX_GAP * max(side.stop - side.start for side in union):
            kept.append(int(part) + 1)
            union = _union(union, boxes[part])
    return np.isin(parts, kept)


def _touches_edge(box: Box, shape: tuple[int, ...]) -> bool:
    return any(s.start == 0 or s.stop == side for s, side in zip(box, shape, strict=True))


def _gap(one: Box, other: Box) -> int:
    """The larger of the distances of two boxes along the two axes, 0 where they overlap."""
    return max(max(a.start - b.stop, b.start - a.stop, 0) for a, b in zip(one, other, strict=True))


def _union(one: Box, other: Box) -> Box:
    return tuple(
        slice(min(a.start, b.start), max(a.stop, b.stop)) for a, b in zip(one, other, strict=True)
    )
