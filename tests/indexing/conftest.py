from tests.matching.conftest import crystal

__all__ = ["crystal"]
