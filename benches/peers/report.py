"""Times to medians, ratios, tables and a plot. Standard library only."""

import csv
import json
import math
import re
import statistics

CALLS = {"train": "forward, training", "backward": "backward", "eval": "inference"}
FUSED = {"train+relu": "train", "train+add+relu": "train", "backward+relu": "backward", "backward+add+relu": "backward"}
RESNET = [[32, 64, 112, 112], [32, 256, 56, 56], [32, 512, 28, 28], [32, 1024, 14, 14], [32, 2048, 7, 7]]
# Of docs: who, layout -> least speed-up of training, backward, inference.
TARGETS = [
    ("S1", "torch", "nchw", (3.5, 3, 1.4)),
    ("S1", "torch", "nhwc", (2, 3, 1.4)),
    ("S2", "onednn-same", "nchw", (2.5, 2, 1.5)),
    ("S2", "onednn-same", "nhwc", (2, 1.5, 1.5)),
    ("S2", "onednn-best", "nchw", (1.5, 1.3, 0.9)),
]
FLOOR_TARGETS = [("nchw", (1.4, 2.2, 1.1)), ("nhwc", (2, 2.9, 1.1))]
# More than this share of all processors busy with something else, and figures are worth nothing.
IDLE = 0.03
NAMES = {"ours": "batchnorm", "torch": "torch", "onednn-same": "oneDNN, same layout", "onednn-best": "oneDNN, best layout"}


def name_of(shape):
    lengths = shape if shape[2] * shape[3] > 1 else shape[:2]
    return "x".join(map(str, lengths))


def quartiles(values):
    """Lower quartile, median, upper quartile."""
    ordered = sorted(values)

    def at(part):
        place = (len(ordered) - 1) * part
        low = math.floor(place)
        return ordered[low] + (ordered[min(low + 1, len(ordered) - 1)] - ordered[low]) * (place - low)

    return at(0.25), at(0.5), at(0.75)


def ratio(above, below):
    """Quartiles of the ratios round by round: what slows a round down slows both."""
    return quartiles([a / b for a, b in zip(above, below)])


def geometric(values):
    return math.exp(statistics.fmean(map(math.log, values))) if values else None


class Case:
    """One shape in one layout."""

    def __init__(self, case):
        self.shape, self.layout, self.megabytes = case["shape"], case["layout"], case["megabytes"]
        self.flat = self.shape[2] * self.shape[3] == 1
        self.agreement, self.kernels = case["agreement"], case["kernels"]
        self.ms = {(entry["contender"], entry["call"]): entry["ms"] for entry in case["times"]}
        # The faster of the two copies.
        self.floor = min((self.ms["copy", "copy"], self.ms["stream", "copy"]), key=statistics.median)

    def of(self, who, call):
        """All times of somebody, or none."""
        if who == "onednn-same" and not self.flat:
            who = f"onednn-{self.layout}"
        if who in ("onednn-same", "onednn-best"):
            all_orders = [ms for (name, of), ms in self.ms.items() if of == call and name.startswith("onednn-")]
            return min(all_orders, key=statistics.median) if all_orders else None
        return self.ms.get((who, call))

    def against(self, who, call):
        """How many times faster ours is: quartiles, or none."""
        theirs, own = self.of(who, call), self.of("ours", call)
        return ratio(theirs, own) if theirs and own else None

    def over_floor(self, call, who="ours"):
        times = self.of(who, call)
        return ratio(times, self.floor) if times else None


def cases_of(result, run):
    return [Case(case) for case in result["runs"][run]["cases"]] if run in result["runs"] else []


def spread(three, digits=None):
    """A median with its quartiles in brackets."""
    if three is None:
        return "-"
    low, middle, high = three
    digits = digits if digits is not None else 3 if middle < 1 else 2 if middle < 10 else 1
    return f"{middle:.{digits}f} ({low:.{digits}f}..{high:.{digits}f})"


