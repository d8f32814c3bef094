from tests.building import based, bench

__all__ = ["based", "bench"]
