"""JSON is read as every parser reads it, or not at all."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast_gateway.json_text import parse
from holdfast_gateway.problems import ProblemError

# Texts that look like the end of a member's name, and like its beginning.
texts = st.text(st.sampled_from('ab":\\\n ,{}'), max_size=6)
documents = st.recursive(
    st.none() | st.integers(-9, 9) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=12,
)


@given(documents, st.sampled_from([None, 1]), st.sampled_from([(",", ":"), (" , ", "\t:\n")]))
def test_what_names_each_member_once_is_read(document, indent, separators):
    assert parse(json.dumps(document, indent=indent, separators=separators).encode()) == document


@given(documents, texts, documents, documents)
def test_a_member_that_is_there_twice_is_refused_wherever_it_is(before, name, first, second):
    twice = f"{{{json.dumps(name)}: {json.dumps(first)}, {json.dumps(name)} : {json.dumps(second)}}}"
    with pytest.raises(ProblemError, match="must not appear twice"):
        parse(f'[{json.dumps(before)}, {{"inner": {twice}}}]'.encode())


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b'{"a": 1, "a": 1}', "a"),
        (b'{"lines": [{"item": "x"}, {"quantity": 1, "quantity": 3}]}', "lines[1].quantity"),
        (rb'{"a": 1, "\u0061": 2}', "a"),
        (b'{"order": ":\\":", "sale": {"a": null, "b": 0, "a": 1}}', "sale.a"),
    ],
)
def test_it_is_named_by_its_path(body, field):
    with pytest.raises(ProblemError) as refused:
        parse(body)
    assert refused.value.problem.violations[0]["field"] == field


@pytest.mark.parametrize("body", [b"", b"{", b"\xef\xbb\xbf{}", b"{'a': 1}", b"[NaN]", b"[01]", b"[1,]", b"[" * 5000])
def test_what_is_not_json_is_refused(body):
    with pytest.raises(ProblemError, match="not JSON"):
        parse(body)


def test_what_is_nested_as_deeply_as_is_parsed_at_all_is_looked_at_again():
    depth = 200
    with pytest.raises(ProblemError, match="must not appear twice"):
        parse(b'{"a":' * depth + b'{"b":1,"b":2}' + b"}" * depth)
