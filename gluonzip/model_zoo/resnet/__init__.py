"""Small residual networks on handwritten digits."""
