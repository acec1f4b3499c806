"""Models that are hostile to whoever runs them, and data that are: what `scripts/hostile-runs` runs, made of the pieces of `scripts/hostile`.

A model takes x [1, 3, 4, 4], and has a Conv, mostly something odd behind it, and a norm. What is odd may be refused by whoever comes to it
first: the reader, what writes a model for the engine, the engine when it loads the model or when it runs it.
"""

import importlib.machinery
import importlib.util
import io
import pathlib
import struct
import zipfile

_loader = importlib.machinery.SourceFileLoader("hostile", str(pathlib.Path(__file__).with_name("hostile")))
hostile = importlib.util.module_from_spec(importlib.util.spec_from_loader("hostile", _loader))
_loader.exec_module(hostile)
from_hostile = ("FUNCTION INPUT NODE OUTPUT PARAMETERS TENSOR TERMINAL VECTOR attribute field floats lengths model nested node norm tensor usual "
                "value varint").split()
globals().update({name: getattr(hostile, name) for name in from_hostile})

# What a line must say where memory is what is lacking.
MEMORY = "bytes of memory"
NAN, INFINITE = float("nan"), float("inf")
given = lambda name, *numbers, dims=None: field(TENSOR, tensor(name, (len(numbers),) if dims is None else dims, struct.pack(f"<{len(numbers)}q", *numbers), 7))
given_floats = lambda name, *numbers, dims=None: field(TENSOR, tensor(name, (len(numbers),) if dims is None else dims, floats(*numbers)))
truth = lambda name, value: field(TENSOR, tensor(name, (), bytes([value]), 9))
ints = lambda name, *numbers: field(5, field(1, name) + b"".join(field(8, number) for number in numbers) + field(20, 7))
whole = lambda name, number: field(5, field(1, name) + field(3, number) + field(20, 2))
words = lambda name, said: field(5, field(1, name) + field(4, said) + field(20, 3))
real = lambda name, number: field(5, field(1, name) + field(2, number) + field(20, 1))
graph_of = lambda name, graph: field(5, field(1, name) + field(6, graph) + field(20, 5))
# A value of whatever type and shape: of a graph within, whose shapes nobody has to say; and of numbers of a type.
bare = lambda name: field(1, name)
typed = lambda name, dims, element: field(1, name) + field(2, field(1, field(1, element) + field(2, lengths(dims))))


def odd(operator, *inputs, attributes=b"", more=b"", of="c", outputs=("q",), **options):
    """A model with a node behind the Conv, and the norm behind that."""
    inputs = [of, *inputs] if of else inputs
    return usual(more + node(operator, inputs, outputs, attributes), norm("", ("q", *PARAMETERS)), **options)


def made(operator, *inputs, attributes=b"", more=b""):
    """A model with a node that takes constants alone, and whose value is an output."""
    return usual(more + node(operator, inputs, ["q"], attributes) + field(OUTPUT, bare("q")))


