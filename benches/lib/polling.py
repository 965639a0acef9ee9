"""Computes how soon the end of a run is noticed and how many requests that takes, and compares it with loops with a fixed sleep."""

import math
import statistics


def waits(interval=15.0):
    """Yields the waits between two status checks, as src/poll.rs computes them."""
    waited = 0.0
    while True:
        wait = min(max(1.0, waited / 10), interval)
        yield wait
        waited += wait


def fixed(seconds):
    while True:
        yield float(seconds)


def noticed(duration, waits):
    """Returns when the end of a run of this duration is noticed, and after how many requests."""
    at, requests = 0.0, 1
    for wait in waits:
        if at >= duration:
            return at, requests
        at, requests = at + wait, requests + 1


def summary():
    """Describes a run of an hour in one sentence."""
    at, requests = noticed(3599.0, waits())
    return (
        f"The end of a run of an hour is noticed after {at - 3599:.0f} s, with {requests} requests; "
        f"a loop with `sleep 3` needs {noticed(3599.0, fixed(3))[1]:,}."
    )


def simulate():
    """Computes delay and requests for runs of 1 s to 4 h. Each value is the mean over 40 similar durations, which smooths the curves."""
    lengths = [1.19**n for n in range(0, 56) if 1.19**n <= 4 * 3600] + [4 * 3600.0]
    curves = {}
    for name, make in [("webadmit-export", waits)] + [(f"sleep {s}", lambda s=s: fixed(s)) for s in (3, 5, 10, 30)]:
        delays, requests = [], []
        for length in lengths:
            similar = [noticed(length * (1 + step / 400), make()) + (length * (1 + step / 400),) for step in range(40)]
            delays.append(statistics.mean(at - took for at, _, took in similar))
            requests.append(statistics.mean(count for _, count, _ in similar))
        curves[name] = (lengths, delays, requests)
    return curves


def svg(curves):
    """Draws two panels with logarithmic axes, readable on a light and on a dark background."""
    width, height, left, top, inner_width, inner_height = 860, 380, 60, 40, 330, 270
    colors = ["#2f81f7", "#8b949e", "#a371f7", "#db6d28", "#3fb950"]
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12" '
             'role="img" aria-label="Delay until the end of a run is noticed, and number of API requests, by duration of the run">',
             "<style>text{fill:#1f2328}.grid{stroke:#d1d9e0}@media(prefers-color-scheme:dark){text{fill:#e6edf3}.grid{stroke:#3d444d}}</style>"]
    ticks_x = [(1, "1 s"), (10, "10 s"), (60, "1 min"), (600, "10 min"), (3600, "1 h"), (14400, "4 h")]
    panels = [(1, "delay until the end is noticed", (0.3, 40), [(0.5, "0.5 s"), (1, "1 s"), (5, "5 s"), (15, "15 s"), (30, "30 s")]),
              (2, "API requests", (1, 6000), [(1, "1"), (10, "10"), (100, "100"), (1000, "1,000"), (5000, "5,000")])]
    for panel, (index, title, (low, high), ticks_y) in enumerate(panels):
        x0 = left + panel * 420
        x = lambda v: x0 + inner_width * math.log(v) / math.log(4 * 3600)
        y = lambda v: top + inner_height * (1 - (math.log(min(max(v, low), high)) - math.log(low)) / (math.log(high) - math.log(low)))
        parts.append(f'<text x="{x0}" y="{top - 16}" font-weight="bold">{title}</text>')
        for value, label in ticks_x:
            parts.append(f'<line class="grid" x1="{x(value):.1f}" y1="{top}" x2="{x(value):.1f}" y2="{top + inner_height}"/>')
            parts.append(f'<text x="{x(value):.1f}" y="{top + inner_height + 18}" text-anchor="middle">{label}</text>')
        for value, label in ticks_y:
            parts.append(f'<line class="grid" x1="{x0}" y1="{y(value):.1f}" x2="{x0 + inner_width}" y2="{y(value):.1f}"/>')
            parts.append(f'<text x="{x0 - 6}" y="{y(value) + 4:.1f}" text-anchor="end">{label}</text>')
        for (name, curve), color in zip(curves.items(), colors):
            points = " ".join(f"{x(length):.1f},{y(value):.1f}" for length, value in zip(curve[0], curve[index]))
            thick = 3 if name == "webadmit-export" else 1.5
            parts.append(f'<polyline points="{points}" fill="none" stroke="{color}" stroke-width="{thick}"><title>{name}</title></polyline>')
    for place, (name, color) in enumerate(zip(curves, colors)):
        at = left + place * 150
        parts.append(f'<line x1="{at}" y1="{height - 16}" x2="{at + 24}" y2="{height - 16}" stroke="{color}" stroke-width="3"/>')
        parts.append(f'<text x="{at + 30}" y="{height - 12}">{name}</text>')
    return "\n".join(parts + ["</svg>", ""])
