"""A few labelled batches of the training data, for criteria that look at gradients."""

from __future__ import annotations

import copy
import itertools
from typing import Any

from gluonzip.errors import ConfigError
from gluonzip.recipe.job import Job
from gluonzip.training import Batches

BATCHES = 8


def sample(job: Job, what: str) -> list[Any]:
    """The first batches of a pass; the place in the data stays as it is.

    ConfigError, naming ``what`` needs it, when there is no training data.
    """
    if job.train_data is None:
        raise ConfigError(f"{what} needs gradients, but no train_data was given")
    data = job.train_data
    data = copy.copy(data) if isinstance(data, Batches) else data
    return list(itertools.islice(data, BATCHES))
