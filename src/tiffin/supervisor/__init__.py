"""One supervisor per running container: stdio, log, attached clients, exit, clean-up.

A supervisor is forked from a single-threaded process (the command itself, or the launcher of a program with
threads), makes the container, and stays until it has ended and is taken down. See `supervise` for the order.
"""
