"""What every verb shares: ``--debug``, and errors on one line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from gluonzip.errors import GluonzipError


class Verb(click.Command):
    """A command whose errors are one line and exit code 1; with ``--debug`` they are tracebacks."""

    def invoke(self, ctx: click.Context) -> Any:
        debug = ctx.params.pop("debug", False)
        try:
            return super().invoke(ctx)
        except GluonzipError as error:
            if debug:
                raise
            raise click.ClickException(one_line(error)) from error
        except (click.exceptions.Exit, click.Abort, click.ClickException):
            raise
        except Exception as error:
            if debug:
                raise
            raise click.ClickException(
                f"{type(error).__name__}: {one_line(error)} (this is a bug; --debug shows where)"
            ) from error


def verb(function: Callable[..., Any]) -> Verb:
    """A :class:`Verb` from a function with click's options, plus ``--debug``."""
    option = click.option("--debug", is_flag=True, help="Show the traceback of an error.")
    return click.command(cls=Verb)(option(function))


def one_line(error: BaseException) -> str:
    return " ".join(str(error).split())
