"""
The plot: bars of what a message costs, a group for each transport.

The picture brings its own background, so that it can be read on any page, light
or dark, and follows what the reader's system prefers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from xml.sax.saxutils import escape

from attrs import frozen

from bench.load import COST
from bench.rounds import Outcome

WIDTH: Final = 760
_LABELS: Final = 200
_FIGURES: Final = 60
_ROW: Final = 20
_BAR: Final = 14
_HEADING: Final = 34
_MARGIN: Final = 16
_TITLE: Final = 44

_STYLE: Final = """\
text { font: 13px system-ui, sans-serif; fill: #24292f; }
.title { font-size: 15px; font-weight: 600; }
.heading { font-weight: 600; }
.card { fill: #ffffff; stroke: #d0d7de; }
.bar { fill: #8c959f; }
.ours { fill: #0969da; }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3; }
.card { fill: #161b22; stroke: #3d444d; }
.bar { fill: #6e7681; }
.ours { fill: #4493f8; }
}"""


@frozen
class Group:
    """
    Bars that are compared with each other.

    @ivar title: What they show.
    @ivar bars: Names and figures.
    @ivar digits: After the point.
    """

    title: str
    bars: Sequence[tuple[str, float]]
    digits: int = 1


def groupsOf(outcomes: Sequence[Outcome]) -> list[Group]:
    """
    Take what the plot shows from outcomes.
    """
    groups = []
    for outcome in outcomes:
        scenario = outcome.scenario
        bars = [
            (peer, outcome.spread(peer, COST).median)
            for peer in scenario.peers
            if peer in outcome.samples
        ]
        if bars:
            groups.append(Group(scenario.title, bars, min(scenario.cost.digits, 1)))
    return groups


def drawPlot(title: str, groups: Sequence[Group]) -> str:
    """
    Draw horizontal bars; each group has a scale of its own.

    Args:
        title: What all figures are.
        groups: From top to bottom.

    Returns:
        An SVG document.
    """
    height = _TITLE + _MARGIN + sum(_HEADING + len(group.bars) * _ROW for group in groups)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">',
        f"<title>{escape(title)}</title>",
        f"<style>{_STYLE}</style>",
        f'<rect class="card" x="0.5" y="0.5" width="{WIDTH - 1}" height="{height - 1}" rx="6"/>',
        f'<text class="title" x="{_MARGIN}" y="28">{escape(title)}</text>',
    ]
    top = _TITLE
    for group in groups:
        lines.append(
            f'<text class="heading" x="{_MARGIN}" y="{top + 20}">{escape(group.title)}</text>'
        )
        top += _HEADING
        for name, figure in group.bars:
            lines += _drawBar(group, name, figure, top)
            top += _ROW
    return "\n".join((*lines, "</svg>")) + "\n"


def _drawBar(group: Group, name: str, figure: float, top: int) -> list[str]:
    longest = max(figure for _, figure in group.bars)
    room = WIDTH - _LABELS - _FIGURES - _MARGIN
    length = max(1.0, room * figure / longest) if longest > 0 else 1.0
    kind = "bar ours" if name.startswith("myserv") else "bar"
    base = top + _BAR - 3
    return [
        f'<text x="{_LABELS - 8}" y="{base}" text-anchor="end">{escape(name)}</text>',
        f'<rect class="{kind}" x="{_LABELS}" y="{top}" width="{length:.1f}" height="{_BAR}" rx="2"/>',
        f'<text x="{_LABELS + length + 6:.1f}" y="{base}">{figure:,.{group.digits}f}</text>',
    ]
