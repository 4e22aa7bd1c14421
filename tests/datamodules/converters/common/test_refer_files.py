import os
import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lasagna.datamodules.converters import LayoutError
from lasagna.datamodules.converters.common.refer_files import read_plain_pickle, split_names


@pytest.mark.parametrize(
    ("split", "names"), [("train", ["train"]), ("test", ["test"]), ("testA", ["testA"]), ("testAB", ["testA", "testB"])]
)
def test_splits_of_a_reference(split, names):
    assert split_names(split) == names


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner, inner),
    max_leaves=20,
)


@settings(max_examples=30)
@given(plain, st.sampled_from([0, 1, 2, 3, 4, 5]))
def test_plain_data_is_read_as_python_does(tmp_path_factory, value, protocol):
    path = tmp_path_factory.getbasetemp() / "plain.p"
    path.write_bytes(pickle.dumps(value, protocol=protocol))
    assert read_plain_pickle(path) == value


class Malicious:
    def __reduce__(self):
        return os.system, ("echo harm",)


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_code_is_refused_and_not_run(tmp_path, protocol, capfd):
    (tmp_path / "refs.p").write_bytes(pickle.dumps([Malicious()], protocol=protocol))
    with pytest.raises(LayoutError, match="not plain data and is not executed"):
        read_plain_pickle(tmp_path / "refs.p")
    assert "harm" not in capfd.readouterr().out


@pytest.mark.parametrize("text", [b"caf\xc3\xa9", b"caf\xe9"])
@pytest.mark.parametrize("form", ["protocol 0", "protocol 2", "unicode"])
def test_texts_of_python_2_beyond_ascii_are_read(tmp_path, text, form):
    line = b"(lp0\n(dp1\nS'sent'\np2\nS'" + text.decode("latin-1").encode("ascii", "backslashreplace") + b"'\np3\nsa."
    short = b"\x80\x02]q\x00}q\x01U\x04sentq\x02U" + bytes([len(text)]) + text + b"q\x03sa."
    known = b"(lp0\n(dp1\nS'sent'\np2\nVcaf\xe9\np3\nsa."
    data = {"protocol 0": line, "protocol 2": short, "unicode": known}[form]
    (tmp_path / "refs.p").write_bytes(data)
    assert read_plain_pickle(tmp_path / "refs.p") == [{"sent": "café"}]


@given(st.binary(max_size=60))
def test_any_damage_is_named(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "damaged.p"
    path.write_bytes(b"\x80\x02]q\x00" + data)
    try:
        read_plain_pickle(path)
    except LayoutError as error:
        assert "\n" not in str(error)


def test_a_cut_file_is_named(tmp_path):
    (tmp_path / "refs.p").write_bytes(pickle.dumps([{"a": 1}], protocol=2)[:-3])
    with pytest.raises(LayoutError, match=r"refs\.p: the annotation file cannot be read"):
        read_plain_pickle(tmp_path / "refs.p")
    with pytest.raises(LayoutError, match="missing"):
        read_plain_pickle(tmp_path / "none.p")