def of_layers():
    """Operators with kernels, and what they are told."""
    conv = lambda attributes, **tensors: usual(conv=node("Conv", ["x", "w"], ["c"], attributes), **tensors)
    for name, attributes in [
        ("stride-0", ints("strides", 0, 0)), ("stride-2-62", ints("strides", 2**62, 2**62)), ("stride-negative", ints("strides", -1, -1)),
        ("strides-of-1-axis", ints("strides", 1)), ("strides-of-9-axes", ints("strides", *[1] * 9)), ("dilation-0", ints("dilations", 0, 0)),
        ("dilation-2-31", ints("dilations", 2**31 - 1, 2**31 - 1)), ("dilation-2-62", ints("dilations", 2**62, 2**62)),
        ("dilation-negative", ints("dilations", -1, -1)), ("group-0", whole("group", 0)), ("group-2", whole("group", 2)),
        ("group-2-62", whole("group", 2**62)), ("group-negative", whole("group", -1)), ("pads-negative", ints("pads", -9, -9, -9, -9)),
        ("pads-2-31", ints("pads", *[2**31 - 1] * 4)), ("pads-2-62", ints("pads", *[2**62] * 4)), ("pads-20000", ints("pads", *[20_000] * 4)),
        ("pads-of-3", ints("pads", 1, 1, 1)), ("kernel-0", ints("kernel_shape", 0, 0)), ("kernel-of-another-shape", ints("kernel_shape", 9, 9)),
        ("auto-pad-unknown", words("auto_pad", "NOWHERE")), ("auto-pad-same-stride-0", words("auto_pad", "SAME_UPPER") + ints("strides", 0, 0)),
    ]:
        yield f"conv-{name}", conv(attributes)
    for name, dims in [
        ("0", (3, 3, 0, 0)), ("of-no-input", (3, 0, 1, 1)), ("of-no-output", (0, 3, 1, 1)), ("of-2-axes", (3, 3)), ("of-0-axes", ()),
        ("of-7-axes", (3, 3, 1, 1, 1, 1, 1)), ("of-9-inputs", (3, 9, 1, 1)), ("99", (3, 3, 99, 99)),
    ]:
        count = 4
        for length in dims:
            count *= length
        yield f"conv-weights-{name}", usual(w=tensor("w", dims, bytes(count)))
    yield "conv-weights-nan", usual(w=tensor("w", (3, 3, 1, 1), floats(*[NAN] * 9)))
    yield "conv-weights-infinite", usual(w=tensor("w", (3, 3, 1, 1), floats(*[INFINITE] * 9)))
    yield "conv-weights-huge", usual(w=tensor("w", (3, 3, 1, 1), floats(*[3e38] * 9)))
    yield "conv-weights-computed", usual(node("Identity", ["w"], ["u"]), conv=node("Conv", ["x", "u"], ["c"]))
    transposed = lambda attributes: odd("ConvTranspose", "u", attributes=attributes, more=given_floats("u", *[1.0] * 81, dims=(3, 3, 3, 3)))
    for name, attributes in [
        ("stride-0", ints("strides", 0, 0)), ("stride-20000", ints("strides", 20_000, 20_000)), ("stride-2-31", ints("strides", 2**31 - 1, 2**31 - 1)),
        ("stride-2-62", ints("strides", 2**62, 2**62)), ("pads-100", ints("pads", *[100] * 4)), ("output-padding-2-62", ints("output_padding", 2**62, 2**62)),
        ("output-shape-negative", ints("output_shape", -1, -1)), ("output-shape-2-31", ints("output_shape", 2**31, 2**31)),
        ("group-0", whole("group", 0)), ("dilation-2-31", ints("dilations", 2**31, 2**31)),
    ]:
        yield f"transposed-{name}", transposed(attributes)
    for operator in "MaxPool", "AveragePool":
        for name, attributes in [
            ("kernel-0", ints("kernel_shape", 0, 0)), ("kernel-2-62", ints("kernel_shape", 2**62, 2**62)), ("kernel-none", b""),
            ("kernel-negative", ints("kernel_shape", -2, -2)), ("stride-0", ints("kernel_shape", 2, 2) + ints("strides", 0, 0)),
            ("pads-2-62", ints("kernel_shape", 2, 2) + ints("pads", *[2**62] * 4)), ("pads-negative", ints("kernel_shape", 2, 2) + ints("pads", *[-3] * 4)),
            ("dilation-2-62", ints("kernel_shape", 2, 2) + ints("dilations", 2**62, 2**62)), ("kernel-99", ints("kernel_shape", 99, 99)),
            ("kernel-of-5-axes", ints("kernel_shape", 2, 2, 2, 2, 2)), ("stride-0-ceil", ints("kernel_shape", 2, 2) + ints("strides", 0, 0) + whole("ceil_mode", 1)),
        ]:
            yield f"{operator.lower()}-{name}", odd(operator, attributes=attributes)
    empty = given("b0", 0, 0) + given("axes", 2, 3) + node("Slice", ["c", "b0", "b0", "axes"], ["e"])
    yield from ((f"{operator.lower()}-of-no-pixels", odd(operator, of="e", more=empty)) for operator in ("GlobalAveragePool", "GlobalMaxPool"))
    yield "gemm-of-other-shapes", odd("Gemm", "w")
    yield "matmul-of-other-shapes", odd("MatMul", "s")
    yield "lstm-hidden-0", odd("LSTM", "w", "w", attributes=whole("hidden_size", 0), outputs=("", "q"))
    yield "lstm-hidden-2-62", odd("LSTM", "w", "w", attributes=whole("hidden_size", 2**62), outputs=("", "q"))
    yield "einsum-without-an-equation", odd("Einsum")
    yield from ((f"einsum-{at}", odd("Einsum", attributes=words("equation", said))) for at, said in enumerate(["", "->", "abcd->z", "a...b->", "é", "abcd->abcd" * 9999]))


