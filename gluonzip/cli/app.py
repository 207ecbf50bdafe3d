"""The group of verbs."""

from __future__ import annotations

import click

from gluonzip._version import __version__
from gluonzip.cli.bench import bench
from gluonzip.cli.compress import compress
from gluonzip.cli.diagnose import diagnose
from gluonzip.cli.diff import diff
from gluonzip.cli.export import export
from gluonzip.cli.import_ import import_
from gluonzip.cli.inspect import inspect
from gluonzip.cli.run import run
from gluonzip.cli.sensitivity import sensitivity


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="gluonzip")
def app() -> None:
    """Compress MXNet/Gluon networks, and run them small and fast.

    \b
    Examples:
      gluonzip compress lenet                      train, prune, quantize, pack LeNet-5
      gluonzip inspect runs/lenet/lenet.glz        where every byte goes
      gluonzip diff before.glz after.glz           what is different
      gluonzip bench runs/lenet/lenet.glz          latency by batch, and by layer
      gluonzip diagnose dense.glz int8.glz --input digits.npy
      gluonzip run runs/lenet/lenet.glz --input digits.npy --output scores.npy
      gluonzip export runs/lenet/lenet.glz --to onnx   also tflite, mxnet; checked
      gluonzip import resnet18.onnx                trained elsewhere, compressed here

    Exit codes: 0 done, 1 an error that is explained, 2 wrong usage.
    """


for verb in (compress, inspect, diff, bench, run, export, diagnose, sensitivity):
    app.add_command(verb)
app.add_command(import_, "import")
