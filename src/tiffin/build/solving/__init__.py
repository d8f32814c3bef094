"""From a graph to layers: what is in the cache is taken from there, the rest runs, and the last is an image."""
