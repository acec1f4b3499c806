"""The plot: every time as a multiple of its call's floor. Standard library only."""

import math

from cases import CALLS, IDLE, NAMES, cases_of, name_of, spread

SHOWN = {"bare": "bare loops"} | NAMES
COLORS = {"bare": "#888", "ours": "#d1495b", "torch": "#2e6f95", "onednn-same": "#3a7d44", "onednn-best": "#9bc59d"}


def svg(result):
    """Dots with quartiles: time over the floor, on a logarithmic axis; a panel for each call, a row for each case."""
    cases = cases_of(result, "all")
    cases.sort(key=lambda case: (case.flat, case.layout))
    left, panel, gap, step, top = 190, 270, 26, 26, 104
    groups, y, places = [], top, []
    for case in cases:
        group = "N, C" if case.flat else case.layout.upper()
        if not groups or groups[-1][0] != group:
            y += 26
            groups.append((group, y))
        y += step
        places.append(y - step / 2 + 4)
    bottom = y + 8
    width, height = left + 3 * panel + 2 * gap + 24, bottom + 56
    found = [three for case in cases for call in CALLS for who in SHOWN if (three := case.over_floor(call, who))]
    low, high = 0.9 * min(0.9, *(three[0] for three in found)), max(2, *(three[2] for three in found)) * 1.1

    def x_of(value, at):
        return at + panel * math.log(value / low) / math.log(high / low)

    ticks = [tick for power in range(-2, 5) for tick in (10**power, 2 * 10**power, 5 * 10**power) if low <= tick <= high]
    if len(ticks) > 7:
        ticks = [tick for tick in ticks if math.log10(tick) % 1 < 1e-9 or len(ticks) < 9 and tick < 10]
    machine = result["machine"]
    busy = " - MACHINE NOT IDLE: worth nothing" if max(machine["busy"]) > IDLE else ""
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
           'font-family="system-ui, sans-serif" font-size="12" fill="#222">',
           f'<rect width="{width}" height="{height}" fill="#fff"/>',
           '<text x="16" y="26" font-size="16" font-weight="600">Batch norm: time as a multiple of what its traffic takes'
           '</text>',
           f'<text x="16" y="46" fill="#666">{escaped(machine["processor"])}, {machine["threads"]} threads, f32, '
           f'{result["date"][:10]}; medians and quartiles of {result["rounds"]} rounds{busy}</text>']
    x = 16
    shown = [who for who in SHOWN if any(case.of(who, "train") for case in cases)]
    for who in shown:
        out.append(f'<circle cx="{x + 5}" cy="66" r="5" fill="{COLORS[who]}"/><text x="{x + 16}" y="70">{SHOWN[who]}</text>')
        x += 34 + 7 * len(SHOWN[who])
    if "onednn-same" not in shown:
        out.append(f'<text x="{x}" y="70" fill="#666">oneDNN: not installed</text>')
    for group, at in groups:
        out.append(f'<text x="16" y="{at - 4}" font-weight="600">{group}</text>')
    for case, at in zip(cases, places):
        out.append(f'<text x="{left - 12}" y="{at + 4:.1f}" text-anchor="end">{name_of(case.shape)}</text>')
    for number, (call, title) in enumerate(CALLS.items()):
        at = left + number * (panel + gap)
        out.append(f'<text x="{at}" y="{top}" font-weight="600">{title}</text>')
        for tick in ticks:
            place = x_of(tick, at)
            color = "#555" if tick == 1 else "#e3e3e3"
            out.append(f'<line x1="{place:.1f}" x2="{place:.1f}" y1="{top + 10}" y2="{bottom}" stroke="{color}"/>')
            out.append(f'<text x="{place:.1f}" y="{bottom + 16}" text-anchor="middle" fill="#666">{tick:g}</text>')
        for case, y in zip(cases, places):
            out.append(f'<line x1="{at}" x2="{at + panel}" y1="{y:.1f}" y2="{y:.1f}" stroke="#f0f0f0"/>')
            # Ours last, on top; the best layout is of interest beside nchw alone.
            for who in reversed(shown):
                if who == "onednn-best" and (case.layout == "nhwc" or case.flat):
                    continue
                three = case.over_floor(call, who)
                if three is None:
                    continue
                a, middle, b = (x_of(value, at) for value in three)
                out.append(f'<line x1="{a:.1f}" x2="{b:.1f}" y1="{y:.1f}" y2="{y:.1f}" stroke="{COLORS[who]}" '
                           f'stroke-width="2" stroke-opacity="0.6"/><circle cx="{middle:.1f}" cy="{y:.1f}" r="4.5" '
                           f'fill="{COLORS[who]}" stroke="#fff"><title>{SHOWN[who]}: {spread(three)} times the floor</title></circle>')
    out.append(f'<text x="{left}" y="{bottom + 40}" fill="#666">1 = the floor: the arrays that the call must read and '
               'write, by a read sweep and a copy on the same threads, in the same rounds. Less is better; logarithmic.</text>')
    return "\n".join(out + ["</svg>\n"])


def escaped(text):
    return text.replace("&", "&amp;").replace("<", "&lt;")
