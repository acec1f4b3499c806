"""The targets S1, S2 and S3: what is wanted, what was found, whether it is met. Standard library only."""

import statistics

from cases import CALLS, NAMES, RESNET, cases_of, geometric, name_of, ratio, table

# Against whom, in which layout: the least geometric mean of their time over ours, by call, over the ResNet-50 shapes.
MEANS = [
    ("S1", "torch", "nchw", {"train": 2.5, "backward": 1.3, "eval": 1.3}),
    ("S1", "torch", "nhwc", {"train": 1.2, "backward": 1.1, "eval": 1.1}),
    ("S2", "onednn-same", "nchw", {"train": 1.8, "backward": 1.5, "eval": 1.8}),
    ("S2", "onednn-same", "nhwc", {"train": 1.3, "backward": 1.2, "eval": 1.2}),
]
# No call is slower than the larger of the peer's time and this many floors.
FLOORS = 1.1
# Nor more than this many times the larger of floor and bare loops, for arrays of these MiB.
OVER_BARE = 1.15
JUDGED = [(1, 16), (48, float("inf"))]
# The runs of each instruction set: all calls, and with pages kept.
SETS = {"best": ("all", "kept"), "AVX2": ("avx2", "avx2-kept")}


def larger(one, other):
    """The one that takes longer, of two lists of times or one and none."""
    return max((times for times in (one, other) if times), key=statistics.median)


class Judged:
    """The cases of one instruction set. torch's backward pass allocates dx: S1 judges it where pages are kept on both sides."""

    def __init__(self, result, name):
        self.name = name
        plain, kept = SETS[name]
        self.cases = cases_of(result, plain)
        self.kept = {(tuple(case.shape), case.layout): case for case in cases_of(result, kept)}

    def case(self, case, target, call):
        """The case whose times count, or none where it was not measured."""
        if (target, call) == ("S1", "backward"):
            return self.kept.get((tuple(case.shape), case.layout))
        return case

    def margin(self, case, target, who, call):
        """The larger of the peer's time and 1.1 floors, over ours: 1 and more is met. None where it is not there."""
        case = self.case(case, target, call)
        theirs = case and case.of(who, call)
        if not theirs:
            return None
        return ratio(larger(theirs, [FLOORS * floor for floor in case.floor(call)]), case.of("ours", call))[1]

    def over_bare(self, case, call):
        """Ours over the larger of floor and bare loops; none where there are no such loops."""
        if not case.of("bare", call):
            return None
        return ratio(case.of("ours", call), larger(case.floor(call), case.of("bare", call)))[1]


def is_judged(case):
    mebibytes = case.megabytes * 1e6 / 2**20
    return any(low <= mebibytes <= high for low, high in JUDGED)


def mark(value, met):
    """A figure, bold where its target is missed."""
    return "-" if value is None else f"{value:.2f}" if met else f"**{value:.2f}**"


def mean_rows(judged):
    for target, who, layout, least in MEANS:
        group = [case for case in judged.cases if case.shape in RESNET and case.layout == layout]
        for call, bound in least.items():
            counted = [judged.case(case, target, call) for case in group]
            ratios = [three[1] for case in counted if case and (three := case.against(who, call))]
            if ratios:
                found = geometric(ratios)
                yield [judged.name, target, f"{NAMES[who]}, {layout}, {CALLS[call]}", f"{len(ratios)} of {len(RESNET)}",
                       f">= {bound}", f"{found:.2f}",
                       ("yes" if found >= bound else "**no**") + ("" if len(ratios) == len(RESNET) else ", so far")]


def markdown(result):
    """The section, and a line for each target of what is met."""
    all_judged = [Judged(result, name) for name, (run, _) in SETS.items() if run in result["runs"]]
    out = ["### Geometric means over the ResNet-50 shapes\n",
           "Theirs over ours. Backward passes against torch (S1) are those with pages kept on both sides.\n",
           table(["instruction set", "target", "what", "shapes", "wanted", "found", "met"],
                 [row for judged in all_judged for row in mean_rows(judged)])]
    peers = [("S1", "torch"), ("S2", "onednn-same")]
    rows, met, total = [], {}, {}

    def count(target, judged, good):
        key = target, judged.name
        met[key], total[key] = met.get(key, 0) + good, total.get(key, 0) + 1

    for judged in all_judged:
        for case in judged.cases:
            row = [judged.name, name_of(case.shape), case.where]
            for target, who in peers:
                for call in CALLS:
                    margin = judged.margin(case, target, who, call)
                    row.append(mark(margin, margin is None or margin >= 1))
                    if margin is not None:
                        count(target, judged, margin >= 1)
            rows.append(row)
    out.append(f"### No call slower than the larger of the peer's time and {FLOORS} floors\n")
    out.append("That larger one over ours: 1 and more is met; what is not is bold.\n")
    out.append(table(["instruction set", "shape", "layout",
                      *(f"{target} {NAMES[who].split(',')[0]} {call}" for target, who in peers for call in CALLS)], rows))
    rows = []
    for judged in all_judged:
        for case in judged.cases:
            row = [judged.name, name_of(case.shape), case.where, f"{case.megabytes * 1e6 / 2**20:.3g}",
                   "yes" if is_judged(case) else "no"]
            for call in CALLS:
                over = judged.over_bare(case, call)
                row.append(mark(over, over is None or over <= OVER_BARE or not is_judged(case)))
                if over is not None and is_judged(case):
                    count("S3", judged, over <= OVER_BARE)
            rows.append(row)
    out.append("### S3: ours over the larger of floor and bare loops\n")
    out.append(f"At most {OVER_BARE} for arrays of 1 to 16 and of 48 and more MiB; others are shown and not judged.\n")
    out.append(table(["instruction set", "shape", "layout", "MiB", "judged", *CALLS], rows))
    lines = [f"- {target}, {name}: {met[target, name]} of {total[target, name]} calls.  "
             for target, name in sorted(total, key=lambda key: (key[0], list(SETS).index(key[1])))]
    return "\n".join(["Single calls that meet their target:\n", *lines, "", *out])
