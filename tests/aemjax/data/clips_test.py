"""What every reader shares: csv files, and finding files."""

import pytest

from aemjax.data.clips import find, read_csv


def test_csv_with_byte_order_mark_and_windows_line_ends(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(b'\xef\xbb\xbfpath,label\r\n"x, y.wav", dog\r\n')
    assert list(read_csv(path, ("path",))) == [{"path": "x, y.wav", "label": "dog"}]


@pytest.mark.parametrize(
    "content, message",
    [
        (b"path;label\n", r"a.csv lacks the columns \['path', 'label'\]; it has"),
        (b"", r"a.csv lacks the columns \['path', 'label'\]; it has \[\], expected"),
        (b"path,label\nx,1\ny\n", r"a.csv:3: no fields \['label'\]"),
        (b"path,label\nx,dog\n", "a.csv:2: label is 'dog', expected a whole number"),
        (b"path,label\n\xe9,1\n", "a.csv is not UTF-8 .* save it as UTF-8"),
    ],
)
def test_malformed_csv(tmp_path, content, message):
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        list(read_csv(tmp_path / "a.csv", ("path", "label"), whole=("label",)))


def test_finds_a_file_at_the_source_before_those_below(tmp_path):
    for name in ("meta/a.csv", "copy/meta/a.csv", "copy/xmeta/b.csv", "c/meta/b.csv"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert find(tmp_path, "meta/a.csv") == tmp_path / "meta" / "a.csv"
    assert find(tmp_path, "meta/b.csv") == tmp_path / "c" / "meta" / "b.csv"


def test_finds_no_file_or_several(tmp_path):
    message = "a.csv does not exist, nor does meta/a.csv in a folder below; is this the"
    with pytest.raises(ValueError, match=message):
        find(tmp_path, "meta/a.csv")
    for name in "bc":
        (tmp_path / name / "meta").mkdir(parents=True)
        (tmp_path / name / "meta" / "a.csv").touch()
    message = (
        r"holds meta/a.csv 2 times: \['.*b/meta/a.csv', '.*'\]; name the folder of"
    )
    with pytest.raises(ValueError, match=message):
        find(tmp_path, "meta/a.csv")
