"""A small MobileNetV2 on handwritten digits."""
