"""`python -m tiffin`: the command line."""

from tiffin import loading

loading.install()

from tiffin.cli.main import script  # noqa: E402 - found by what was installed

script()