def of_shapes():
    """Operators that are told a shape, or places."""
    for name, dims in [("2-40", [2**40]), ("2-31", [2**31]), ("2-62-twice", [2**62, 2**62]), ("2-32-twice", [2**32, 2**32]), ("negative", [-5]),
                       ("of-100-axes", [1] * 100), ("2-33-of-0", [0, 2**33, 2**33])]:
        yield f"filled-{name}", made("ConstantOfShape", "n", more=given("n", *dims)), MEMORY if name == "2-40" else ""
    pieces = b"".join(node("ConstantOfShape", ["n"], [f"p{at}"]) for at in range(4)) + given("n", 2**28)
    yield "filled-2-28-four-times", usual(pieces + node("Sum", [f"p{at}" for at in range(4)], ["q"]) + field(OUTPUT, bare("q"))), MEMORY
    pieces = b"".join(node("ConstantOfShape", ["n"], [f"p{at}"]) + field(OUTPUT, bare(f"p{at}")) for at in range(40)) + given("n", 2**22)
    yield "filled-2-22-forty-outputs", usual(pieces), MEMORY
    yield "filled-and-added-to-data", odd("Add", "q0", more=given("n", 1, 3, 2**20, 2**10) + node("ConstantOfShape", ["n"], ["q0"])), MEMORY
    for name, dims in [("2-40", [2**40, 1, 1, 1, 1]), ("2-31", [2**31, 1, 1, 1, 1]), ("overflow", [2**31 - 1] * 4 + [1] * 4), ("negative", [-1] * 4), ("0", [0, 3, 4, 4])]:
        yield f"expand-{name}", odd("Expand", "n", more=given("n", *dims))
        yield f"tile-{name}", odd("Tile", "n", more=given("n", *dims[-4:]))
        yield f"reshape-{name}", odd("Reshape", "n", more=given("n", *dims))
    yield "tile-20000", odd("Tile", "n", more=given("n", 1, 1, 20_000, 20_000)), MEMORY
    yield "expand-2-29", odd("Expand", "n", more=given("n", 2**25, 1, 1, 1, 1)), MEMORY
    for name, dims in [("minus-2", [-2, 3]), ("minus-1-twice", [-1, -1]), ("of-nothing", []), ("0-of-a-missing-axis", [0] * 9), ("minus-1-and-0", [-1, 0])]:
        yield f"reshape-{name}", odd("Reshape", "n", more=given("n", *dims))
    yield "reshape-by-data", odd("Reshape", "c")
    for name, scales in [("1e9", [1, 1, 1e9, 1e9]), ("20000", [1, 1, 2e4, 2e4]), ("0", [1, 1, 0, 0]), ("negative", [1, 1, -1, -1]), ("nan", [1, 1, NAN, NAN]),
                         ("infinite", [1, 1, INFINITE, 1]), ("of-2-axes", [2, 2])]:
        yield f"resize-{name}", odd("Resize", "", "f", more=given_floats("f", *scales)), MEMORY if name == "20000" else ""
    for name, sizes in [("2-31", [1, 3, 2**31, 1]), ("negative", [1, 3, -4, 4]), ("0", [1, 3, 0, 0])]:
        yield f"resize-sizes-{name}", odd("Resize", "", "", "n", more=given("n", *sizes))
    for name, pads in [("2-31", [0] * 7 + [2**31 - 1]), ("2-62", [0] * 7 + [2**62]), ("negative", [-9] * 8), ("of-3", [1, 1, 1]), ("20000", [0, 0, 20_000, 20_000] * 2)]:
        yield f"pad-{name}", odd("Pad", "n", more=given("n", *pads))
        yield f"pad-reflect-{name}", odd("Pad", "n", more=given("n", *pads), attributes=words("mode", "reflect"))
    for name, start, end, axis, step in [("to-no-samples", 0, 0, 0, 1), ("to-no-channels", 0, 0, 1, 1), ("to-no-pixels", 0, 0, 2, 1), ("axis-99", 0, 1, 99, 1),
                                         ("axis-negative", 0, 1, -99, 1), ("step-0", 0, 4, 2, 0), ("step-lowest", 4, 0, 2, -2**63), ("far", -2**63, 2**63 - 1, 2, 1)]:
        more = b"".join(given(*pair) for pair in [("n0", start), ("n1", end), ("n2", axis), ("n3", step)])
        yield f"slice-{name}", odd("Slice", "n0", "n1", "n2", "n3", more=more)
    no_vectors = {name: tensor(name, (0,), b"") for name in PARAMETERS}
    none = given("n0", 0) + given("n1", 1) + node("Slice", ["c", "n0", "n0", "n1"], ["q"])
    beside = b"".join(field(TENSOR, tensor(f"{name}0", (0,), b"")) for name in PARAMETERS)
    yield "norm-of-no-channels", usual(none, norm("", ("q", *PARAMETERS)), **no_vectors)
    yield "norm-of-no-channels-beside-a-good-one", usual(none + beside + field(OUTPUT, bare("q2")) + node("BatchNormalization", ["q", *(f"{name}0" for name in PARAMETERS)], ["q2"]))
    for name, place in [("9", 9), ("lowest", -2**63), ("highest", 2**63 - 1)]:
        yield f"gather-{name}", odd("Gather", "n", more=given("n", place, place), attributes=whole("axis", 1))
    yield "gather-of-no-samples", odd("Gather", "n", more=given("n"))
    yield "gather-axis-99", odd("Gather", "n", more=given("n", 0), attributes=whole("axis", 99))
    yield "gather-nd-out-of-range", odd("GatherND", "n", more=given("n", 9, 9, 9, 9, dims=(1, 4)))
    yield "scatter-nd-out-of-range", odd("ScatterND", "n", "u", more=given("n", 9, 9, 9, 9, dims=(1, 4)) + given_floats("u", 1))
    yield "scatter-elements-out-of-range", odd("ScatterElements", "n", "u", more=given("n", 99, dims=(1,) * 4) + given_floats("u", 1, dims=(1,) * 4))
    yield from ((f"top-{count}", odd("TopK", "n", more=given("n", count), outputs=("q", "i"))) for count in (-1, 0, 5, 2**40))
    yield from ((f"{operator.lower()}-axis-99", odd(operator, attributes=whole("axis", 99))) for operator in ("Softmax", "Flatten", "Concat", "LayerNormalization", "ArgMax"))
    yield "concat-axis-lowest", odd("Concat", "c", attributes=whole("axis", -2**63))
    yield from ((f"transpose-{at}", odd("Transpose", attributes=ints("perm", *order))) for at, order in enumerate([(0,), (0, 0, 1, 1), (0, 1, 2, 9), (-1, 1, 2, 3)]))
    yield from ((f"{operator.lower()}-{name}", odd(operator, "n", more=given("n", *axes))) for operator in ("Squeeze", "Unsqueeze", "ReduceMean")
                for name, axes in [("axis-99", (99,)), ("axis-lowest", (-2**63,)), ("axis-twice", (2, 2)), ("no-axis", ()), ("100000-axes", [0] * 100_000)])
    yield from ((f"split-{at}", odd("Split", "n", more=given("n", *sizes), attributes=whole("axis", 1), outputs=("q", "p"))) for at, sizes in enumerate([(9, 9), (-1, 4), (2**62, 2**62), ()]))
    yield "split-into-none", odd("Split", attributes=whole("num_outputs", 0))
    yield from ((f"depth-to-space-{size}", odd("DepthToSpace", attributes=whole("blocksize", size))) for size in (0, -1, 2**62, 2**32))
    yield "one-hot-2-40", made("OneHot", "n", "n1", "f", more=given("n", 1) + given("n1", 2**40) + given_floats("f", 0, 1))
    yield from ((f"range-{name}", made("Range", "n0", "n1", "n2", more=b"".join(given(f"n{at}", number, dims=()) for at, number in enumerate(numbers))))
                for name, numbers in [("2-40", (0, 2**40, 1)), ("step-0", (0, 9, 0)), ("2-30", (0, 2**30, 1)), ("backwards", (0, -2**62, -1))])
    yield "range-of-small-steps", made("Range", "n0", "n1", "n2", more=b"".join(given_floats(f"n{at}", number, dims=()) for at, number in enumerate((0, 1, 1e-30))))
    yield "eye-2-40", made("EyeLike", "n", more=node("ConstantOfShape", ["n0"], ["n"]) + given("n0", 2**16, 2**16))
    yield "non-zero-of-data", odd("NonZero")
    yield "trilu-2-62", odd("Trilu", "n", more=given("n", 2**62, dims=()))
    yield "cumsum-axis-99", odd("CumSum", "n", more=given("n", 99, dims=()))
    yield "doubling-sixty-times", usual(b"".join(node("Concat", [f"p{at}" if at else "c"] * 2, [f"p{at + 1}"], whole("axis", 0)) for at in range(60)), norm("", ("p60", *PARAMETERS))), MEMORY


