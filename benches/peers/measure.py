"""Times batchnorm, torch and oneDNN in one process, in interleaved rounds, and writes all times as JSON.

Started by `run`, which makes what it needs; runs in the peers' environment.
"""

import argparse
import ctypes
import json
import os
import sys
import time

parser = argparse.ArgumentParser()
parser.add_argument("--threads", type=int, required=True)
parser.add_argument("--rounds", type=int, required=True)
parser.add_argument("--shape", action="append", required=True, help="N,C,H,W")
parser.add_argument("--layout", action="append", required=True, choices=["nchw", "nhwc"])
parser.add_argument("--call", action="append", required=True)
parser.add_argument("--ours", required=True, help="the library with batchnorm")
parser.add_argument("--onednn", help="the library with oneDNN; left out where there is none")
parser.add_argument("--keep-pages", action="store_true", help="freed memory stays with the process")
parser.add_argument("--bound", action="store_true", help="threads bound, one to a processor")
parser.add_argument("--avx2", action="store_true", help="no wider instructions, on all sides")
parser.add_argument("--output", required=True)
options = parser.parse_args()

# Before any pool is started: each takes as many threads as the process may use.
processors = sorted(os.sched_getaffinity(0))[: options.threads]
os.sched_setaffinity(0, processors)
if options.keep_pages:
    M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
    libc = ctypes.CDLL("libc.so.6")
    if not (libc.mallopt(M_MMAP_MAX, 0) and libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)):
        sys.exit("peers: this libc does not keep freed pages")

