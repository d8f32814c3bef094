"""Dockerfiles that tiffin and Docker both build, and how what came of them is compared; see cases.py."""