def of_graphs():
    """Graphs that do not end, or in which something does not fit."""
    # What a body of a Loop takes and gives: a number of the round, whether it goes on, and a value.
    body = lambda nodes, outputs: b"".join(field(INPUT, bare(name)) for name in ("i", "t", "a")) + nodes + b"".join(field(OUTPUT, bare(name)) for name in outputs)
    count = given("n", 2**62, dims=()) + truth("yes", 1)
    loop = lambda body, trips="n", outputs=("q",): usual(count + node("Loop", [trips, "yes", "c"], outputs, graph_of("body", body)), norm("", ("q", *PARAMETERS)))
    forever = body(node("Identity", ["t"], ["t2"]) + node("Relu", ["a"], ["a2"]), ("t2", "a2"))
    yield "loop-2-62", loop(forever), "endless"
    yield "loop-without-a-count", loop(forever, ""), "endless"
    yield "loop-of-constants-2-62", usual(count + node("Loop", ["n", "yes", "s"], ["q"], graph_of("body", forever)) + field(OUTPUT, bare("q"))), "endless"
    yield "loop-that-doubles", loop(body(node("Identity", ["t"], ["t2"]) + node("Concat", ["a", "a"], ["a2"], whole("axis", 0)), ("t2", "a2"))), MEMORY
    yield "loop-that-gathers", loop(body(node("Identity", ["t"], ["t2"]) + node("Identity", ["a"], ["a2"]) + node("Identity", ["a"], ["z"]), ("t2", "a2", "z")), outputs=("q", "all")), MEMORY
    yield "loop-of-few-outputs", loop(body(node("Identity", ["t"], ["t2"]), ("t2",)))
    yield "loop-without-a-body", odd("Loop", "yes", "c", of="n", more=given("n", 1, dims=()) + truth("yes", 1))
    identity = lambda name: node("Identity", ["c"], [name]) + field(OUTPUT, bare(name))
    leaf = deep = identity("b")
    for at in range(40):
        deep = node("If", ["yes"], [f"d{at}"], graph_of("then_branch", deep) + graph_of("else_branch", identity(f"e{at}"))) + field(OUTPUT, bare(f"d{at}"))
    yield "if-40-deep", odd("If", of="yes", more=truth("yes", 1), attributes=graph_of("then_branch", deep) + graph_of("else_branch", leaf))
    yield "if-by-data", odd("If", attributes=graph_of("then_branch", leaf) + graph_of("else_branch", leaf))
    yield "if-without-branches", odd("If", of="yes", more=truth("yes", 1))
    yield "if-of-no-outputs", odd("If", of="yes", more=truth("yes", 1), attributes=graph_of("then_branch", b"") + graph_of("else_branch", b""))
    # (Names of one length, so that all these nodes are one but for the numbers.)
    link = node("Identity", ["i" + "A" * 7], ["i" + "B" * 7]).replace(b"A" * 7, b"%07x").replace(b"B" * 7, b"%07x")
    for count in 20_000, 200_000, 1_000_000:
        chain = node("Identity", ["c"], ["i" + "0" * 7]) + b"".join(link % (at, at + 1) for at in range(count - 1))
        yield f"chain-of-{count}-identities", usual(chain, norm("", (f"i{count - 1:07x}", *PARAMETERS)))
    following = lambda count: b"".join(norm(f"{at + 1}", (f"y{at}", *PARAMETERS)) for at in range(count))
    yield "norms-300-one-behind-another", usual(norm("0") + following(300), b"", "y300")
    yield "norms-3000-one-behind-another", usual(norm("0") + following(3000), b"", "y3000"), "slow"
    yield "outputs-100000", usual(b"".join(node("Relu", ["c"], [f"r{at:x}"]) + field(OUTPUT, bare(f"r{at:x}")) for at in range(100_000)))
    yield "outputs-2000", usual(b"".join(node("Relu", ["c"], [f"r{at:x}"]) + field(OUTPUT, bare(f"r{at:x}")) for at in range(2000)))
    # Operators that there are not; types that are no arrays of numbers.
    yield "operator-unknown", odd("NotAnOperator")
    yield "domain-unknown", odd("Relu", attributes=field(7, "example.com"))
    yield "domain-of-a-terminal", odd(TERMINAL, attributes=field(7, TERMINAL))
    yield "operator-name-1MB", odd("R" * 1_000_000)
    yield from ((f"opset-{opset}", usual(opset=opset)) for opset in (1, 5, 99, 2**31 - 1))
    yield "sequence-as-an-output", odd("SequenceConstruct")
    yield "sequence-empty", odd("SequenceEmpty", of=None)
    yield "sequence-at-99", odd("SequenceAt", "n", of="l", more=node("SequenceConstruct", ["c"], ["l"]) + given("n", 99, dims=()))
    yield "text-as-an-output", usual(field(TENSOR, tensor("text", (1,), None, 8, field(6, "a"))) + node("Identity", ["text"], ["q"]) + field(OUTPUT, bare("q")))
    yield from ((f"cast-to-{kind}", odd("Cast", attributes=whole("to", kind))) for kind in (0, 8, 9, 10, 14, 99, 2**40))
    yield "comparison-before-the-norm", odd("Greater", "c")
    yield "random-2-40", made("RandomNormal", attributes=ints("shape", 2**40))
    yield "output-is-an-input", usual(output="x")
    yield "output-is-a-constant", usual(output="s")
    yield "outputs-none", usual(output="")
    yield "output-alike-twice", usual(field(OUTPUT, value("y")))
    yield "attributes-of-other-types", usual(conv=node("Conv", ["x", "w"], ["c"], words("strides", "two") + real("group", NAN)))
    yield "inputs-too-many", odd("Relu", *["c"] * 1000)
    yield "node-named-as-another-value", usual(node("Relu", ["c"], ["q"], name="w") + node("Relu", ["q"], ["q2"], name="c"), norm("", ("q2", *PARAMETERS), name="q"))
    yield "inputs-none", odd("Relu", of=None)
    yield "outputs-too-many", odd("Relu", outputs=["q", *(f"q{at}" for at in range(1000))])


