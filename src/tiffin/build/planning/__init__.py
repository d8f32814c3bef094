"""From stages to a graph of steps, each with the key that it is cached under. Nothing here touches a disk."""
