# SPDX-License-Identifier: BSD-3-Clause
"""A reader of restarts written from io/FORMAT alone, with h5py: verifies every
byte that the seal covers, compares views.h5, prints both digests.

    read_restart.py RESTART
"""
import ctypes
import json
import os
import sys

import h5py
import numpy as np

STATES = {"master": "parameters", "exp_avg": "exp_avg",
          "exp_avg_sq": "exp_avg_sq"}
GRID = 4096
GOLDEN = np.uint64(0x9E3779B97F4A7C15)
WORD = (1 << 64) - 1


class Hash128(ctypes.Structure):
    _fields_ = [("low", ctypes.c_uint64), ("high", ctypes.c_uint64)]


XXHASH = ctypes.CDLL("libxxhash.so.0")
for name, result, arguments in (
        ("XXH3_64bits", ctypes.c_uint64, [ctypes.c_char_p, ctypes.c_size_t]),
        ("XXH3_64bits_withSeed", ctypes.c_uint64,
         [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint64]),
        ("XXH3_128bits", Hash128, [ctypes.c_char_p, ctypes.c_size_t])):
    getattr(XXHASH, name).restype = result
    getattr(XXHASH, name).argtypes = arguments


def hash64(data):
    return XXHASH.XXH3_64bits(data, len(data))


def hash128(data):
    h = XXHASH.XXH3_128bits(data, len(data))
    return f"{h.high:016x}{h.low:016x}"


def mix(x):
    x ^= x >> np.uint64(30)
    x *= np.uint64(0xBF58476D1CE4E5B9)
    x ^= x >> np.uint64(27)
    x *= np.uint64(0x94D049BB133111EB)
    return x ^ x >> np.uint64(31)


def digest(prefix, name, values):
    shape = ",".join(map(str, values.shape))
    key = hash64(f"{prefix}/{name}[{shape}]".encode())
    bits = np.ascontiguousarray(values, "<f4").reshape(-1).view(np.uint32)
    i = np.arange(bits.size, dtype=np.uint64)
    h = mix((np.uint64(key) + i * GOLDEN) ^ bits.astype(np.uint64))
    return key + int(h.sum(dtype=np.uint64))


def read_seal(top):
    with open(os.path.join(top, "COMMIT"), "rb") as f:
        text = f.read()
    *lines, last, end = text.split(b"\n")
    assert end == b""
    kind, version = lines[0].split()
    assert last == b"seal " + hash128(
        b"".join(line + b"\n" for line in lines)).encode(), "seal"
    assert kind == b"zt-restart" and version.split(b".")[0] == b"1", version
    return [line.decode().split() for line in lines[1:]]


def check_part(path, about, size, front, table):
    """The bytes, by the offsets of the manifest."""
    with open(path, "rb") as f:
        data = f.read()
    cells, at = about["cells"], about["checksums_at"]
    assert len(data) == int(size) == about["bytes"], path
    assert hash128(data[:at]) == front, path
    sums = np.frombuffer(data, "<u8", 3 * cells, at) if cells else []
    total = sum(XXHASH.XXH3_64bits_withSeed(int(s).to_bytes(8, "little"), 8,
                                            i + 1)
                for i, s in enumerate(sums))
    assert f"{total & WORD:016x}" == table, path
    for state, name in enumerate(STATES):
        begin = about[name + "_at"]
        for c in range(cells):
            chunk = data[begin + c * 4 * GRID:begin + (c + 1) * 4 * GRID]
            assert hash64(chunk) == sums[state * cells + c], (path, name, c)
    if cells:
        assert not any(data[at + 24 * cells:about["master_at"]]), path
        assert about["exp_avg_sq_at"] + cells * 4 * GRID == len(data), path


def read_part(path, about, state):
    """The values, by what HDF5 says."""
    with h5py.File(path, "r") as f:
        assert f.attrs["format"] == b"zt-restart-part", path
        assert f.attrs["first_rank"] == about["first_rank"], path
        for name in STATES:
            if about["cells"]:
                assert f[name].id.get_offset() == about[name + "_at"], path
            rest = f[name][...].copy()
            for start, length, local in f["segments"][...]:
                state[name][start:start + length] = rest[local:local + length]
                rest[local:local + length] = 0
            assert not rest.any(), path
        return {k: v[...].tobytes() for k, v in f.get("config", {}).items()}


def check_views(top, manifest, values):
    with h5py.File(os.path.join(top, "views.h5"), "r") as f:
        for (group, name), array in values.items():
            assert np.array_equal(f[group][name][...], array), name
        for alias, name in manifest["aliases"].items():
            assert f["parameters"][alias] == f["parameters"][name]


top = sys.argv[1]
seal = read_seal(top)
with open(os.path.join(top, "manifest.json"), "rb") as f:
    text = f.read()
assert seal[0] == ["manifest.json", str(len(text)), hash128(text)]
manifest = json.loads(text)
assert manifest["format"] == "zt-restart" and manifest["grid"] == GRID
size = sum(u["numel"] for u in manifest["units"])
state = {name: np.full(size, np.nan, np.float32) for name in STATES}
config = {}
assert len(seal) == 1 + len(manifest["parts"])
for line, about in zip(seal[1:], manifest["parts"]):
    path = os.path.join(top, about["file"])
    assert line[0] == about["file"]
    check_part(path, about, *line[1:])
    config.update(read_part(path, about, state))
assert "config.json" in config
assert not any(np.isnan(v).any() for v in state.values()), "a hole"

values, weights, whole = {}, 0, hash64(f"step={manifest['step']}".encode())
for p in manifest["parameters"]:
    n = int(np.prod(p["shape"]))
    for name, prefix in STATES.items():
        array = state[name][p["start"]:p["start"] + n].reshape(p["shape"])
        values[prefix, p["name"]] = array
        part = digest(prefix, p["name"], array)
        whole += part
        weights += part if name == "master" else 0
assert f"{whole & WORD:016x}" == manifest["digest"], "digest"
if os.path.exists(os.path.join(top, "views.h5")):
    check_views(top, manifest, values)
print(f"{weights & WORD:016x} {whole & WORD:016x}")