def of_norms():
    """Norms and their numbers, and what the model says of its input."""
    vectors = lambda *numbers, **others: {name: tensor(name, (len(numbers),), floats(*numbers)) for name in PARAMETERS} | others
    vector = lambda name, *numbers: {name: tensor(name, (len(numbers),), floats(*numbers))}
    for name, numbers in [("nan", (NAN,) * 3), ("infinite", (INFINITE,) * 3), ("negative", (-1, -2, -3)), ("0", (0, 0, 0)), ("huge", (3e38,) * 3), ("tiny", (1e-45,) * 3)]:
        yield f"variance-{name}", usual(**vector("v", *numbers))
        yield f"mean-{name}", usual(**vector("m", *numbers))
        yield f"scale-{name}", usual(**vector("s", *numbers))
    yield "vectors-5-of-3-channels", usual(**vectors(1, 2, 3, 4, 5))
    yield "vectors-1-of-3-channels", usual(**vectors(1))
    yield "vectors-of-2-axes", usual(**{name: tensor(name, (3, 1)) for name in PARAMETERS})
    yield "scale-longer", usual(**vector("s", 1, 2, 3, 4, 5))
    yield "vectors-100000-of-3-channels", usual(**{name: tensor(name, (100_000,), bytes(400_000)) for name in PARAMETERS})
    pairs = b"".join(node("Mul", ["c", "big"], [f"m{at:x}"]) + node("Add", [f"m{at:x}", "big"], [f"a{at:x}"]) for at in range(5000))
    yield "frozen-5000-share-1MB", usual(pairs + field(TENSOR, tensor("big", (1, 1 << 18, 1, 1), bytes(1 << 20))), w=tensor("w", (1 << 18, 3, 1, 1), bytes(12 << 18)))
    training = whole("training_mode", 1)
    for count in 0, 1, 3, 5, 9:
        outputs = ["y", *(f"o{at}" for at in range(1, count))][:count]
        yield f"training-outputs-{count}", usual(last=node("BatchNormalization", ["c", *PARAMETERS], outputs, training), output="y" if count else "c")
    yield "training-statistics-computed", usual(node("Relu", ["m"], ["m2"]), norm("", ("c", "s", "b", "m2", "v"), attributes=training))
    yield "statistics-computed", usual(node("Relu", ["m"], ["m2"]), norm("", ("c", "s", "b", "m2", "v")))
    yield "statistics-of-data", usual(norm("0") + node("ReduceMean", ["c", "n"], ["m2"], whole("keepdims", 0)) + given("n", 0, 2, 3), norm("", ("c", "s", "b", "m2", "v")))
    yield "norm-of-constants", usual(norm("", ("w", *PARAMETERS)), b"")
    yield "norm-of-a-number", usual(norm("", ("f", *PARAMETERS)) + given_floats("f", 1, dims=()), b"")
    yield "epsilon-nan", usual(last=norm(attributes=real("epsilon", NAN)))
    yield "epsilon-negative", usual(last=norm(attributes=real("epsilon", -9.0)), **vector("v", 1, 1, 1))
    yield "norm-of-2-axes", usual(node("ReduceMean", ["c", "n"], ["q"], whole("keepdims", 0)) + given("n", 2, 3), norm("", ("q", *PARAMETERS)))
    yield "norm-without-samples", usual(node("ReduceMean", ["c", "n"], ["q"]) + given("n", 0), norm("", ("q", *PARAMETERS)))
    # The usual model with an input of another kind, or none.
    parts = b"".join(field(TENSOR, tensor(name)) for name in PARAMETERS) + field(TENSOR, tensor("w", (3, 3, 1, 1), bytes(36))) + field(OUTPUT, value("y"))
    of_input = lambda given, first="x": model(given + parts + node("Conv", [first, "w"], ["c"]) + norm())
    x = lambda content: of_input(field(INPUT, content))
    for name, dims in [("0", (1, 0, 4, 4)), ("negative", (1, -3, 4, 4)), ("2-62", (1, 2**62, 4, 4)), ("2-32-twice", (1, 2**32, 2**32, 1)), ("of-no-axes", ()), ("of-1-axis", (3,)),
                       ("of-1000-axes", (1,) * 1000), ("2-30", (1, 3, 2**15, 2**15)), ("first-2-62", (2**62, 3, 4, 4)), ("first-0", (0, 3, 4, 4)), ("first-negative", (-7, 3, 4, 4))]:
        yield f"input-{name}", x(value("x", dims))
    yield from ((f"input-of-type-{kind}", x(typed("x", (1, 3, 4, 4), kind))) for kind in (0, 7, 8, 9, 10, 11, 14, 99))
    yield "input-of-100000-axes", x(value("x", [1] * 100_000))
    yield "input-named-1MB", of_input(field(INPUT, value("x" * 1_000_000, (1, 9, 4, 4))), "x" * 1_000_000)
    yield "inputs-3000", of_input(field(INPUT, value("x")) + b"".join(field(INPUT, value(f"x{at}")) for at in range(3000)))
    long = "l" * 1_000_000
    yield "value-named-1MB-of-no-samples", usual(node("ReduceMean", ["c", "n"], [long]) + given("n", 0), norm("", (long, *PARAMETERS)))
    yield "input-without-a-type", x(bare("x"))
    yield "inputs-two", usual(field(INPUT, value("x2")))
    yield "inputs-none-at-all", of_input(b"", "w")
    yield "input-is-no-longer-used", usual(conv=node("Identity", ["w"], ["c"]))


