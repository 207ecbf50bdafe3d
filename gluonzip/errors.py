"""The exception family: everything gluonzip raises on purpose derives from :class:`GluonzipError`.

Each message names the value, layer or file at fault and says what to do. Classes that describe a
bad argument also derive from the built-in a caller would expect (``ValueError``, ``TypeError``).
The C++ core raises the same classes.
"""


class GluonzipError(Exception):
    """Base of every error raised deliberately by gluonzip."""


class ConfigError(GluonzipError, ValueError):
    """A recipe, specification or argument is not usable (unknown key, value outside its range)."""


class PatternError(ConfigError):
    """A layer pattern matches nothing (or several layers where one is needed)."""


class DataError(GluonzipError, ValueError):
    """Weights or calibration data are unusable: empty, non-finite, wrong dtype."""


class ShapeError(GluonzipError, ValueError):
    """An array or tensor has the wrong rank, shape or dtype for its use."""


class GraphError(GluonzipError, ValueError):
    """A graph is malformed; the message lists every problem found."""


class TraceError(GluonzipError):
    """A network cannot be traced; names the child block and the reason."""


class UnsupportedError(GluonzipError, NotImplementedError):
    """What was asked needs an operator or feature that is not there; names it."""


class ArchiveError(GluonzipError, ValueError):
    """An archive is truncated, corrupted, foreign, newer than this version or hostile."""


class IsaError(GluonzipError, RuntimeError):
    """An instruction set was forced that this machine or build does not have."""


class StaleCoreError(GluonzipError, ImportError):
    """The compiled core is missing, or was built from other sources than the Python files."""


class MissingDependencyError(GluonzipError, ImportError):
    """An optional package is missing; the message says which extra installs it."""


class CacheError(GluonzipError, ValueError):
    """A cache of a teacher's answers belongs to another teacher or data set, or is damaged."""


class CheckpointError(GluonzipError, ValueError):
    """A checkpoint is damaged, or belongs to another network or other settings."""


class DivergedError(GluonzipError, ArithmeticError):
    """Training gave NaN or infinity; names the step and, as far as it can be found, the layer."""
