"""Open Container Initiative data: digests, references, platforms, descriptors, images. Pure: no I/O.

Import from the module that holds the noun (`tiffin.oci.reference`): a short command pays for each import.
"""
