"""What a build leaves besides its layers: outputs, caches for other engines, its history."""
