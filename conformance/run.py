#!/usr/bin/env python3
"""Runs batch norm implementations through the conformance cases beside this file.

    python conformance/run.py torch                    # counts by level, and what failed
    python conformance/run.py torch onnxruntime        # side by side
    python conformance/run.py my_module:function       # yours: see "A function" in README.md
    python conformance/run.py outputs/                 # a folder with NAME.npz for each case, made by any program
    python conformance/run.py torch --verbose --only mean-1e4

Needs numpy, and what is run. Exit code 0: all that was run passed; 1: something failed or was refused that has an answer;
2: nothing was run, for want of cases, of a module or of the folder.
"""

import argparse
import copy
import difflib
import importlib
import importlib.util
import json
import os
import pathlib
import sys
import warnings

import numpy as np

HERE = pathlib.Path(__file__).resolve().parent
FORMAT = 1
LEVELS = ["easy", "hard", "cruel"]
#: Bits behind the point, the exponent of the smallest normal number, and how a value is stored.
TYPES = {"f64": (52, -1022, np.float64), "f32": (23, -126, np.float32), "f16": (10, -14, np.float16),
         "bf16": (7, -126, np.float32)}


def give_up(reason):
    print(f"run.py: {reason}", file=sys.stderr)
    sys.exit(2)


MUST_BE_ASKED = ("activation", "renormalization", "average")


class Case:
    """What a function gets, its own to overwrite. `x`, `dy`, `gamma`, `beta`, `weights`, `direction`, `running_mean` and `running_variance` are
    numpy arrays, or None where the case has none; `batches` is the list x0, x1, .. of the operations `updates` and
    `population`. Everything else is as in index.json."""

    def __init__(self, entry, inputs):
        self.name, self.level, self.needs = entry["name"], entry["level"], entry["needs"]
        self.what, self.why = entry["what"], entry["why"]
        self.norm, self.operation, self.type = entry["norm"]["kind"], entry["operation"], entry["type"]
        self.axes, self.groups = entry["norm"].get("axes"), entry["norm"].get("groups")
        self.roles, self.epsilon = entry["roles"], entry["epsilon"]
        self.channel_axis = self.roles.index("channel")
        self.update, self.layers = entry.get("update"), entry.get("layers", 1)
        self.inputs = inputs
        # What a function must ask for: one that never does cannot have computed it, and is not judged where there is one.
        self._entry, self.unasked = entry, {name for name in MUST_BE_ASKED if entry.get(name) is not None}

    def _asked(self, name):
        self.unasked.discard(name)
        return self._entry.get(name)

    @property
    def activation(self):
        """What follows the normalisation: "relu" or None."""
        return self._asked("activation")

    @property
    def renormalization(self):
        """{"r_max": .., "d_max": ..} of batch renormalisation, or None."""
        return self._asked("renormalization")

    @property
    def average(self):
        """The running average, where it is not the exponential one: "debiased" or None."""
        return self._asked("average")

    def __getattr__(self, name):
        if name in ("x", "dy", "gamma", "beta", "weights", "direction", "running_mean", "running_variance"):
            return self.inputs.get(name)
        raise AttributeError(name)

    @property
    def batches(self):
        return [self.inputs[f"x{i}"] for i in range(len(self.inputs)) if f"x{i}" in self.inputs]

    def with_x(self, name):
        """The same case with another input as x."""
        other = copy.copy(self)
        other.inputs = {**self.inputs, "x": self.inputs[name]}
        other.name += ".twin"
        return other


def recipe_array(recipe, shape, dtype):
    """offset + scale * u, u the top 24 bits of SplitMix64's output number k, in f64, rounded to the type."""
    k = np.arange(1, np.prod(shape, dtype=np.int64) + 1, dtype=np.uint64)
    with np.errstate(over="ignore"):
        z = np.uint64(recipe["seed"]) + k * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    u = (z >> np.uint64(40)).astype(np.float64) / 2.0**24
    return (recipe["offset"] + recipe["scale"] * u).astype(dtype).reshape(shape)


