"""`python -m tiffin`: the command line."""

from tiffin.cli.main import script

script()
