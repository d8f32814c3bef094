"""Tests that need cgroup v2 controllers.

Where the machine has none, `tests/integration/test_cgroup2_vm.py` runs them in a virtual machine; so they wait for
conditions with an emulated processor's patience, and measure no time.
"""
