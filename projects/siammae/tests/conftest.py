"""The fixtures of every test of the repository."""

from tests.conftest import own_default_scope  # noqa: F401
