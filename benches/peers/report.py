"""The tables, from all times. Standard library only."""

import csv
import json
import re
import statistics

import plot
import targets
from cases import CALLS, IDLE, NAMES, cases_of, geometric, name_of, quartiles, ratio, spread, table, times

FUSED = {"train+relu": "train", "train+add+relu": "train", "backward+relu": "backward", "backward+add+relu": "backward"}


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


def calls(name, cases, kept):
    """The tables of one instruction set."""
    out = []
    for call, title in CALLS.items():
        out.append(f"## {title[0].upper()}{title[1:]}, {'best instruction set' if name == 'best' else name}\n")
        rows = []
        for case in cases:
            floor, bare = case.floor(call), case.of("bare", call)
            rows.append([name_of(case.shape), case.where, spread(quartiles(floor)),
                         spread(quartiles(bare)) if bare else "-",
                         *(spread(quartiles(values)) if (values := case.of(who, call)) else "-" for who in NAMES),
                         times(case.over_floor(call)), times(ratio(case.of("ours", call), bare)) if bare else "-",
                         times(case.against("torch", call)), times(case.against("onednn-same", call)),
                         times(case.against("onednn-best", call)) if case.layout == "nchw" else ""])
        out.append(table(["shape", "layout", "floor ms", "bare loops ms", *(f"{name} ms" for name in NAMES.values()),
                          "ours / floor", "ours / bare", "torch / ours", "oneDNN same / ours", "oneDNN best / ours"], rows))
        means = []
        for layout in ("nchw", "nhwc"):
            group = [case for case in cases if case.layout == layout and not case.flat]
            for who in list(NAMES)[1:]:
                ratios = [three[1] for case in group if (three := case.against(who, call))]
                if ratios and (who != "onednn-best" or layout == "nchw"):
                    means.append(f"{NAMES[who]} {layout} {geometric(ratios):.2f}x")
        if means:
            out.append(f"Geometric means over the shapes with planes: {'; '.join(means)}.\n")
    out.append("oneDNN's best layout is the fastest of nchw, nhwc and (not with AVX2) nChw16c. torch's backward pass allocates "
               "dx, as it does for its users; where freed pages stay with the process (no page faults), for both, it is:\n")
    rows = [[name_of(case.shape), case.where, spread(quartiles(case.floor("backward"))),
             spread(quartiles(case.of("torch", "backward"))), spread(quartiles(case.of("ours", "backward"))),
             times(case.against("torch", "backward"))] for case in kept]
    out.append(table(["shape", "layout", "floor ms", "torch ms, pages kept", "batchnorm ms, pages kept", "torch / ours"], rows))
    return out


def markdown(result):
    machine, every = result["machine"], result["runs"]["all"]
    versions = every["versions"]
    cases, one = cases_of(result, "all"), cases_of(result, "one")
    onednn = f"oneDNN {versions['onednn']}" if "onednn" in versions else f"oneDNN: {result['onednn_missing']}"
    out = ["# batchnorm beside its peers\n"]
    out.append(f"{machine['processor']}, {machine['cores']} processors, {machine['threads']} threads used, "
               f"{machine['system']}; {result['date']}; busy with something else before {machine['busy'][0]:.0%}, after "
               f"{machine['busy'][1]:.0%}.  ")
    out.append(f"Cores or siblings: lscpu says {machine['threads_a_core']} thread(s) a core; measured: "
               f"{every['contention']['verdict']}.  ")
    pools = every["pools"] and ", ".join(
        f"{NAMES.get(name, name)} {'the caller and ' if pool['caller_works'] else ''}{pool['others']}"
        f"{' more' if pool['caller_works'] else ''}" for name, pool in every["pools"].items())
    out.append(f"Threads that compute, each bound to a processor: {pools}.  " if pools else
               "Threads ran where the system put them (--bound binds those of all contenders).  ")
    out.append(f"batchnorm {result['batchnorm']} ({result['rustc']}), torch {versions['torch']}, {onednn}.  ")
    out.append(f"{result['rounds']} interleaved rounds of {'few shapes (--quick)' if result['quick'] else 'these shapes'}, "
               "f32; figures are medians, quartiles in brackets; ratios are taken round by round, above 1 batchnorm is "
               "faster. The floor is what a call's traffic takes, from a read sweep and a copy in the same rounds; bare "
               "loops are the same arithmetic without layers, on the same threads.\n")
    if max(machine["busy"]) > IDLE:
        out.append("**The machine was not idle: these figures are worth nothing.**\n")
    out.append("![times over the floor](peers.svg)\n")
    out.append("## Targets\n")
    out.append(targets.markdown(result))
    for name, (plain, kept) in targets.SETS.items():
        if plain in result["runs"]:
            out += calls(name, cases_of(result, plain), cases_of(result, kept))
        else:
            out.append(f"## {name}\n\nNot measured: {result['avx2_missing']}.\n")

    out.append("## Fused: what an activation costs\n")
    rows = []
    for case in cases:
        row = [name_of(case.shape), case.where]
        for call, plain in FUSED.items():
            row.append(times(ratio(case.of("ours", call), case.of("ours", plain))))
        for call in ("train+relu", "backward+relu"):
            row.append(times(case.against("onednn-same", call)))
        rows.append(row)
    out.append(table(["shape", "layout", *(f"{call} / {plain}" for call, plain in FUSED.items()),
                      "oneDNN / ours, train+relu", "oneDNN / ours, backward+relu"], rows))

    out.append("## From one thread to all\n")
    if one:
        rows = []
        for alone, together in zip(one, cases):
            row = [name_of(alone.shape), alone.where]
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
                       f"{ratio(ms, case.floor(call))[1]:.4f}" if call in CALLS else ""]
    for row in result["burn"].get("rows", []):
        for who in ("ours", "burn"):
            low, middle, high = row[who]
            yield ["burn", "", row["shape"], "nchw", "forward+backward", who, low, middle, high,
                   f"{row['burn'][1] / row['ours'][1]:.4f}" if who == "burn" else 1, ""]


def write(result, folder):
    (folder / "peers.json").write_text(json.dumps(result, indent=1))
    with open(folder / "peers.csv", "w", newline="") as file:
        csv.writer(file).writerows(rows_of_csv(result))
    (folder / "peers.svg").write_text(plot.svg(result))
    (folder / "peers.md").write_text(markdown(result))
