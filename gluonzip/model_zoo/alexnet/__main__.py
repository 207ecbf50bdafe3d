"""``python -m gluonzip.model_zoo.alexnet`` trains the dense network."""

from gluonzip.model_zoo.train import main

main("alexnet")
