"""RUN: a container over the layers so far, with its mounts."""
