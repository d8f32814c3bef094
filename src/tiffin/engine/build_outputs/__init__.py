"""What becomes of a build's result: images, archives, directories, registries, and its cache elsewhere.

Solved (config, layers) ─ products ─► manifests, indexes ─┬─► store ─► registry
        │                                                 └─► archive
        └─ files ─► directory or tar
"""
