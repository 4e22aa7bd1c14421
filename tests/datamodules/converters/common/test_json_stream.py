"""JSON that is read piece by piece is that of the standard library, and so are its mistakes."""

import json
from io import StringIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lasagna.datamodules.converters.common import json_stream
from lasagna.datamodules.converters.common.json_stream import JsonStream

plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=40),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


def read(text):
    stream, found = JsonStream(StringIO(text)), {}
    for name in stream.members():
        if stream.next() == "[":
            parts = list(stream.elements())
            assert [json.loads(part) for _, part in parts] == [value for value, _ in parts]
            found[name] = [value for value, _ in parts]
        else:
            found[name] = stream.value()
    return found


@settings(max_examples=15)
@given(st.dictionaries(st.text(), plain, max_size=4), st.integers(1, 30), st.sampled_from([None, 1]))
def test_any_object_is_read_whatever_the_pieces(content, size, indent):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_stream, "CHUNK", size)
        assert read(json.dumps(content, indent=indent)) == content
        assert read(json.dumps(content, ensure_ascii=False) + "\n ") == content


MISTAKES = [
    "",
    "{",
    "[]",
    '{"a"',
    '{"a": }',
    '{"a": [1, 2',
    '{"a": [1 2]}',
    '{"a": 1} x',
    "{1: 2}",
    '{"a": tru}',
    '{"a": "b',
]
MISTAKES += ['{"a": [{"b": ' + "x" * 200 + "]}", '{"a": ' + "[" * 100_000]


@pytest.mark.parametrize("size", [1, 1 << 20])
@pytest.mark.parametrize("text", MISTAKES)
def test_mistakes_are_errors(text, size, monkeypatch):
    monkeypatch.setattr(json_stream, "CHUNK", size)
    with pytest.raises(ValueError):
        read(text)


def test_a_mistake_at_the_begin_is_told_without_reading_on():
    file = StringIO('{"a": [{"b": nonsense}, ' + "1, " * (1 << 20))
    with pytest.raises(ValueError, match="Expecting value"):
        stream = JsonStream(file)
        next(stream.members())
        list(stream.elements())
    assert file.tell() == json_stream.CHUNK