def own_input(entry, array):
    array = array.copy()
    if "strides" not in entry:
        return array
    strides = [stride * array.itemsize for stride in entry["strides"]]
    start = array[entry["offset"]:]
    return np.lib.stride_tricks.as_strided(start, entry["shape"], strides, writeable=False)


def case_of(entry, arrays):
    """The case with arrays of its own: what one function does to them is no matter to the next."""
    return Case(entry, {name: own_input(own, arrays[name]) for name, own in entry["inputs"].items()})


def index_of(folder):
    """The entries of a folder's index, one for each case."""
    try:
        index = json.loads((folder / "index.json").read_text())
    except (OSError, ValueError) as error:
        give_up(f"--cases {folder}: expected a folder with index.json: {error}")
    if index["format"] != FORMAT:
        give_up(f"{folder}/index.json has format {index['format']}, expected {FORMAT}")
    return index["cases"]


def arrays_of(folder, entry):
    """The arrays of a case: of its .npz file, and of recipes."""
    with np.load(folder / entry["file"]) as archive:
        arrays = {name: archive[name] for name in archive.files}
    for name, own in entry["inputs"].items():
        if "recipe" in own:
            arrays[name] = recipe_array(own["recipe"], own["shape"], TYPES[entry["type"]][2])
    return arrays


def meant(name, names):
    """The name that may be meant by one that is none, in brackets; nothing if it cannot be told."""
    lowered = {other.lower(): other for other in names}
    near = difflib.get_close_matches(name.lower(), lowered, 1)
    return f" (is '{lowered[near[0]]}' meant?)" if near else ""


class Known:
    """What is known of all cases of a folder, whichever are run: how outputs are called, and whether a function answers any
    case like another one."""

    #: Cases that a function is asked at most, to see that it answers some.
    ASKED = 8

    def __init__(self, folder, entries):
        self.folder, self.entries, self.answered = folder, entries, {}
        self.outputs = sorted({name for entry in entries for name in entry["outputs"]})

    def misspelt(self, outputs):
        """Names that no output has, each with the one that is meant, if it can be told."""
        for name in sorted(str(name) for name in set(outputs) - set(self.outputs)):
            yield f"'{name}', which is no output's name{meant(name, self.outputs)}"

    def answers(self, function, entry):
        """Whether a function answers a case of the same norm and operation that has an answer: else what it refuses says
        nothing."""
        def kind(other):
            return other["norm"]["kind"], other["operation"]

        key = (id(function), kind(entry))
        if key not in self.answered:
            # What is easiest and smallest first.
            alike = [other for other in self.entries if kind(other) == kind(entry) and other["refusal"] == "no"]
            alike.sort(key=lambda other: (LEVELS.index(other["level"]), (self.folder / other["file"]).stat().st_size))
            self.answered[key] = any(self._answers(function, other) for other in alike[: self.ASKED])
        return self.answered[key]

    def _answers(self, function, entry):
        try:
            with np.errstate(all="ignore"):
                outputs = function(case_of(entry, arrays_of(self.folder, entry)))
            return any(value is not None for value in outputs.values())
        except Exception:  # noqa: BLE001
            return False


def ulp(magnitude, kind):
    """The distance between neighbours of a type, never below that of its smallest numbers."""
    bits, smallest, _ = TYPES[kind]
    exponent = np.maximum(np.frexp(magnitude)[1] - 1, smallest)
    return np.where(np.isfinite(magnitude), np.ldexp(1.0, np.where(magnitude == 0, smallest, exponent) - bits), np.inf)


def multiples(got, high, low, scale, bound, kind, slack):
    """Errors as multiples of the bound; infinite where there should be none."""
    unit = {"scale": lambda: scale, "relative": lambda: np.maximum(scale, np.abs(high)),
            "ulp": lambda: ulp(np.maximum(scale, np.abs(high)), kind), "equal": lambda: np.zeros_like(high)}
    same = (np.isnan(got) & np.isnan(high)) | (got == high) & np.isinf(high) | np.isinf(scale)
    odd = ~np.isfinite(got) | ~np.isfinite(high)
    error = np.maximum(np.abs((got - high) - low) - slack, 0)
    limit = bound["at_most"] * unit[bound["unit"]]() * np.ones_like(high)
    ratio = np.where(error == 0, 0.0, np.divide(error, limit, out=np.full_like(high, np.inf), where=limit > 0))
    return np.where(odd, np.where(same, 0.0, np.inf), ratio)


