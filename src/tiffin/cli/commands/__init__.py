"""One module a command; see `tiffin.cli.table` for what each has."""
