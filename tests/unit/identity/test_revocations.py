"""A token is cut off by its id, at once and wherever it was seen before."""

import pytest

from holdfast_chassis.identity.refusals import Unauthenticated
from holdfast_chassis.identity.revocations import parse_revocations
from tests.support.eventually import eventually


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "revoked"
    path.write_text("")
    return path


async def is_refused(authenticator, token):
    try:
        await authenticator.principal_of(f"Bearer {token}")
    except Unauthenticated as refused:
        return str(refused.detail) == "the token has been revoked"
    return False


async def test_a_remembered_token_is_refused_once_its_id_is_in_the_file(authenticating, key, path):
    leaked, kept = key.token(jti="t-1"), key.token(jti="t-2")
    async with authenticating(revoked_tokens_path=path) as authenticator:
        assert not await is_refused(authenticator, leaked)
        path.write_text("# leaked\nt-1\n")
        await eventually(lambda: is_refused(authenticator, leaked))
        assert not await is_refused(authenticator, kept)


async def test_a_token_without_an_id_is_not_revoked_by_an_empty_line(authenticating, key, path):
    path.write_text("\n\n")
    async with authenticating(revoked_tokens_path=path) as authenticator:
        assert not await is_refused(authenticator, key.token())


def test_the_file_is_bounded():
    with pytest.raises(ValueError, match="more than 10000"):
        parse_revocations("\n".join(map(str, range(10_001))).encode())