def error_of(name, got, entry, arrays):
    """The largest error of an output as a multiple of its bound."""
    high, scale = arrays[f"expected.{name}"], arrays[f"scale.{name}"]
    got = np.asarray(got)
    narrow = got.dtype if got.dtype in (np.float16, np.float32) else None
    overflows = np.float32 if got.dtype == np.float32 and entry["type"] != "f64" else np.float64
    got = got.astype(np.float64).ravel()
    if f"probes.{name}" in arrays:
        places = arrays[f"probes.{name}"].astype(np.int64)
        if got.size > places.max():
            got = got[places]  # (else it is to be the probed values alone)
    if got.size != high.size:
        raise ValueError(f"{got.size} values, expected {high.size}")
    got, scale = got.reshape(high.shape), np.broadcast_to(scale, high.shape)
    bound, kind = entry["outputs"][name], entry["type"]
    with np.errstate(invalid="ignore", over="ignore"):
        # What float32 cannot hold is infinite there.
        high = np.where(np.isinf(got), high.astype(overflows).astype(np.float64), high)
        # The bounds of mean and variance hold before they are rounded to where they are stored.
        stored = narrow and name in ("mean", "variance")
        slack = 0.5 * np.spacing(np.abs(high).astype(narrow)).astype(float) if stored else 0.0
        found = multiples(got, high, arrays.get(f"low.{name}", 0.0), scale, bound, kind, slack)
        if f"alternative.{name}" in arrays:
            found = np.minimum(found, multiples(got, arrays[f"alternative.{name}"], 0.0, scale, bound, kind, slack))
    return float(found.max(initial=0.0))


def bits_of(values, case, channels):
    """The bits of an output in some channels; every NaN is one."""
    values, shape = np.asarray(values).astype(np.float64), case.x.shape
    if values.size != shape[case.channel_axis]:
        values = np.moveaxis(values.reshape(shape), case.channel_axis, 0)
    chosen = np.ascontiguousarray(values.reshape(shape[case.channel_axis], -1)[channels])
    return np.where(np.isnan(chosen), np.uint64(0), chosen.view(np.uint64))


def other_bits(entry, arrays, outputs, function):
    """What differs for the twin of x."""
    twin = entry.get("twin")
    if twin is None:
        return None
    case = case_of(entry, arrays)
    others = function(case_of(entry, arrays).with_x(twin["x"]))
    for name in sorted(set(entry["outputs"]) & set(outputs)):
        one, other = (bits_of(own[name], case, twin["channels"]) for own in (outputs, others))
        count = int((one != other).sum())
        if count:
            return f"{name} has other bits than for the twin of x in {count} places"
    return None


def played_no_part(case, outputs):
    """Whether outputs are none of what the case's dy, or its update, is for."""
    of_dy = case.dy is not None and case.dy.shape != case.x.shape and not {"dx", "dgamma", "dbeta"} & set(outputs)
    return of_dy or "running" in case.needs and not {"running_mean", "running_variance"} & set(outputs)


