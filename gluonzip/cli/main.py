"""Entry point of the ``gluonzip`` command."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line; say which extra to install where its packages are missing."""
    try:
        from gluonzip.cli.app import app
    except ModuleNotFoundError as error:
        if error.name not in ("click", "rich"):
            raise
        sys.exit(
            f"Error: the gluonzip command needs the package {error.name}: "
            "pip install 'gluonzip[cli]'"
        )
    app(prog_name="gluonzip")


if __name__ == "__main__":
    main()
