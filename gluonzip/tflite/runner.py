"""Runs a TFLite file on arrays, in LiteRT's own environment: needs NumPy and ai-edge-litert alone.

python runner.py MODEL INPUTS.npz OUTPUTS.npz
"""

import sys

import numpy as np


def main(model, source, target):
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=model, num_threads=1)
    interpreter.allocate_tensors()
    inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
    arrays = np.load(source, allow_pickle=False)
    count = len(arrays[arrays.files[0]])
    found = [[] for _ in outputs]
    for row in range(count):
        for at, detail in enumerate(inputs):
            array = arrays[f"input{at}"][row : row + 1]
            interpreter.set_tensor(detail["index"], np.ascontiguousarray(array))
        interpreter.invoke()
        for rows, detail in zip(found, outputs, strict=True):
            rows.append(interpreter.get_tensor(detail["index"]).copy())
    np.savez(target, **{f"output{i}": np.concatenate(rows) for i, rows in enumerate(found)})


if __name__ == "__main__":
    for first in range(1, len(sys.argv), 3):
        main(*sys.argv[first : first + 3])
