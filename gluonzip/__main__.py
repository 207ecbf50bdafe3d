"""``python -m gluonzip``: the ``gluonzip`` command of this interpreter."""

from gluonzip.cli.main import main

main()