def judge(entry, arrays, function, factor, known):
    """{"outcome": "passed" | "failed" | "refused" | "skipped", "reason", "errors": {output: error / bound}, "missing": [output]}"""
    case = case_of(entry, arrays)
    verdict = {"case": case.name, "level": case.level, "outcome": "passed", "reason": "", "errors": {}, "missing": []}

    def ends(outcome, reason=""):
        return {**verdict, "outcome": outcome, "reason": reason}

    try:
        with np.errstate(all="ignore"):
            outputs = {name: value for name, value in function(case).items() if value is not None}
    except NotImplementedError as error:
        return ends("skipped", str(error) or "not implemented")
    except Exception as error:  # noqa: BLE001 (whatever it refuses with)
        reason = f"refused: {first_line(error)}"
        if entry["refusal"] == "no":
            return ends("refused", reason)
        if not known.answers(function, entry):
            return ends("refused", f"{reason} (it answers no case of this kind, so that it refuses says nothing)")
        return ends("passed", reason)
    for name in sorted(case.unasked):
        return ends("skipped", f"the function does not ask for case.{name}, which is {entry[name]!r}")
    failures = [f"gives {name}" for name in known.misspelt(outputs)]
    if entry["refusal"] == "required":
        if failures:
            return ends("failed", "; ".join(failures))
        if not outputs or played_no_part(case_of(entry, arrays), outputs):
            return ends("skipped", "nothing came of what makes no sense")
        return ends("failed", "answered what makes no sense, expected a refusal")
    verdict["missing"] = [name for name in entry["outputs"] if name not in outputs]
    for name in entry["outputs"]:
        if name not in outputs:
            continue
        try:
            error = error_of(name, outputs[name], entry, arrays) / factor
        except Exception as error:  # noqa: BLE001 (whatever it is, it is no array of numbers)
            failures.append(f"{name}: expected an array of numbers, got {type(outputs[name]).__name__}: {first_line(error)}")
            continue
        verdict["errors"][name] = error
        if not error <= 1:
            failures.append(f"{name} {short(error)}")
    if not verdict["errors"] and not failures:
        return ends("skipped", "none of the expected outputs came")
    try:
        with np.errstate(all="ignore"):
            differs = other_bits(entry, arrays, outputs, function)
    except Exception as error:  # noqa: BLE001 (it answered x, and does not answer the twin)
        differs = f"for the twin of x: {first_line(error)}"
    failures += [differs] if differs else []
    return ends("failed", "; ".join(failures)) if failures else verdict


def first_line(error):
    line = str(error).strip().splitlines()
    return line[0] if line else repr(error)


def short(error):
    return "0" if error == 0 else f"{error:.3g}" if 1e-3 <= error < 1e4 else f"{error:.1e}"


def worst(verdict):
    """The largest error as a multiple of its bound; infinite where it is no error of a number that fails."""
    most = max(verdict["errors"].values(), default=np.inf)
    return most if most > 1 else np.inf


def find(what):
    """(name, version, function) of what the command line names."""
    folder = pathlib.Path(what)
    if folder.is_dir():
        def read(case):
            case.unasked.clear()  # the program that wrote the folder left out what it does not know
            path = folder / f"{case.name}.npz"
            if not path.exists():
                raise NotImplementedError("no file")
            with np.load(path) as archive:
                outputs = {name: archive[name] for name in archive.files}
            if not outputs:
                raise ValueError("an empty archive says so")
            return outputs
        return folder.name, "", read
    if ":" in what:
        module, name = what.split(":", 1)
        sys.path.insert(0, str(pathlib.Path.cwd()))
        try:
            module = importlib.import_module(module)
            return what, getattr(module, "__version__", ""), getattr(module, name)
        except (ImportError, AttributeError) as error:
            give_up(f"{what}: expected module:function (no .py behind the module): {error}")
    path = HERE / "adapters" / f"with_{what}.py"
    if not path.exists():
        known = ", ".join(sorted(p.stem.removeprefix("with_") for p in path.parent.glob("with_*.py")))
        give_up(f"'{what}' is none of {known}, no folder and no module:function")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except ImportError as error:
        give_up(f"{error}; pip install {what}")
    return what, module.VERSION, module.solve


def stray(what, entries):
    """A line on the files of a folder that belong to no case, or None."""
    names = [entry["name"] for entry in entries]
    names += [f"{entry['name']}.twin" for entry in entries if "twin" in entry]
    found = sorted(path.stem for path in pathlib.Path(what).glob("*.npz")) if pathlib.Path(what).is_dir() else []
    lost = [f"{name}.npz{meant(name, names)}" for name in found if name not in names]
    return f"belongs to no case: {', '.join(lost)}" if lost else None


def table(head, rows, markdown):
    rows = [[str(cell) for cell in row] for row in [head, *rows]]
    if markdown:
        lines = ["| " + " | ".join(row) + " |" for row in rows]
        return "\n".join([lines[0], "|" + "---|" * len(head), *lines[1:]])
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]
    return "\n".join([lines[0], "  ".join("-" * width for width in widths), *lines[1:]])


