"""The engine's tests' own ground: an engine of which a test may leave nothing."""

from tests.integration.engine.conftest import ground, house

__all__ = ["ground", "house"]