def models():
    """Names, bytes, and what a line must say of them."""
    for of in of_layers, of_shapes, of_graphs, of_norms:
        for name, content, *said in of():
            yield name, content, (said or [""])[0]


def npy(dims, numbers=b"", kind="<f4", order="False"):
    dims = "".join(f"{length}, " for length in dims)
    header = f"{{'descr': '{kind}', 'fortran_order': {order}, 'shape': ({dims}), }}"
    header += " " * (63 - (len(header) + 10) % 64) + "\n"
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header.encode("latin-1", "replace") + numbers


def npz(*arrays, packed=False):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED) as file:
        for name, content in arrays:
            file.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED)
    return out.getvalue()


# Two samples for the models here.
GOOD = npy((2, 3, 4, 4), floats(*[at / 7 for at in range(96)]))


def data():
    """Names of files, and bytes."""
    numbers = GOOD[-384:]
    header = lambda text: b"\x93NUMPY\1\0" + struct.pack("<H", len(text)) + text
    yield from [
        ("samples-0.npy", npy((0, 3, 4, 4))), ("channels-0.npy", npy((2, 0, 4, 4))), ("one-number.npy", npy((), numbers[:4])), ("empty.npy", b""),
        ("truncated.npy", GOOD[:-100]), ("truncated-header.npy", GOOD[:20]), ("longer.npy", GOOD + bytes(9)), ("ff.npy", b"\xff" * 400),
        ("shape-2-62.npy", npy((2**62, 3, 4, 4), numbers)), ("shape-overflows.npy", npy((2**32, 2**32), numbers)), ("shape-2-65.npy", npy((2**65,), numbers)),
        ("shape-negative.npy", npy((-2, 3, 4, 4), numbers)), ("axes-9000.npy", npy((1,) * 9000, numbers)), ("other-shape.npy", npy((2, 5, 4, 4), floats(*range(160)))),
        ("nan.npy", npy((2, 3, 4, 4), floats(*[NAN] * 96))), ("infinite.npy", npy((2, 3, 4, 4), floats(*[INFINITE] * 96))), ("huge.npy", npy((2, 3, 4, 4), floats(*[3e38] * 96))),
        ("doubles-beyond-f32.npy", npy((2, 3, 4, 4), struct.pack("<96d", *[1e300] * 96), "<f8")), ("objects.npy", npy((2, 3, 4, 4), numbers, "|O")),
        ("texts.npy", npy((2, 3, 4, 4), numbers, "<U1")), ("kind-of-a-terminal.npy", npy((2, 3, 4, 4), numbers, "\x1b[31m")), ("fortran.npy", npy((2, 3, 4, 4), numbers, order="True")),
        ("header-of-parentheses.npy", header(b"{'shape': " + b"(" * 60_000)), ("header-of-nulls.npy", header(bytes(60_000))), ("version-9.npy", b"\x93NUMPY\x09\0" + GOOD[8:]),
        ("of-4GiB-sparse.npy", npy((2**25, 3, 4, 4))), ("empty.npz", npz()), ("ff.npz", b"PK" + b"\xff" * 400), ("one.npz", npz(("x.npy", GOOD))),
        ("other-name.npz", npz(("z.npy", GOOD), ("w.npy", GOOD))), ("name-of-a-terminal.npz", npz(("\x1b[31m.npy", GOOD), ("x.npy", GOOD))),
        ("arrays-20000.npz", npz(*((f"{at}.npy", npy((2,), bytes(8))) for at in range(20_000)))),
        ("bomb-1500MiB.npz", bomb()), ("bomb-of-many.npz", npz(*((f"{at}.npy", npy((1 << 18,), bytes(1 << 20))) for at in range(60)), packed=True)),
        ("empty.csv", b""), ("words.csv", b"a,b\nc,d\n"), ("quote.csv", b'"' + b"a" * 100_000), ("commas.csv", b"," * 3_000_000), ("lines.csv", b"\n" * 3_000_000),
        ("of-a-terminal.csv", b"\x1b[31m,\x07\n"), ("nulls.csv", bytes(100_000)), ("numbers.csv", b"1,2,3\n4,5,6\n"), ("ragged.csv", b"1,2,3\n4,5\n"), ("1e999.csv", b"1e999,2\n3,4\n"),
    ]


def bomb():
    """1.5 GiB of zeros, deflated, a MiB at a time."""
    out, piece, info = io.BytesIO(), bytes(1 << 20), zipfile.ZipInfo("x.npy")
    info.compress_type = zipfile.ZIP_DEFLATED
    with zipfile.ZipFile(out, "w") as file:
        with file.open(info, "w") as member:
            member.write(npy((8 << 20, 3, 4, 4)))
            for _ in range(1536):
                member.write(piece)
    return out.getvalue()