def counts(verdicts, markdown):
    rows = []
    for level in [*LEVELS, "all"]:
        own = [v for v in verdicts if level in (v["level"], "all")]
        failed = [worst(v) for v in own if v["outcome"] == "failed"]
        near = [sum(error <= most for error in failed) for most in (10, 1000)]
        rows.append([level, sum(v["outcome"] == "passed" for v in own), len(failed), near[0], near[1] - near[0],
                     len(failed) - near[1], *(sum(v["outcome"] == what for v in own) for what in ("refused", "skipped"))])
    head = ["level", "passed", "failed", "by up to 10x", "up to 1000x", "more or otherwise", "refused", "skipped"]
    return table(head, rows, markdown)


def missing(verdicts):
    """A line on outputs that were wanted and did not come, or None."""
    answered = [v for v in verdicts if v["errors"]]
    names = sorted({name for v in answered for name in v["missing"]})
    if not names:
        return None
    wanted = {name: sum(name in v["missing"] or name in v["errors"] for v in answered) for name in names}
    absent = {name: sum(name in v["missing"] for v in answered) for name in names}
    return "not judged, for it did not come: " + ", ".join(f"{n} in {absent[n]} of {wanted[n]} cases" for n in names)


def cell(verdict, alone):
    """In a table of several columns, reasons have no room."""
    short_forms = {"passed": "ok", "skipped": "-", "refused": "refused"}
    if verdict["outcome"] == "passed" or verdict["outcome"] != "failed" and not alone:
        return short_forms[verdict["outcome"]]
    return f"- ({verdict['reason']})" if verdict["outcome"] == "skipped" else verdict["reason"]


def finite(verdict):
    """For JSON, which has no infinity."""
    errors = {name: error if np.isfinite(error) else None for name, error in verdict["errors"].items()}
    return {**verdict, "errors": errors}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="+", help="numpy, torch, onnxruntime, exactly, module:function, or a folder")
    parser.add_argument("--cases", type=pathlib.Path, default=HERE, help="the folder with index.json")
    parser.add_argument("--only", default="", metavar="TEXT", help="cases whose name contains it")
    parser.add_argument("--level", choices=LEVELS)
    parser.add_argument("--factor", type=float, default=1.0, help="multiplies every bound")
    parser.add_argument("--verbose", action="store_true", help="every case, not only those that failed")
    parser.add_argument("--markdown", action="store_true", help="tables in Markdown")
    parser.add_argument("--json", action="store_true", help="the verdicts for a machine")
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # of divisions by zero and the like, which the cases are about
    found = [find(what) for what in options.what]
    columns = [[] for _ in found]
    entries = index_of(options.cases)
    known = Known(options.cases, entries)
    for entry in entries:
        if options.only not in entry["name"] or options.level not in (None, entry["level"]):
            continue
        arrays = arrays_of(options.cases, entry)
        for verdicts, (_, _, function) in zip(columns, found):
            verdicts.append(judge(entry, arrays, function, options.factor, known))
    if not columns[0]:
        give_up("no case is left by --only and --level")
    names = [" ".join(filter(None, [name, version])) for name, version, _ in found]
    if options.json:
        print(json.dumps({name: [finite(v) for v in verdicts] for name, verdicts in zip(names, columns)}))
    else:
        for what, name, verdicts in zip(options.what, names, columns):
            print(f"### {name}\n" if options.markdown else f"{name}:")
            print(counts(verdicts, options.markdown), end="\n\n")
            for line in filter(None, [missing(verdicts), stray(what, entries)]):
                print(line, end="\n\n")
        rows = [[own[0]["case"], own[0]["level"], *(cell(v, len(columns) == 1) for v in own)] for own in zip(*columns)
                if options.verbose or any(v["outcome"] in ("failed", "refused") for v in own)]
        if rows:
            print(table(["case", "level", *names], rows, options.markdown))
    outcomes = {v["outcome"] for verdicts in columns for v in verdicts}
    return 1 if outcomes & {"failed", "refused"} else 2 if outcomes == {"skipped"} else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BrokenPipeError:  # nobody reads on, as behind `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
