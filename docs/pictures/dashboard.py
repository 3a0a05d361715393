"""Draws examples/monitoring/dashboard.json as Grafana would lay it out, from the answers of a Prometheus to its own queries.

dashboard.py PROMETHEUS START END OUT.png, as `make dashboard-picture` runs it.
"""

import json
import sys
import urllib.parse
import urllib.request
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.ticker import FuncFormatter, MaxNLocator
from PIL import Image

PROMETHEUS, START, END, OUT = sys.argv[1], float(sys.argv[2]), float(sys.argv[3]), sys.argv[4]
DASHBOARD = json.loads((Path(__file__).parents[2] / "examples/monitoring/dashboard.json").read_text())
# The picture has a sidecar and its watch, but no server, whose row is the last one.
PANELS = [panel for panel in DASHBOARD["panels"] if "byname_serve_" not in json.dumps(panel) and panel["title"] != "byname serve"]
COLUMNS, WIDTH, UNIT = 24, 16.0, 0.34  # Grafana's columns; inches, all of it and a row's.
COLORS = ["#56a64b", "#3274d9", "#f2a900", "#e0524d", "#8f5bd8", "#1fa6a6", "#e07bb4", "#8a6d3b", "#6b7a90", "#b0c238"]
GREEN, RED, TEXT, MUTED = "#2f8132", "#c4302b", "#24292e", "#6a737d"


def ask(expression):
    """The series of a query, each with its labels, times since the start, and values."""
    for variable, value in (("$__rate_interval", "10s"), ("$namespace", ".*"), ("$pod", ".*")):
        expression = expression.replace(variable, value)
    query = {"query": expression, "start": START, "end": END, "step": 1}
    with urllib.request.urlopen(f"{PROMETHEUS}/api/v1/query_range?{urllib.parse.urlencode(query)}") as answer:
        series = json.load(answer)["data"]["result"]
    return [(one["metric"], [t - START for t, _ in one["values"]], [float(v) for _, v in one["values"]]) for one in series]


def legend(pattern, labels):
    for name, value in labels.items():
        pattern = pattern.replace("{{" + name + "}}", value)
    return pattern


def shown(value, unit, decimals=1):
    if unit == "percentunit":
        return f"{100 * value:.{decimals}f}%"
    if unit == "s":
        return f"{value:.0f} s" if value >= 1 or value == 0 else f"{1000 * value:.2g} ms"
    number = f"{value:,.0f}" if value >= 10 or value == int(value) else f"{value:.{decimals}f}"
    return f"{number} req/s" if unit == "reqps" else number


def draw_stat(axes, panel, series):
    defaults = panel["fieldConfig"]["defaults"]
    if not series or not series[0][2]:
        raise SystemExit(f"{panel['title']!r} shows nothing")
    _, times, values = series[0]
    steps = defaults.get("thresholds", {}).get("steps", [])
    color = RED if len(steps) > 1 and values[-1] >= steps[1]["value"] else GREEN
    axes.fill_between(times, values, color=color, alpha=0.15, linewidth=0)
    axes.set_ylim(0, max([*values, 1e-9]) * 2.2)
    axes.axis("off")
    axes.text(0.5, 0.52, shown(values[-1], defaults["unit"], defaults.get("decimals", 1)), transform=axes.transAxes,
              ha="center", va="center", fontsize=22, color=color, weight="bold")


def draw_lines(axes, panel, series):
    defaults = panel["fieldConfig"]["defaults"]
    stacked = defaults["custom"]["stacking"]["mode"] == "normal"
    if stacked:
        times = sorted({time for _, all_times, _ in series for time in all_times})
        known = [dict(zip(all_times, values)) for _, all_times, values in series]
        rows = [[values.get(time, 0) for time in times] for values in known]
        axes.stackplot(times, rows, colors=COLORS, labels=[name for name, _, _ in series], alpha=0.8, linewidth=0)
    for (name, times, values), color in zip(series, COLORS):
        if not stacked:
            axes.plot(times, values, color=color, linewidth=1.4, label=name)
            axes.fill_between(times, values, color=color, alpha=0.06, linewidth=0)
    top = axes.get_ylim()[1] if any(value for _, _, values in series for value in values) else 1
    axes.set_ylim(0, top)
    axes.set_xlim(0, END - START)
    axes.grid(color="#e3e6ea", linewidth=0.6)
    axes.tick_params(labelsize=7, colors=MUTED, length=0)
    axes.yaxis.set_major_locator(MaxNLocator(4, integer=defaults["unit"] == "short"))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: shown(value, defaults["unit"])))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value / 60:.0f}:{value % 60:02.0f}"))
    axes.xaxis.set_major_locator(plt.MultipleLocator(30))
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.legend(loc="upper left", bbox_to_anchor=(-0.02, -0.12), ncols=3, fontsize=7, frameon=False, labelcolor=TEXT,
                handlelength=1, columnspacing=1.2)


def main():
    rows = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in PANELS)
    height = rows * UNIT + 0.5
    figure = plt.figure(figsize=(WIDTH, height), facecolor="#f4f5f8")
    figure.text(0.008, 1 - 0.3 / height, DASHBOARD["title"], fontsize=15, weight="bold", color=TEXT, va="center")

    def place(x, y, w, h):
        return [x / WIDTH, 1 - (0.5 + y + h) / height, w / WIDTH, h / height]

    column = WIDTH / COLUMNS
    for panel in PANELS:
        at = panel["gridPos"]
        x, y, w, h = at["x"] * column, at["y"] * UNIT, at["w"] * column, at["h"] * UNIT
        if panel["type"] == "row":
            figure.text((x + 0.12) / WIDTH, 1 - (0.5 + y + h / 2) / height, panel["title"], fontsize=10, weight="bold",
                        color=TEXT, va="center")
            continue
        figure.add_axes(place(x + 0.06, y + 0.04, w - 0.12, h - 0.08), facecolor="white", xticks=[], yticks=[])
        for spine in figure.axes[-1].spines.values():
            spine.set_color("#d8dbe0")
        figure.text((x + 0.16) / WIDTH, 1 - (0.5 + y + 0.18) / height, panel["title"], fontsize=8.5, color=TEXT, va="center",
                    weight="bold")
        series = [
            (legend(target["legendFormat"], labels), times, values)
            for target in panel["targets"]
            for labels, times, values in ask(target["expr"])
        ]
        if panel["type"] == "stat":
            draw_stat(figure.add_axes(place(x + 0.08, y + 0.34, w - 0.16, h - 0.42)), panel, series)
        else:
            draw_lines(figure.add_axes(place(x + 0.75, y + 0.4, w - 0.95, h - 1.15), facecolor="white"), panel, series)
    figure.savefig(OUT, dpi=85)
    # As many colours as it has, near enough: a third of the size.
    Image.open(OUT).convert("RGB").quantize(64, dither=Image.Dither.NONE).save(OUT, optimize=True)


main()
