"""Makes the .npy files beside it: python make.py (NumPy 2.4.6 made those committed).

tests/npy_golden.rs says what each must hold.
"""

import io
import pathlib

import numpy as np

here = pathlib.Path(__file__).parent


def save(name, array, version=None):
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array, version=version)
    (here / f"{name}.npy").write_bytes(buffer.getvalue())


def aligned_shape():
    """A shape without elements whose header needs no padding, where NumPy adds 64 spaces all the same."""
    shape = (0,)
    while True:
        text = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape!r}, }}" + " " * 20
        if (10 + len(text) + 1) % 64 == 0:
            return shape
        shape += (1,)


c = np.array([[0.0, 1.5, -2.0], [0.1, 1e30, -1e-30]])
save("f4", c.astype("<f4"))
save("f8", c.astype("<f8"))
save("f8_big_endian", c.astype(">f8"))
save("f4_big_endian", c.astype(">f4"))
save("f4_fortran", np.asfortranarray(c.astype("<f4")))
save("f4_version_2", c.astype("<f4"), version=(2, 0))
save("f4_version_3", c.astype("<f4"), version=(3, 0))
save("f4_scalar", np.array(2.5, "<f4"))
save("f4_one_axis", np.arange(12, dtype="<f4"))
save("f4_empty", np.zeros((0, 3), "<f4"))
save("f4_aligned_header", np.zeros(aligned_shape(), "<f4"))

# zeros, smallest and largest subnormal, smallest and largest normal, infinities, NaNs quiet and
# signalling with payloads
half_bits = [0x0000, 0x8000, 0x0001, 0x83FF, 0x0400, 0x7BFF, 0x7C00, 0xFC00, 0x7E00, 0xFE2A, 0x7C01, 0x7FFF]
save("f2_bits", np.array(half_bits, "<u2").view("<f2"))
save("f2_bits_big_endian", np.array(half_bits, ">u2").view(">f2"))

save("whole_i4", np.zeros(2, "<i4"))
save("whole_u1", np.zeros(2, "u1"))
save("whole_bool", np.zeros(2, bool))
save("refused_c8", np.zeros(2, "<c8"))
save("refused_object", np.array([None, "x"], dtype=object))
save("refused_fields", np.zeros(2, [("x", "<f4"), ("a, 'b'}", "<i4", (2,))]))
save("refused_text", np.array(["ab"]))
save("refused_bytes", np.array([b"ab"]))
save("refused_dates", np.zeros(2, "<M8[s]"))
save("refused_bfloat16", np.zeros(2, "V2"))
save("refused_longdouble", np.zeros(1, np.longdouble))

# Archives: their bytes hold no time, so that they are the same again.
arrays = {"x": c.astype("<f4"), "gamma": np.array([1.0, 0.5]), "half": np.array(half_bits, "<u2").view("<f2"),
          "empty": np.zeros((0, 3), "<f4"), "größe": np.asfortranarray(c)}
np.savez(here / "savez.npz", **arrays)
np.savez_compressed(here / "savez_compressed.npz", **arrays)
np.savez(here / "savez_with_integers.npz", x=c, n=np.arange(3))
