"""Tables of instruction counts: how they are written, read and compared."""

import csv
import io
import math

COLUMNS = ["case", "instructions", "per value"]


def text_of(about, counts):
    """A table as text. `about` says what was counted and by what, `counts` has (instructions, values) by case."""
    text = io.StringIO()
    for name, value in about.items():
        text.write(f"# {name}: {value}\n")
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(COLUMNS)
    for case, (instructions, values) in sorted(counts.items()):
        rows.writerow([case, instructions, f"{instructions / values:.3f}"])
    return text.getvalue()


def read(text):
    """(about, instructions by case) of a table; ValueError where it is none."""
    lines = text.splitlines()
    about = dict(line[2:].split(": ", 1) for line in lines if line.startswith("# "))
    rows = csv.reader(line for line in lines if not line.startswith("#"))
    if next(rows, None) != COLUMNS:
        raise ValueError(f"expected the columns {', '.join(COLUMNS)}")
    counts = {}
    for row in rows:
        if len(row) != len(COLUMNS) or not row[1].isdigit() or row[0] in counts:
            raise ValueError(f"expected a case that comes once and its count, found {','.join(row)}")
        counts[row[0]] = int(row[1])
    return about, counts


def percent(before, after):
    return math.inf if before == 0 < after else 0.0 if before == after else 100 * (after - before) / before


def compare(before, after, threshold):
    """(lines to print, whether the guard is content): that no case grew by more than `threshold` percent, and that both
    tables have the same cases."""
    common = sorted(before.keys() & after.keys(), key=lambda case: (-percent(before[case], after[case]), case))
    changed = [case for case in common if before[case] != after[case]]
    lines = []
    if changed:
        width = max(map(len, changed))
        lines.append(f"{'case':<{width}} {'before':>14} {'after':>14}")
    for case in changed:
        change = percent(before[case], after[case])
        mark = "  <- more" if change > threshold else ""
        lines.append(f"{case:<{width}} {before[case]:>14,} {after[case]:>14,} {change:>+9.2f} %{mark}")
    for name, some in (("before", before.keys() - after.keys()), ("after", after.keys() - before.keys())):
        lines += [f"{case}: counted {name} alone" for case in sorted(some)]
    grown = sum(percent(before[case], after[case]) > threshold for case in common)
    same = len(common) - len(changed)
    lines.append(f"{len(common)} cases: {same} the same, {len(changed)} changed, {grown} by more than +{threshold:g} %")
    if common and all(before[case] and after[case] for case in common):
        mean = math.exp(sum(math.log(after[case] / before[case]) for case in common) / len(common))
        lines.append(f"geometric mean: {100 * (mean - 1):+.2f} %")
    return lines, bool(common) and not grown and before.keys() == after.keys()


def self_test():
    """Planted tables, each judged as planted. Returns how many."""
    same = {"a": 1000, "b": 50}
    cases = [
        ("the same", same, same, 2, True, "2 cases: 2 the same, 0 changed, 0 by more than +2 %"),
        ("within the threshold", same, {"a": 1020, "b": 50}, 2, True, "a          1,000          1,020     +2.00 %"),
        ("beyond it", same, {"a": 1021, "b": 50}, 2, False, "a          1,000          1,021     +2.10 %  <- more"),
        ("beyond another threshold", same, {"a": 1020, "b": 50}, 1, False,
         "2 cases: 1 the same, 1 changed, 1 by more than +1 %"),
        ("a threshold of nothing", same, {"a": 1001, "b": 50}, 0, False,
         "a          1,000          1,001     +0.10 %  <- more"),
        ("less is no regression", same, {"a": 500, "b": 50}, 2, True, "a          1,000            500    -50.00 %"),
        ("one that grows is not hidden by one that shrinks", same, {"a": 100, "b": 60}, 2, False,
         "b             50             60    +20.00 %  <- more"),
        ("the mean is geometric", same, {"a": 2000, "b": 25}, 200, True, "geometric mean: +0.00 %"),
        ("a case that is gone", same, {"a": 1000}, 2, False, "b: counted before alone"),
        ("a case nobody has recorded", same, {**same, "c": 1}, 2, False, "c: counted after alone"),
        ("from nothing", {"a": 0}, {"a": 1}, 2, False, "a              0              1      +inf %  <- more"),
        ("no case at all", {}, {}, 2, False, "0 cases: 0 the same, 0 changed, 0 by more than +2 %"),
    ]
    for name, before, after, threshold, content, line in cases:
        lines, found = compare(before, after, threshold)
        assert found == content, f"{name}: content is {found}"
        assert line in lines, f"{name}: no line {line!r} in {lines}"
    about = {"commit": "0123abc", "rustc": "rustc 1.95.0: planted"}
    text = text_of(about, {"b": (50, 100), "a": (1000, 100)})
    assert text.endswith("\ncase,instructions,per value\na,1000,10.000\nb,50,0.500\n"), text
    assert read(text) == (about, same), read(text)
    broken = ["", "case,instructions\na,1\n", text + "a,1000,10.000\n", text + "c,1.5,1\n", text + "c,1\n"]
    for wrong in broken:
        try:
            read(wrong)
        except ValueError:
            continue
        raise AssertionError(f"read without complaint: {wrong!r}")
    return len(cases) + 1 + len(broken)
