"""``python -m gluonzip.model_zoo.resnet`` trains the dense network."""

from gluonzip.model_zoo.train import main

main("resnet")
