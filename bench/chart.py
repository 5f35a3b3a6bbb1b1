# SPDX-License-Identifier: Apache-2.0
"""A chart of horizontal bars on a logarithmic scale, as SVG."""

import math
from xml.sax.saxutils import escape

WIDTH, LEFT, RIGHT, TOP = 860, 190, 60, 56
BAR, GAP, SPACE = 9, 8, 14
COLOURS = ["#1b6ca8", "#d9822b", "#5a8f3c", "#8a4f9e"]
TEXT = 'font-family="sans-serif" font-size="12"'


def _rect(x, y, width, height, colour):
    return (f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" '
            f'fill="{colour}"/>')


def _text(x, y, words, more=""):
    return f'<text x="{x:.1f}" y="{y:.1f}" {TEXT} {more}>{escape(words)}</text>'


class _Axis:
    """Values to places, from a power of ten (or 1) up."""

    def __init__(self, values):
        self.low = min(0, math.floor(math.log10(min(values))))
        self.high = max(1, math.ceil(math.log10(max(values))))

    def at(self, value):
        """The place of a value."""
        part = (math.log10(value) - self.low) / (self.high - self.low)
        return LEFT + part * (WIDTH - LEFT - RIGHT)

    def ticks(self):
        """The values that get a line."""
        values = [10.0 ** power * n for power in range(self.low, self.high) for n in (1, 2, 5)]
        return values + [10.0 ** self.high]


def bars(series, groups, means, title):
    """The SVG's text.  `series`: names of the bars in each group; `groups` and `means`: [(name,
    [value of each series])], drawn one below the other, the means in bold after a space."""
    axis = _Axis([value for _, values in groups + means for value in values])
    step = len(series) * BAR + GAP
    bottom = TOP + len(groups + means) * step + SPACE
    parts = [_rect(0, 0, WIDTH, bottom + 30, "#ffffff"), _text(LEFT, 18, title)]
    for number, name in enumerate(series):
        x = LEFT + 110 * number
        parts += [_rect(x, 28, 12, 12, COLOURS[number]), _text(x + 18, 38, name)]
    for value in axis.ticks():
        x, strong = axis.at(value), value == 1
        parts.append(f'<path d="M{x:.1f} {TOP - 4}V{bottom}" stroke="'
                     f'{"#444444" if strong else "#dddddd"}"/>')
        parts.append(_text(x, bottom + 16, f"{value:g}", 'text-anchor="middle"'))
    y = TOP
    for number, (name, values) in enumerate(groups + means):
        y += SPACE if number == len(groups) else 0
        bold = ' font-weight="bold"' if number >= len(groups) else ""
        parts.append(_text(LEFT - 8, y + len(series) * BAR / 2 + 4, name,
                           f'text-anchor="end"{bold}'))
        for which, value in enumerate(values):
            one, end = axis.at(1), axis.at(value)
            parts.append(_rect(min(one, end), y + which * BAR, max(abs(end - one), 1), BAR - 1,
                               COLOURS[which]))
            parts.append(f'<text x="{max(one, end) + 4:.1f}" y="{y + which * BAR + 8:.1f}" '
                         f'font-family="sans-serif" font-size="9">{value:.2f}</text>')
        y += step
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {bottom + 30}" '
            f'width="{WIDTH}" height="{bottom + 30}">\n'
            f'<!-- SPDX-License-Identifier: Apache-2.0 -->\n' + "\n".join(parts) + "\n</svg>\n")
