import pytest

from tests.support.service import running_service


@pytest.fixture
async def service(database_url):
    """The whole inventory service on a fresh database."""
    async with running_service(database_url) as service:
        yield service
