"""``python -m gluonzip.model_zoo.mobilenet`` trains the dense network."""

from gluonzip.model_zoo.train import main

main("mobilenet")