def times(three):
    return "-" if three is None else f"{spread(three, 2 if three[1] < 10 else 1)}"


def table(heads, rows):
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    return "\n".join(lines + ["| " + " | ".join(map(str, row)) + " |" for row in rows]) + "\n"


def target_rows(cases):
    """Each target beside what was measured."""
    for target, who, layout, least in TARGETS:
        for call, bound in zip(("train", "backward", "eval"), least):
            groups = [(f"geometric mean over {len(of)} ResNet-50 shapes", of)
                      for of in [[case for case in cases if case.shape in RESNET and case.layout == layout]] if of]
            groups += [(name_of(case.shape), [case]) for case in cases
                       if (case.layout == layout) and (case.shape not in RESNET or case.shape == [32, 2048, 7, 7])]
            for label, group in groups:
                ratios = [case.against(who, call) for case in group]
                if not ratios or None in ratios:
                    continue
                found = geometric([three[1] for three in ratios])
                # Of the shapes in a mean, none should be slower: the last column is 1 or more.
                yield [target, f"{NAMES[who]}, {layout}, {CALLS[call]}", label, f">= {bound}x", f"{found:.2f}x",
                       "yes" if found >= bound else "**no**", f"{min(three[1] for three in ratios):.2f}x"]
    for layout, most in FLOOR_TARGETS:
        for call, bound in zip(("train", "backward", "eval"), most):
            group = [case for case in cases if case.layout == layout and case.megabytes > 25]
            for case in group:
                three = case.over_floor(call)
                if three:
                    yield ["S3", f"floor, {layout}, {CALLS[call]}", name_of(case.shape), f"<= {bound}x",
                           f"{three[1]:.2f}x", "yes" if three[1] <= bound else "**no**", ""]


def burn_rows(text):
    """The layer's rows of the example's output."""
    figure = r"([\d.]+) \(([\d.]+)\.\.([\d.]+)\)"
    pattern = r"^\[([\d, ]+)\]\s+" + r"\s+".join([figure] * 4) + r"\s*$"
    rows = []
    for found in re.finditer(pattern, text, re.M):
        numbers = [float(number) for number in found.groups()[1:]]
        parts = [[numbers[at + 1], numbers[at], numbers[at + 2]] for at in range(0, 12, 3)]
        rows.append({"shape": found[1].replace(", ", "x"), "ours": parts[0], "burn": parts[1], "net": parts[3]})
    return {"rows": rows} if rows else {"reason": "not measured: the example's output was not understood"}


