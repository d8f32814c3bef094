"""Containers by the OCI runtime specification's lifecycle: a bundle and an id, created, started, deleted by processes
that do not know each other.

document.py     config.json read, checked, and turned into what `runtime.create` takes
records.py      a container's directory below the runtime's root: record, configuration, lock
operations.py   create, start, kill, delete and their kin
joining.py      exec
features.py     what this runtime and kernel can do

    runtime = Runtime("/run/tiffin-runtime")
    runtime.create("c1", "/bundle")
    runtime.start("c1")
    runtime.state("c1")          # {"ociVersion": "1.3.0", "id": "c1", "status": "running", ...}
    runtime.delete("c1", force=True)
"""
