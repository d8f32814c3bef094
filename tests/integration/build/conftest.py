from tests.building import based, bench
from tests.webserver import web, work

__all__ = ["based", "bench", "web", "work"]
