"""The OCI runtime: a specification document and a root → a running, confined process.

    spec = default_spec(ContainerOptions(argv=["/bin/sh"], ...))
    init = create(CreateRequest(id, spec, root, mount_point, stdio, helper_fd=open_helper()))
    init.start()
    code = init.wait()
    init.close()
    delete(f"{cgroup_parent}/{id}")

Import what is needed from the modules themselves: `create`, `exec`, `delete`, `spec`, `defaults`, `users`,
`cgroups`, `seccomp`, `console`. Nothing here keeps state; whoever calls keeps the pid, its start time and the
cgroup's path.
"""
