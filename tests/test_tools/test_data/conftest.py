from tests.test_datasets.test_preparation.conftest import server  # noqa: F401