def markdown(result):
    machine, every = result["machine"], result["runs"]["all"]
    versions = every["versions"]
    cases, kept, one = cases_of(result, "all"), cases_of(result, "kept"), cases_of(result, "one")
    onednn = f"oneDNN {versions['onednn']}" if "onednn" in versions else f"oneDNN: {result['onednn_missing']}"
    out = ["# batchnorm beside its peers\n"]
    out.append(f"{machine['processor']}, {machine['cores']} cores, {machine['threads']} threads used, {machine['system']}; "
               f"{result['date']}; busy with something else before {machine['busy'][0]:.0%}, after {machine['busy'][1]:.0%}.  ")
    out.append(f"batchnorm {result['batchnorm']} ({result['rustc']}), torch {versions['torch']}, {onednn}.  ")
    out.append(f"{result['rounds']} interleaved rounds of {'few shapes (--quick)' if result['quick'] else 'these shapes'}, "
               "f32; figures are medians, quartiles in brackets; ratios are taken round by round, above 1 batchnorm is "
               "faster.\n")
    if max(machine["busy"]) > IDLE:
        out.append("**The machine was not idle: these figures are worth nothing.**\n")
    out.append("![times over the floor](peers.svg)\n")
    for call, title in CALLS.items():
        out.append(f"## {title[0].upper()}{title[1:]}\n")
        rows = []
        for case in cases:
            rows.append([name_of(case.shape), "N, C" if case.flat else case.layout, spread(quartiles(case.floor)),
                         *(spread(quartiles(values)) if (values := case.of(who, call)) else "-" for who in NAMES),
                         times(case.over_floor(call)), times(case.against("torch", call)),
                         times(case.against("onednn-same", call)),
                         times(case.against("onednn-best", call)) if case.layout == "nchw" else ""])
        out.append(table(["shape", "layout", "floor ms", *(f"{name} ms" for name in NAMES.values()), "ours / floor",
                          "torch / ours", "oneDNN same / ours", "oneDNN best / ours"], rows))
        means = []
        for layout in ("nchw", "nhwc"):
            group = [case for case in cases if case.layout == layout and not case.flat]
            for who in list(NAMES)[1:]:
                ratios = [three[1] for case in group if (three := case.against(who, call))]
                if ratios and (who != "onednn-best" or layout == "nchw"):
                    means.append(f"{NAMES[who]} {layout} {geometric(ratios):.2f}x")
        out.append(f"Geometric means over the shapes with planes: {'; '.join(means)}.\n")
    out.append("oneDNN's best layout is the fastest of nchw, nhwc and nChw16c. torch's backward pass allocates dx, as it "
               "does for its users; where freed pages stay with the process (no page faults), it is:\n")
    rows = [[name_of(case.shape), "N, C" if case.flat else case.layout, spread(quartiles(case.of("torch", "backward"))),
             spread(quartiles(case.of("ours", "backward"))), times(case.against("torch", "backward"))] for case in kept]
    out.append(table(["shape", "layout", "torch ms, pages kept", "batchnorm ms", "torch / ours"], rows))

    out.append("## Fused: what an activation costs\n")
    rows = []
    for case in cases:
        row = [name_of(case.shape), "N, C" if case.flat else case.layout]
        for call, plain in FUSED.items():
            row.append(times(ratio(case.of("ours", call), case.of("ours", plain))))
        for call in ("train+relu", "backward+relu"):
            row.append(times(case.against("onednn-same", call)))
        rows.append(row)
    out.append(table(["shape", "layout", *(f"{call} / {plain}" for call, plain in FUSED.items()),
                      "oneDNN / ours, train+relu", "oneDNN / ours, backward+relu"], rows))

    out.append("## Targets\n")
    out.append(table(["target", "what", "over", "wanted", "found", "met", "slowest shape"], target_rows(cases)))

    out.append("## From one thread to all\n")
    if one:
        rows = []
        for alone, together in zip(one, cases):
            row = [name_of(alone.shape), "N, C" if alone.flat else alone.layout]
            for call in CALLS:
                for who in ("ours", "torch", "onednn-same"):
                    single, many = alone.of(who, call), together.of(who, call)
                    row.append(f"{statistics.median(single) / statistics.median(many):.2f}" if single and many else "-")
            rows.append(row)
        heads = [f"{NAMES[who].split(',')[0]} {call}" for call in CALLS for who in ("ours", "torch", "onednn-same")]
        out.append(f"How many times faster {machine['threads']} threads are than one (two runs, one after the other).\n")
        out.append(table(["shape", "layout", *heads], rows))
    else:
        out.append("Not measured: one thread only, or --no-scaling.\n")

    out.append("## Burn's own layer\n")
    if "rows" in result["burn"]:
        out.append("Forward and backward through autodiff, from `batchnorm-burn`'s example `against_burn`, milliseconds; the "
                   "ratio is net of the loss. Target S5: >= 7x.\n")
        rows = [[row["shape"], spread(row["ours"]), spread(row["burn"]), spread(row["net"], 2),
                 "yes" if row["net"][1] >= 7 else "**no**"] for row in result["burn"]["rows"]]
        out.append(table(["shape", "batchnorm", "Burn", "Burn / ours, net", "met"], rows))
    else:
        out.append(f"{result['burn']['reason'][0].upper()}{result['burn']['reason'][1:]}.\n")

    out.append("## Agreement\n")
    out.append("Before timing, every answer was compared with f64 arithmetic; the greatest error relative to the greatest "
               "right value. (Behind a rectifier, peers' gradients are not compared where |y| < 1e-5, for their rounding "
               "puts them on either side of the kink.)\n")
    worst = {}
    for case in cases:
        for entry in case.agreement:
            key = entry["contender"], "dgamma, dbeta" if entry["output"] in ("dgamma", "dbeta") else "y, dx, dresidual"
            worst[key] = max(worst.get(key, (0, 0)), (entry["error"], entry["bound"]))
    out.append(table(["contender", "answers", "worst error", "bound"],
                     [[*key, f"{error:.1e}", f"{bound:.1e}"] for key, (error, bound) in sorted(worst.items())]))
    if any(case.kernels for case in cases):
        out.append("oneDNN's kernels (training / backward / inference):\n")
        out.append(table(["shape", "layout", "kernels"], [[name_of(case.shape), name.removeprefix("onednn-"), kernel]
                                                           for case in cases for name, kernel in case.kernels.items()]))
    return "\n".join(out)


