"""Run by CI in an environment that has NumPy alone: load an archive, answer, in a bounded time.

usage: python bare_runtime.py ARCHIVE
"""

import importlib.util
import sys
import time

import numpy as np

start = time.perf_counter()
import gluonzip.runtime  # noqa: E402

imported = time.perf_counter() - start
assert importlib.util.find_spec("mxnet") is None, "this check needs an environment without MXNet"

start = time.perf_counter()
engine = gluonzip.runtime.Engine.load(sys.argv[1])
((_, shape, dtype),) = engine.inputs
answer = engine(np.zeros([n or 1 for n in shape], dtype))
first = time.perf_counter() - start
assert np.isfinite(answer).all()

extra = {"click", "rich", "yaml", "pydantic", "matplotlib"} & set(sys.modules)
assert not extra, f"the runtime imported {extra}"
print(f"runtime alone: import {imported * 1e3:.0f} ms, first answer {first * 1e3:.0f} ms")
