"""What the golden archives hold. ``python tests/golden/build.py`` writes those that are missing.

A golden archive is never rewritten within a version of the format: every later reader must read it
as it is described here.
"""

from pathlib import Path

import numpy as np

from gluonzip import archive
from gluonzip.graph.ir import Constant, Graph, Input, Node

HERE = Path(__file__).parent


def pattern(shape: tuple[int, ...], limit: int, keep: int) -> np.ndarray:
    """Integers in [-limit, limit] of which one in ``keep`` is not zero; no random generator."""
    count = int(np.prod(shape))
    mixed = (np.arange(1, count + 1, dtype=np.uint64) * np.uint64(2654435761)) % np.uint64(2**32)
    mixed = (mixed >> np.uint64(8)).astype(np.int64)
    values = (mixed // keep) % (limit + 1) - (mixed // keep // 997) % (limit + 1)
    return np.where(mixed % keep == 0, values, 0).reshape(shape)


def codes(shape, limit=127, keep=1, scale=0.5, bits=8) -> Constant:
    scale = np.asarray(scale, np.float32)
    return Constant(pattern(shape, limit, keep).astype(np.int8), scale, 0, bits)


def floats(shape, keep=1, dtype=np.float32) -> Constant:
    values = pattern(shape, 2**20, keep) / 12345.0
    return Constant(values.astype(dtype))


def network(name: str, weight: Constant, **more: Constant) -> Graph:
    """A dense layer with ``weight``; further constants feed an opaque node."""
    fc = Node("dense", "fc", ["data", "fc_weight"], ["fc_out"], {"act": "relu", "out_scale": 0.1})
    extra = Node("opaque", "ext", ["fc_out", "", *more], ["out"], {"operator": "_é", "attrs": {}})
    nodes = [fc, extra]
    inputs = [Input("data", (0, weight.data.shape[1]))]
    return Graph(inputs, ["out", "data"], nodes, {"fc_weight": weight, **more}, name)


def graphs() -> dict[str, Graph]:
    """File name -> graph; together they use every encoding and coding."""
    channel = np.linspace(-1, 1, 20)
    shared = pattern((40, 50), 3, 1) / 8
    built = {
        "raw_and_packed": network(
            "rp",
            codes((3, 4), 7, bits=4),
            f32=floats((3,)),
            f16=floats((2, 2), dtype=np.float16),
            s32=Constant(np.array([-(2**31), 0, 2**31 - 1], np.int32)),
            s8=Constant(np.array([-128, 127], np.int8)),
            bfloat=Constant((np.arange(1, 60) / 4 * (-1) ** np.arange(59)).astype(np.float32)),
            scalar=Constant(np.array(0.1, np.float32)),
            empty=Constant(np.zeros((0, 3), np.float32)),
        ),
        "sparse": network(
            "sp",
            codes((20, 10), 7, 3, scale=channel, bits=4),
            gap=floats((60, 60), 40),
            few=floats((20, 20), 100),
            zeros=Constant(np.zeros((300, 100), np.float32)),
            bitmap=floats((11, 5), 2),
        ),
        "entropy_coded": network(
            "ec",
            codes((60, 50), 7, bits=4),
            gaps=Constant(pattern((300, 300), 5, 50).astype(np.int8)),
            shared=Constant(shared.astype(np.float32)),
            lanes=Constant(pattern((200, 200), 5, 1).astype(np.int32) | 1),
        ),
    }
    built["fixed_point"] = network(
        "fp",
        codes((4, 6), 31, bits=6),
        packed=Constant((pattern((50,), 900, 1) / 1024).astype(np.float32)),
        coded=Constant((pattern((900,), 9, 1) * 4.0).astype(np.float32)),
    )
    built["sparse"].meta = {"recipe": {"prune": 0.9}, "note": "é"}
    return built


def families() -> dict[str, dict[str, Graph]]:
    """File name -> networks by member; they share a weight, under two names in the second."""
    body, shared = codes((30, 40), 7, 3, bits=4), pattern((30, 30), 3, 1) / 8
    head = Constant(shared.astype(np.float32))
    first = network("one", body, head=head)
    second = network("two", body, twin=head, head=head, more=floats((9, 7), 4))
    second.meta = {"of": "the second"}
    return {"family": {"a": first, "b": second}}


if __name__ == "__main__":
    for name, graph in graphs().items():
        path = HERE / f"{name}.glz"
        if not path.exists():
            print(path, archive.write(path, graph))
    for name, members in families().items():
        path = HERE / f"{name}.glz"
        if not path.exists():
            print(path, archive.write_family(path, members))
