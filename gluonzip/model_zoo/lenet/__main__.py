"""``python -m gluonzip.model_zoo.lenet`` trains the dense network."""

from gluonzip.model_zoo.train import main

main("lenet")
