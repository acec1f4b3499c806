"""Times to medians, ratios and floors. Standard library only."""

import math
import statistics

CALLS = {"train": "forward, training", "backward": "backward", "eval": "inference"}
RESNET = [[32, 64, 112, 112], [32, 256, 56, 56], [32, 512, 28, 28], [32, 1024, 14, 14], [32, 2048, 7, 7]]
NAMES = {"ours": "batchnorm", "torch": "torch", "onednn-same": "oneDNN, same layout", "onednn-best": "oneDNN, best layout"}
# More than this share of all processors busy with something else, and figures are worth nothing.
IDLE = 0.03
# Arrays that are read (as often as that happens) and written, at least.
TRAFFIC = {
    ("train", "nchw"): (1, 1), ("train", "nhwc"): (2, 1),
    ("backward", "nchw"): (2, 1), ("backward", "nhwc"): (4, 1),
    ("eval", "nchw"): (1, 1), ("eval", "nhwc"): (1, 1),
}


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
        self.where = "N, C" if self.flat else self.layout
        self.agreement, self.kernels = case["agreement"], case["kernels"]
        self.ms = {(entry["contender"], entry["call"]): entry["ms"] for entry in case["times"]}
        self.read = self.ms["read", "sweep"]
        # The faster of the two.
        self.copy = min((self.ms["copy", "sweep"], self.ms["stream", "sweep"]), key=statistics.median)

    def floor(self, call):
        """What the call's traffic takes, round by round: a write is what a copy takes beyond a read."""
        # (N, C) is rows, like NHWC.
        reads, writes = TRAFFIC[call, "nhwc" if self.flat else self.layout]
        return [reads * read + writes * max(0, copy - read) for read, copy in zip(self.read, self.copy)]

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
        """How many times the floor somebody takes: quartiles, or none."""
        times = self.of(who, call)
        return ratio(times, self.floor(call)) if times else None


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