if options.avx2:
    # Read by the libraries when they are loaded.
    os.environ |= {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"}

import torch  # noqa: E402

if options.avx2 and torch.backends.cpu.get_cpu_capability() != "AVX2":
    sys.exit(f"peers: torch was told to use AVX2 and uses {torch.backends.cpu.get_cpu_capability()}")
torch.set_num_threads(options.threads)
torch.set_grad_enabled(False)

EPSILON = 1e-5
# The numbers by which both libraries know their calls.
CALLS = {"train": 0, "eval": 1, "backward": 2, "train+relu": 3, "backward+relu": 4, "train+add+relu": 5,
         "backward+add+relu": 6}
COPY, STREAM, READ, EXPORT_Y, EXPORT_DX = 7, 8, 9, 20, 21
BARE, BARE_PREPARE = {"train": 10, "eval": 11, "backward": 12}, 13
BUFFERS = ["x", "dy", "residual", "y", "dx", "dresidual", "gamma", "beta", "running_mean", "running_variance",
           "dgamma", "dbeta"]
# Greatest error allowed, relative to the greatest value of the f64 answer: of y, dx and dresidual; of dgamma and dbeta.
# Ours and the bare loops are one rounding off; the peers sum in f32.
BOUNDS = {"ours": (1.2e-7, 1.2e-7), "bare": (1.2e-7, 1.2e-7), "torch": (1e-4, 1e-3), "onednn": (1e-4, 1e-3)}

# A peer's y may be that far off, relative to the greatest: nearer to 0 its ReLU may fall on either side.
KINK = BOUNDS["onednn"][0]

size, pointer, integer = ctypes.c_size_t, ctypes.c_void_p, ctypes.c_int


def functions(path, **signatures):
    """The functions of a library: name = (result, arguments)."""
    library = ctypes.CDLL(path)
    for name, (result, arguments) in signatures.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


OURS = functions(
    options.ours,
    ours_start=(integer, [size, integer]),
    ours_contention=(ctypes.c_char_p, [size, pointer]),
    ours_beyond_avx2=(integer, []),
    ours_case=(pointer, [size, size, size, integer, integer, pointer]),
    ours_run=(integer, [pointer, integer]),
    ours_end=(None, [pointer]),
)
if OURS.ours_start(options.threads, not options.bound) != 0:
    sys.exit("peers: batchnorm's threads did not start")
ONEDNN = options.onednn and functions(
    options.onednn,
    onednn_version=(ctypes.c_char_p, []),
    onednn_case=(pointer, [size, size, size, size, integer, pointer]),
    onednn_run=(integer, [pointer, integer]),
    onednn_kernels=(ctypes.c_char_p, [pointer]),
    onednn_end=(None, [pointer]),
)


class Data:
    """The arrays of one shape and layout, and the right answers in f64."""

    def __init__(self, shape, layout):
        n, c, h, w = shape
        self.shape, self.layout = shape, layout
        generator = torch.Generator().manual_seed(1)

        def plane(values=None):
            if layout == "nhwc":
                tensor = torch.empty(n, h, w, c).permute(0, 3, 1, 2)
            else:
                tensor = torch.empty(n, c, h, w)
            if values is None:
                return tensor.fill_(float("nan"))
            return tensor.copy_(values)

        def random():
            return torch.randn(shape, generator=generator)

        self.x, self.dy, self.residual = plane(random() * 2 + 3), plane(random()), plane(random())
        self.gamma, self.beta = (torch.rand(c, generator=generator) + 0.5, torch.randn(c, generator=generator))
        self.running_mean = torch.randn(c, generator=generator)
        self.running_variance = torch.rand(c, generator=generator) + 0.5
        self.y, self.fused_y, self.dx, self.dresidual = plane(), plane(), plane(), plane()
        self.dgamma, self.dbeta = torch.empty(c), torch.empty(c)

    def buffers(self, **others):
        """Addresses, in the order of the libraries' `Buffers`."""
        tensors = [others.get(name, getattr(self, name)) for name in BUFFERS]
        return (pointer * len(tensors))(*[tensor.data_ptr() for tensor in tensors])

    def outputs(self, call):
        """Where a call leaves its answers, by name."""
        y = self.fused_y if "relu" in call else self.y
        if not call.startswith("backward"):
            return {"y": y}
        found = {"dx": self.dx, "dgamma": self.dgamma, "dbeta": self.dbeta}
        return found | ({"dresidual": self.dresidual} if "add" in call else {})

    def answers(self, calls):
        """(call, its right answers), one call at a time: they are as large as the input is, twice."""

        def channel(values):
            return values.double().view(1, -1, 1, 1)

        axes, count = (0, 2, 3), self.x[:, 0].numel()
        x = self.x.double()
        mean = x.mean(axes, keepdim=True)
        inverse = 1 / (x.sub(mean).square_().mean(axes, keepdim=True) + EPSILON).sqrt()
        gamma, beta = channel(self.gamma), channel(self.beta)
        for call in calls:
            if call == "eval":
                running = (channel(self.running_variance) + EPSILON).sqrt()
                yield call, {"y": (x - channel(self.running_mean)) / running * gamma + beta}
                continue
            normalized = (x - mean) * inverse
            y = normalized * gamma + beta
            if "add" in call:
                y += self.residual
            if call.startswith("train"):
                yield call, {"y": y.relu() if "relu" in call else y}
                continue
            dy = self.dy.double()
            if "relu" in call:
                dy = dy * (y > 0)
            kinks = {}
            if "relu" in call:
                # Where y is 0 but for the peers' rounding, which side of the kink they are on is anybody's guess; the
                # sums may differ by these places' share, and dx by what it has of the sums.
                kink = y.abs() < KINK * y.abs().max()
                at_kink = self.dy.double().abs() * kink
                of_beta, of_gamma = at_kink.sum(axes), (at_kink * normalized.abs()).sum(axes)
                of_dx = (gamma * inverse).flatten() * (of_beta + normalized.abs().max() * of_gamma) / count
                kinks = {"places": kink, "dbeta": of_beta, "dgamma": of_gamma, "dx": of_dx.view(1, -1, 1, 1)}
            dbeta, dgamma = dy.sum(axes, keepdim=True), (dy * normalized).sum(axes, keepdim=True)
            right = {"dx": gamma * inverse * (dy - dbeta / count - normalized * dgamma / count)}
            right |= {"dgamma": dgamma.flatten(), "dbeta": dbeta.flatten()}
            right["kinks"] = kinks
            yield call, right | ({"dresidual": dy} if "add" in call else {})


class Ours:
    def __init__(self, data):
        n, c, h, w = data.shape
        # Fused calls write into an output of their own: the mask of their backward pass is read from it.
        self.cases = {
            fused: OURS.ours_case(n, c, h * w, data.layout == "nhwc", options.avx2, data.buffers(y=y))
            for fused, y in ((False, data.y), (True, data.fused_y))
        }
        if None in self.cases.values():
            sys.exit("peers: batchnorm refused the case")

    def call(self, call):
        case, number, run = self.cases["relu" in call], CALLS[call], OURS.ours_run
        return lambda: run(case, number)

    def numbered(self, number):
        """A sweep, or a bare loop."""
        case, run = self.cases[False], OURS.ours_run
        return lambda: run(case, number)

    def end(self):
        for case in self.cases.values():
            OURS.ours_end(case)


class Bare:
    """The same arithmetic in loops alone, on the arrays of ours."""

    def __init__(self, ours):
        self.ours = ours
        # Checks all its forms against scalar code, then picks the fastest. (Not every processor has such loops.)
        self.there = ours.numbered(BARE_PREPARE)() == 0

    def call(self, call):
        return self.ours.numbered(BARE[call])


class OneDnn:
    def __init__(self, data, order):
        n, c, h, w = data.shape
        number = ["nchw", "nhwc", "nChw16c"].index(order)
        # A blocked order, or the other plain one, has memory of its own.
        self.data = data if order in (data.layout, "nChw16c") else Data(data.shape, order)
        self.cases = {
            fused: ONEDNN.onednn_case(n, c, h, w, number, self.data.buffers(y=y))
            for fused, y in ((False, self.data.y), (True, self.data.fused_y))
        }
        if None in self.cases.values():
            sys.exit("peers: oneDNN refused the case")
        self.kernels = ONEDNN.onednn_kernels(self.cases[False]).decode()

    def call(self, call):
        case, number, run = self.cases["relu" in call], CALLS[call], ONEDNN.onednn_run
        return lambda: run(case, number)

    def export(self, call):
        """Answers out of blocked memory."""
        number = EXPORT_DX if call.startswith("backward") else EXPORT_Y
        if ONEDNN.onednn_run(self.cases["relu" in call], number) != 0:
            sys.exit("peers: oneDNN failed")

    def end(self):
        for case in self.cases.values():
            ONEDNN.onednn_end(case)


class Torch:
    """Forward passes into given outputs; the backward pass has no such form and allocates dx."""

    def __init__(self, data):
        n, c, h, w = data.shape
        self.data = data
        # (N, C) as users have it.
        self.flat = (lambda tensor: tensor.view(n, c)) if h * w == 1 else (lambda tensor: tensor)
        self.mean, self.inverse = torch.empty(c), torch.empty(c)
        # A training call updates its running statistics.
        self.running = data.running_mean.clone(), data.running_variance.clone()
        self.result = None

    def call(self, call):
        data, flat = self.data, self.flat
        x, dy, y, none = flat(data.x), flat(data.dy), flat(data.y), torch.empty(0)
        mean, inverse, (running_mean, running_variance) = self.mean, self.inverse, self.running
        if call == "train":
            return lambda: torch.native_batch_norm(x, data.gamma, data.beta, running_mean, running_variance, True, 0.1,
                                                   EPSILON, out=(y, mean, inverse))
        if call == "eval":
            return lambda: torch.native_batch_norm(x, data.gamma, data.beta, data.running_mean, data.running_variance,
                                                   False, 0.1, EPSILON, out=(y, none, none))
        if call == "backward":
            backward = torch.ops.aten.native_batch_norm_backward

            def run():
                self.result = None
                self.result = backward(dy, x, data.gamma, running_mean, running_variance, mean, inverse, True, EPSILON,
                                       [True, True, True])

            return run
        raise ValueError(call)

    def export(self, call):
        if call == "backward":
            dx, dgamma, dbeta = self.result
            self.data.dx.copy_(dx.view(self.data.shape) if dx.dim() == 2 else dx)
            self.data.dgamma.copy_(dgamma)
            self.data.dbeta.copy_(dbeta)


def errors(found, right, exact):
    """Of each answer, the greatest error relative to the greatest right value; NaN counts as infinite."""
    worst = {}
    for name, value in right.items():
        if name == "kinks":
            continue
        difference = (found[name].double() - value).abs_()
        kinks = right.get("kinks")
        if kinks and not exact:
            if difference.dim() > 1:
                difference[kinks["places"]] = 0
            difference = (difference - kinks.get(name, 0)).clamp_(min=0)
        error = (difference.max() / value.abs().max()).item()
        worst[name] = error if error == error else float("inf")
    return worst


def takes_part(name, layout, call):
    """torch has no fused calls on a processor, oneDNN none with a residual; fused ones run in the layout asked for."""
    if name == "bare":
        return call in BARE
    if "add" in call:
        return name == "ours"
    return "relu" not in call or name in ("ours", f"onednn-{layout}")


def check(data, contenders, calls, log):
    """Every contender's answers against f64, outputs poisoned before; ends the program where one is off."""
    # A backward pass needs its forward pass to have run: training calls come first.
    order = sorted(calls, key=lambda call: not call.startswith("train"))
    needed = [call.replace("backward", "train") for call in order if call.startswith("backward")]
    for call, right in data.answers(list(dict.fromkeys([*needed, *order]))):
        for name, contender in contenders.items():
            if not takes_part(name, data.layout, call):
                continue
            run = contender.call(call)
            place = getattr(contender, "data", data)
            outputs = place.outputs(call)
            for tensor in outputs.values():
                tensor.fill_(float("nan"))
            status = run()
            if isinstance(status, int) and status != 0:
                sys.exit(f"peers: {name} failed in {call}")
            if hasattr(contender, "export"):
                contender.export(call)
            of_planes, of_channels = BOUNDS[name.split("-")[0]]
            for output, error in errors(outputs, right, name == "ours").items():
                bound = of_channels if output in ("dgamma", "dbeta") else of_planes
                log.append({"contender": name, "call": call, "output": output, "error": error, "bound": bound})
                if not error <= bound:
                    sys.exit(f"peers: {data.shape} {data.layout}: {output} of {name} in {call} is {error:.1e} off, more "
                             f"than {bound:.1e}: nothing is timed")


# GNU's OpenMP lets a thread that has nothing to do spin 300,000 times, which takes 15 ms and more here: it would hold a
# core that the next contender needs.
QUIET, WARM, LONG = 0.05, 0.005, 0.003


def turn(run, times):
    """Seconds a call. Other pools stop spinning first and this one is warmed, by the same call."""
    time.sleep(QUIET)
    start = time.perf_counter()
    run()
    while time.perf_counter() - start < WARM:
        run()
    start = time.perf_counter()
    for _ in range(times):
        run()
    return (time.perf_counter() - start) / times


def thread_seconds():
    """Seconds of a processor that each thread of this process has had."""
    found = {}
    for thread in os.listdir("/proc/self/task"):
        try:
            with open(f"/proc/self/task/{thread}/stat") as file:
                fields = file.read().rsplit(")", 1)[1].split()
            found[int(thread)] = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        except OSError:
            pass  # gone
    return found


def pin(starters, seconds=0.3):
    """Binds the threads of every contender's pool to a processor each; this one, which calls, to the first.

    Left alone, the system often wakes two threads of a pool that sleeps between calls (batchnorm's) on one processor, and
    leaves them there for a tenth of a second and more while another is idle. Which threads a pool computes with is seen by
    what they use while it works.
    """
    own, taken, pinned = os.getpid(), set(), {}
    for name, run in starters.items():
        time.sleep(QUIET)
        before, start = thread_seconds(), time.perf_counter()
        while time.perf_counter() - start < seconds:
            run()
        busy = [thread for thread, used in thread_seconds().items() if used - before.get(thread, 0) > seconds / 4]
        workers = sorted(thread for thread in busy if thread != own and thread not in taken)
        first = 1 if own in busy else 0  # whether the caller works, too
        for place, thread in enumerate(workers, start=first):
            os.sched_setaffinity(thread, [processors[place % len(processors)]])
        taken |= set(workers)
        pinned[name] = {"caller_works": bool(first), "others": len(workers)}
    os.sched_setaffinity(own, processors[:1])
    return pinned


def interleaved(runs, rounds):
    """Milliseconds of every run in every round, each round in another order."""
    names = list(runs)
    # Short calls are repeated, for clocks and interpreters are coarse.
    times = {name: max(1, min(2000, int(LONG / turn(run, 1)))) for name, run in runs.items()}
    found = {name: [] for name in names}
    for round in range(rounds):
        for place in range(len(names)):
            name = names[(round * 7 + place) % len(names)]
            # Every other round backwards, so that a contender's predecessor changes too.
            name = names[-1 - names.index(name)] if round % 2 else name
            found[name].append(turn(runs[name], times[name]) * 1e3)
    return found


def measured(shape, layout):
    data = Data(shape, layout)
    ours = Ours(data)
    contenders = {"ours": ours, "torch": Torch(data)}
    # (Where pages are kept, the backward pass is compared with torch's and nothing else.)
    if not options.keep_pages and (bare := Bare(ours)).there:
        contenders["bare"] = bare
    if ONEDNN:
        flat = shape[2] * shape[3] == 1
        # Without a plane both names are of the same memory, and may have kernels of different speed.
        orders = ["nchw", "nhwc"] if flat else ["nhwc"] if layout == "nhwc" else ["nchw", "nhwc", "nChw16c"]
        if options.avx2:
            orders = [order for order in orders if order != "nChw16c"]  # blocks of AVX-512
        contenders |= {f"onednn-{order}": OneDnn(data, order) for order in orders}
    agreement, runs = [], {}
    check(data, contenders, options.call, agreement)
    for call in options.call:
        for name, contender in contenders.items():
            if takes_part(name, layout, call):
                runs[name, call] = contender.call(call)
    for name, number in (("read", READ), ("copy", COPY), ("stream", STREAM)):
        runs[name, "sweep"] = ours.numbered(number)
    times = interleaved(runs, options.rounds)
    kernels = {name: contender.kernels for name, contender in contenders.items() if isinstance(contender, OneDnn)}
    for contender in contenders.values():
        if hasattr(contender, "end"):
            contender.end()
    return {
        "shape": shape,
        "layout": layout,
        "megabytes": data.x.numel() * 4 / 1e6,
        "agreement": agreement,
        "kernels": kernels,
        "times": [{"contender": name, "call": call, "ms": ms} for (name, call), ms in times.items()],
    }


def pinned():
    """Every pool started, on an array that all of its threads get a part of; then its threads bound."""
    data = Data([32, 64, 56, 56], "nchw")
    contenders = {"ours": Ours(data), "torch": Torch(data)} | ({"oneDNN": OneDnn(data, "nchw")} if ONEDNN else {})
    found = pin({name: contender.call("train") for name, contender in contenders.items()})
    for contender in contenders.values():
        if hasattr(contender, "end"):
            contender.end()
    return found


# Before this thread is bound: the threads that measure would be bound with it.
found = (ctypes.c_double * 2)()
verdict = OURS.ours_contention(options.threads, found).decode()
contention = {"alone": found[0], "together": found[1], "verdict": verdict}
pools = pinned() if options.bound else None
cases = []
for text in options.shape:
    shape = [int(length) for length in text.split(",")]
    for layout in options.layout:
        if layout == "nhwc" and shape[2] * shape[3] == 1:
            continue  # one order only
        print(f"  {options.threads} threads{', AVX2' if options.avx2 else ''}"
              f"{', pages kept' if options.keep_pages else ''}: "
              f"{'x'.join(map(str, shape))} {layout}", file=sys.stderr, flush=True)
        cases.append(measured(shape, layout))
versions = {"torch": torch.__version__, "python": sys.version.split()[0],
            "torch_capability": torch.backends.cpu.get_cpu_capability()}
if ONEDNN:
    versions["onednn"] = ONEDNN.onednn_version().decode()
with open(options.output, "w") as file:
    json.dump({"threads": options.threads, "keep_pages": options.keep_pages, "avx2": options.avx2,
               "beyond_avx2": bool(OURS.ours_beyond_avx2()), "contention": contention, "pools": pools, "versions": versions,
               "cases": cases}, file)
