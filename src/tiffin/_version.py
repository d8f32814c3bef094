"""The version, read by the build and by `tiffin --version`."""

__version__ = "0.1.0"
