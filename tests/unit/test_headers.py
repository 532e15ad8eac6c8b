"""Headers of records to publish, as the outbox holds them."""

from hypothesis import given
from hypothesis import strategies as st

from avoir.postgres.headers import packed, unpacked

HEADERS = st.lists(st.tuples(st.text(max_size=40), st.none() | st.binary(max_size=300)), max_size=20)


@given(HEADERS)
def test_headers_come_back_as_they_were(headers: list[tuple[str, bytes | None]]) -> None:
    assert unpacked(packed(headers)) == headers
