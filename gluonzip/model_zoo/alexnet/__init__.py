"""AlexNet in small on handwritten digits."""
