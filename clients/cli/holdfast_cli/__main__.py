"""The command `holdfast`."""

import sys


def main() -> None:
    """Run the command, and exit with its code."""
    try:
        from holdfast_cli.app import app  # noqa: PLC0415 - what it needs may not be installed
    except ModuleNotFoundError as error:
        sys.exit(f"{error.name} is not installed: install the extra `cli`")
    from holdfast_cli.profiles import ProfilesError  # noqa: PLC0415

    try:
        app()
    except (ProfilesError, OSError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
