"""COPY and ADD: files found in one tree and put into another, by descriptor."""
