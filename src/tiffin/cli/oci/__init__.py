"""`tiffin-runtime`: the OCI runtime's command line, with the commands and flags of podman, containerd and dockerd.

main.py       global options, one exit code, the log
table.py      the commands and their flags, as data; help is made from it
words.py      reading the words
lifecycle.py  create, start, run, state, kill, delete, exec
others.py     ps, list, pause, resume, update, events, features, spec
"""
