"""A virtual machine with unified control groups, for tests that the developer's machine cannot run itself.

machine.py   the kernel and the root disk, made once from Debian's packages, kept in .cache/vm
cargo.py     the disk that carries the code under test, its tests and pytest into the guest, made for each run
boot.py      boots the two under qemu, and gives back what the guest's pytest reported
guest-init   what the guest's kernel starts
"""
