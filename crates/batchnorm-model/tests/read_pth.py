"""A reader of PyTorch's zip files that shares nothing with ours: zip by Python's own, the pickle by its opcodes, no torch.

    python3 read_pth.py FILE [NAME ...]

prints a line for each tensor, or each that is named: its name, its type, its shape, and the bytes of its values in C order as their
sha256. For tests: whatever is not in the files of torch.save is an error.
"""

import hashlib
import pickletools
import sys
import zipfile

SIZES = {"FloatStorage": 4, "DoubleStorage": 8, "HalfStorage": 2, "BFloat16Storage": 2, "LongStorage": 8, "IntStorage": 4, "ByteStorage": 1}


class Call:
    """What a function would have been called with."""

    def __init__(self, function, arguments):
        self.function, self.arguments = function, arguments


def objects(pickle):
    stack, marks, memo = [], [], {}

    def marked():
        at = marks.pop()
        taken = stack[at:]
        del stack[at:]
        return taken

    for opcode, argument, _ in pickletools.genops(pickle):
        name = opcode.name
        if name in ("PROTO", "FRAME"):
            pass
        elif name == "STOP":
            return stack.pop()
        elif name == "MARK":
            marks.append(len(stack))
        elif name in ("EMPTY_DICT", "EMPTY_LIST", "EMPTY_TUPLE"):
            stack.append({"EMPTY_DICT": {}, "EMPTY_LIST": [], "EMPTY_TUPLE": ()}[name])
        elif name == "GLOBAL":
            stack.append(argument)
        elif name in ("NONE", "NEWTRUE", "NEWFALSE"):
            stack.append({"NONE": None, "NEWTRUE": True, "NEWFALSE": False}[name])
        elif name.startswith(("BININT", "LONG", "BINUNICODE", "SHORT_BIN", "BINFLOAT", "BINSTRING")) and "GET" not in name and "PUT" not in name:
            stack.append(argument)
        elif name in ("BINPUT", "LONG_BINPUT"):
            memo[argument] = stack[-1]
        elif name == "MEMOIZE":
            memo[len(memo)] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            stack.append(memo[argument])
        elif name == "TUPLE":
            stack.append(tuple(marked()))
        elif name in ("TUPLE1", "TUPLE2", "TUPLE3"):
            count = int(name[-1])
            taken = tuple(stack[-count:])
            del stack[-count:]
            stack.append(taken)
        elif name in ("APPEND", "APPENDS"):
            taken = marked() if name == "APPENDS" else [stack.pop()]
            stack[-1].extend(taken)
        elif name in ("SETITEM", "SETITEMS"):
            taken = marked() if name == "SETITEMS" else [stack.pop(-2), stack.pop()]
            stack[-1].update(zip(taken[::2], taken[1::2]))
        elif name == "REDUCE":
            arguments, function = stack.pop(), stack.pop()
            stack.append({} if function == "collections OrderedDict" and not arguments else Call(function, arguments))
        elif name == "BINPERSID":
            stack.append(Call("storage", stack.pop()))
        elif name == "BUILD":
            stack.pop()
        else:
            raise ValueError(f"an operation that is not expected: {name}")
    raise ValueError("a pickle without an end")


def values(archive, root, call):
    """Type, shape and bytes of a tensor."""
    storage, offset, shape, strides = call.arguments[:4]
    _, kind, key, _, _ = storage.arguments
    kind = kind.split()[-1]
    size = SIZES[kind]
    data = archive.read(f"{root}data/{key}")
    places = [offset]
    for length, stride in zip(shape, strides):
        places = [place + stride * at for place in places for at in range(length)]
    contiguous = b"".join(data[size * place:size * place + size] for place in places)
    return kind, shape, contiguous


def main():
    path, names = sys.argv[1], set(sys.argv[2:])
    with zipfile.ZipFile(path) as archive:
        (pickle,) = [name for name in archive.namelist() if name.endswith("data.pkl")]
        tensors = objects(archive.read(pickle))
        for name, call in sorted(tensors.items()):
            if names and name not in names:
                continue
            assert call.function == "torch._utils _rebuild_tensor_v2", call.function
            kind, shape, contiguous = values(archive, pickle[: -len("data.pkl")], call)
            print(name, kind, "x".join(map(str, shape)) or "-", hashlib.sha256(contiguous).hexdigest())


main()