def rows_of_csv(result):
    yield ["run", "threads", "shape", "layout", "call", "contender", "q1_ms", "median_ms", "q3_ms", "ratio_to_ours",
           "ratio_to_floor"]
    for run in result["runs"]:
        for case in cases_of(result, run):
            for (who, call), ms in case.ms.items():
                own = case.of("ours", call)
                yield [run, result["runs"][run]["threads"], name_of(case.shape), case.layout, call, who,
                       *(f"{value:.6f}" for value in quartiles(ms)), f"{ratio(ms, own)[1]:.4f}" if own else "",
                       f"{ratio(ms, case.floor)[1]:.4f}"]
    for row in result["burn"].get("rows", []):
        for who in ("ours", "burn"):
            low, middle, high = row[who]
            yield ["burn", "", row["shape"], "nchw", "forward+backward", who, low, middle, high,
                   f"{row['burn'][1] / row['ours'][1]:.4f}" if who == "burn" else 1, ""]


COLORS = {"ours": "#d1495b", "torch": "#2e6f95", "onednn-same": "#3a7d44", "onednn-best": "#9bc59d"}


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
    found = [three for case in cases for call in CALLS for who in NAMES if (three := case.over_floor(call, who))]
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
           '<text x="16" y="26" font-size="16" font-weight="600">Batch norm: time as a multiple of copying the tensor once'
           '</text>',
           f'<text x="16" y="46" fill="#666">{escaped(machine["processor"])}, {machine["threads"]} threads, f32, '
           f'{result["date"][:10]}; medians and quartiles of {result["rounds"]} rounds{busy}</text>']
    x = 16
    shown = [who for who in NAMES if any(case.of(who, "train") for case in cases)]
    for who in shown:
        out.append(f'<circle cx="{x + 5}" cy="66" r="5" fill="{COLORS[who]}"/><text x="{x + 16}" y="70">{NAMES[who]}</text>')
        x += 34 + 7 * len(NAMES[who])
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
                           f'fill="{COLORS[who]}" stroke="#fff"><title>{NAMES[who]}: {spread(three)} copies</title></circle>')
    out.append(f'<text x="{left}" y="{bottom + 40}" fill="#666">1 = the faster of a plain and a streaming copy of the same '
               'bytes, same threads, same rounds. Less is better; logarithmic.</text>')
    return "\n".join(out + ["</svg>\n"])


def escaped(text):
    return text.replace("&", "&amp;").replace("<", "&lt;")


def write(result, folder):
    (folder / "peers.json").write_text(json.dumps(result, indent=1))
    with open(folder / "peers.csv", "w", newline="") as file:
        csv.writer(file).writerows(rows_of_csv(result))
    (folder / "peers.svg").write_text(svg(result))
    (folder / "peers.md").write_text(markdown(result))
