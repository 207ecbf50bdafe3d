"""Fake quantizers as operators of an MXNet C++ extension library, built on demand."""
