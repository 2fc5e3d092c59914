"""Texts beside points, clear of each other, of all points, of lines and of the frame."""

import dataclasses
import itertools

from .canvas import GREY

_UP = ((4, 3), (0, 6), (7, 0))
_DOWN = tuple((-x, -y) for x, y in _UP)
_NEAR = (*_UP, *_DOWN, (-4, 3), (4, -3), (4, 11), (-4, 11), (4, -11), (-4, -11))
_FAR = tuple((x * k, y * k) for k in (4, 7, 10) for x, y in ((4, 3), (-4, 3), (4, -3), (-4, -3), (0, 6), (0, -6)))


@dataclasses.dataclass(frozen=True)
class Note:
    """A text that belongs to a point."""

    x: float
    y: float
    text: str
    colour: str = "black"
    radius: float = 3.0  # of the point's marker [pt]


def annotate(ax, notes, lines=(), fontsize=7.5):
    """Every note near its point, tied to it by a thin line where it is not next to it; the most important first."""
    Labels(ax, notes, lines, fontsize).place(notes, _NEAR + _FAR)


def annotate_curves(ax, curves, lines, fontsize=7.0):
    """Notes along curves, all on the upper side; on the lower side where most of a curve's found no room.

    `curves`: a list of notes for each; what finds no room is left out, the ends of a curve last.
    """
    room = Labels(ax, [note for curve in curves for note in curve], lines, fontsize)
    ends = [list(dict.fromkeys((curve[0], curve[-1]))) for curve in curves]
    done = [room.place(notes, _UP) for notes in ends]
    done = [before + room.place(curve[1:-1], _UP) for before, curve in zip(done, curves)]
    for kept, curve in zip(done, curves):
        if len(kept) < 0.5 * len(curve):
            room.place([note for note in curve if note not in kept], _DOWN)


class Labels:
    """Texts inside axes, clear of each other, of all points, of lines and of the frame."""

    def __init__(self, ax, notes, lines, fontsize):
        ax.figure.draw_without_rendering()  # settles limits and layout
        self.ax, self.fontsize, self.pixel = ax, fontsize, ax.figure.dpi / 72.0
        frame = ax.get_window_extent()
        self.inside = (frame.x0, frame.y0, frame.x1, frame.y1)
        self.taken, self.texts = [], []
        for note in notes:
            (x, y), r = self.spot(note), note.radius * self.pixel
            self.taken.append((x - r, y - r, x + r, y + r))
        for line in lines:
            self.taken += _along(line.get_transform().transform(line.get_xydata()), self.pixel)

    def spot(self, note):
        return tuple(self.ax.transData.transform((note.x, note.y)))

    def _tie(self, note, dx, dy):
        """Small boxes along the line from a point to its text."""
        x, y = self.spot(note)
        return _along([(x, y), (x + dx * self.pixel, y + dy * self.pixel)], self.pixel)

    def place(self, notes, places):
        """The notes that found room at one of the places (offsets in points)."""
        return [note for note in notes if self._placed(note, places)]

    def _placed(self, note, places):
        style = {"textcoords": "offset points", "fontsize": self.fontsize, "color": note.colour}
        words = self.ax.annotate(note.text, (note.x, note.y), xytext=(0, 0), **style)
        words.set(path_effects=halo(), in_layout=False, zorder=6)
        extent = words.get_window_extent()
        wide, high, more = extent.width, extent.height, max(0.0, note.radius - 3.0)
        for dx, dy in places:
            dx, dy = dx + more * ((dx > 0) - (dx < 0)), dy + more * ((dy > 0) - (dy < 0))
            box = _box(self.spot(note), dx * self.pixel, dy * self.pixel, wide, high)
            tied = max(abs(dx), abs(dy)) > 9.0 + more
            tie = self._tie(note, dx, dy) if tied else []
            crossed = any(_overlap(part, text) for part in tie for text in self.texts)
            if _within(box, self.inside) and not crossed and not any(_overlap(box, other) for other in self.taken):
                break
        else:
            words.remove()
            return False
        self.taken += [box, *tie]
        self.texts.append(box)
        sideways = "left" if dx > 0 else "right" if dx < 0 else "center"
        upright = "bottom" if dy > 0 else "top" if dy < 0 else "center"
        words.set(position=(dx, dy), horizontalalignment=sideways, verticalalignment=upright)
        if tied:
            style = {"xytext": (dx, dy), "textcoords": "offset points"}
            tie = self.ax.annotate(
                "", (note.x, note.y), arrowprops={"arrowstyle": "-", "lw": 0.5, "color": GREY}, **style
            )
            tie.set_in_layout(False)
        return True


def _along(corners, pixel):
    """Small boxes along a drawn line."""
    boxes = []
    for (x0, y0), (x1, y1) in itertools.pairwise(corners):
        n = max(1, int(max(abs(x1 - x0), abs(y1 - y0)) / (3 * pixel)))
        spots = [(x0 + (x1 - x0) * i / n, y0 + (y1 - y0) * i / n) for i in range(n + 1)]
        room = 1.5 * pixel  # a text next to a line is read as struck through
        boxes += [(x - room, y - room, x + room, y + room) for x, y in spots]
    return boxes


def _box(spot, dx, dy, wide, high):
    left = spot[0] + dx - (0.0 if dx > 0 else wide if dx < 0 else wide / 2.0)
    bottom = spot[1] + dy - (0.0 if dy > 0 else high if dy < 0 else high / 2.0)
    return left, bottom, left + wide, bottom + high


def _overlap(a, b):
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _within(a, b):
    return b[0] <= a[0] and b[1] <= a[1] and a[2] <= b[2] and a[3] <= b[3]


def halo(width=2.0):
    """A white rim that keeps a text readable on lines."""
    from matplotlib import patheffects

    return [patheffects.withStroke(linewidth=width, foreground="white")]
