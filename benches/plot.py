#!/usr/bin/env python3
"""Draws target/bench/report.json as an SVG: the CPU time and the memory that each contestant adds to Envoy.

    python3 benches/plot.py [REPORT [PLOT]]

It needs only Python.
"""

import html
import json
import math
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
COLOURS = {
    "native": "#8c8c8c",
    "lua": "#d08c2e",
    "noop": "#b9b9b9",
    "byname-cluster": "#1f5fa8",
    "byname-authority": "#4f8fd0",
    "byname-endpoint": "#2b8a6b",
    "byname-endpoint-watched": "#74bfa3",
}
WIDTH, PANEL, LEFT, TOP, GAP = 960, 220, 64, 84, 84
INK, FAINT = "#333333", "#dddddd"


def text(x, y, words, anchor="middle", size=12, weight="normal", colour=INK):
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" font-weight="{weight}" '
        f'fill="{colour}">{html.escape(words)}</text>'
    )


def line(x1, y1, x2, y2, colour=INK, width=1.0):
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" stroke-width="{width}"/>'
    )


class Linear:
    """A linear scale from zero, or from below zero if there are negative values."""

    def __init__(self, low, high):
        self.step = next(s for s in steps() if (max(high, 0) - min(low, 0)) / s <= 6)
        self.low = math.floor(min(low, 0) / self.step) * self.step
        self.high = math.ceil(max(high, self.step) / self.step) * self.step

    def part(self, value):
        return (value - self.low) / (self.high - self.low)

    def base(self):
        return self.part(0)

    def ticks(self):
        count = round((self.high - self.low) / self.step)
        return [self.low + self.step * tick for tick in range(count + 1)]


class Logarithmic:
    """A scale by powers of ten. A value up to the lowest power has no bar."""

    def __init__(self, low, high):
        self.low = math.floor(math.log10(max(low, 1)))
        self.high = max(math.ceil(math.log10(max(high, 10))), self.low + 1)

    def part(self, value):
        value = math.log10(max(value, 10**self.low))
        return (value - self.low) / (self.high - self.low)

    def base(self):
        return 0

    def ticks(self):
        return [10**power for power in range(self.low, self.high + 1)]


def steps():
    for power in range(-2, 6):
        yield from (base * 10**power for base in (1, 2, 5))


def panel(top, title, groups, scale):
    """Draws groups of bars. A bar is a contestant, a number, and the bounds of the whisker or None."""
    bottom = top + PANEL
    at = lambda value: bottom - PANEL * min(max(scale.part(value), 0), 1)
    base = bottom - PANEL * scale.base()
    drawn = [text(LEFT, top - 14, title, "start", 14, "bold")]
    for tick in scale.ticks():
        drawn += [line(LEFT, at(tick), WIDTH - 16, at(tick), FAINT), text(LEFT - 8, at(tick) + 4, f"{tick:g}", "end")]
    room = (WIDTH - 16 - LEFT) / max(len(groups), 1)
    for number, (name, bars) in enumerate(groups):
        left = LEFT + number * room
        width = room * 0.86 / max(len(bars), 1)
        for place, (contestant, value, bounds) in enumerate(bars):
            x = left + room * 0.07 + place * width
            y, height = min(at(value), base), abs(base - at(value))
            bar = f'x="{x + 1:.1f}" y="{y:.1f}" width="{width - 2:.1f}" height="{height:.1f}"'
            label = html.escape(f"{contestant}, {name}: {value:.1f}")
            drawn.append(f'<rect {bar} fill="{COLOURS[contestant]}"><title>{label}</title></rect>')
            middle, above = x + width / 2, y
            if bounds:
                low, high = at(bounds[0]), at(bounds[1])
                above = min(above, high)
                drawn += [line(middle, low, middle, high)]
                drawn += [line(middle - 3, end, middle + 3, end) for end in (low, high)]
            if width > 20:
                drawn.append(text(middle, above - 4, f"{value:.0f}" if value >= 100 else f"{value:.1f}", size=10))
        drawn.append(text(left + room / 2, bottom + 18, name))
    drawn.append(line(LEFT, base, WIDTH - 16, base))
    return drawn


def services(number):
    return f"{number:,} Services"


def cost(report):
    """Yields a panel for each kind of traffic."""
    results = report["cpu"]["results"]
    for asked in dict.fromkeys(result["asked"] for result in results):
        rows = [row for row in results if row["asked"] == asked and row["contestant"] in COLOURS]
        groups = {}
        for row in rows:
            low, median, high = row["addedMicrosQuartiles"]
            groups.setdefault(services(row["services"]), []).append((row["contestant"], median, (low, high)))
        yield f"CPU time added to a request, µs: {asked}", list(groups.items())


def memory(report):
    """Yields a panel with the memory added to an Envoy without a filter."""
    groups = {}
    for row in report["standing"]["results"]:
        if row["contestant"] in COLOURS and row["addedMegabytes"] is not None:
            bar = (row["contestant"], row["addedMegabytes"], None)
            groups.setdefault(services(row["services"]), []).append(bar)
    order = list(COLOURS)
    return [(name, sorted(bars, key=lambda bar: order.index(bar[0]))) for name, bars in groups.items()]


def legend():
    drawn, x = [], LEFT
    for contestant, colour in COLOURS.items():
        drawn.append(f'<rect x="{x}" y="40" width="12" height="12" fill="{colour}"/>')
        drawn.append(text(x + 17, 50, contestant, "start"))
        x += 32 + 7 * len(contestant)
    return drawn


def draw(report):
    costs = list(cost(report))
    ends = [end for _, groups in costs for _, bars in groups for _, _, bounds in bars for end in bounds]
    panels = [(title, groups, Linear(min(ends), max(ends))) for title, groups in costs]
    resident = memory(report)
    sizes = [value for _, bars in resident for _, value, _ in bars]
    if sizes:
        title = "Resident memory added, MB: two workers, logarithmic"
        panels.append((title, resident, Logarithmic(min(sizes), max(sizes))))
    drawn = [text(LEFT, 24, "What is added to an Envoy without a filter", "start", 16, "bold"), *legend()]
    for number, (title, groups, scale) in enumerate(panels):
        drawn += panel(TOP + 12 + number * (PANEL + GAP), title, groups, scale)
    height = TOP + len(panels) * (PANEL + GAP)
    note = "Bars are medians over all rounds, whiskers their quartiles."
    if report["quick"]:
        note += " A quick run: 1,000 Services are left out."
    drawn.append(text(LEFT, height - 14, note, "start", 11))
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        'font-family="Helvetica, Arial, sans-serif">',
        '<rect width="100%" height="100%" fill="#ffffff"/>',
        *drawn,
        "</svg>\n",
    ])


def main():
    report = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "target/bench/report.json"
    plot = pathlib.Path(sys.argv[2]) if len(sys.argv) > 2 else report.with_name("plot.svg")
    if not report.is_file():
        sys.exit(f"there is no {report}: run `make bench`")
    plot.write_text(draw(json.loads(report.read_text())), encoding="utf-8")
    print(f"The plot is {plot}.")


if __name__ == "__main__":
    main()
