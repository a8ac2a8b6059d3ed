"""Reading `proxy_config.yaml`, and noticing that it changed."""

from pathlib import Path

import pytest

from sidecar.worker.config_file import read_config, stamp_of


def test_included_files_are_merged_as_litellm_merges_them(tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    main = tmp_path / "main.yaml"
    main.write_text("include: [more/a.yaml]\nmodel_list: [1]\nx: 1\n")
    (tmp_path / "more/a.yaml").write_text("include: [b.yaml]\nmodel_list: [2]\nx: 2\n")
    (tmp_path / "more/b.yaml").write_text("include: [../main.yaml]\nmodel_list: [3]\n")
    found = read_config(main)
    assert found.error is None
    assert found.values is not None
    assert (found.values["model_list"], found.values["x"]) == ([1, 2, 3], 2)
    assert [path.name for path in found.files] == ["main.yaml", "a.yaml", "b.yaml"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        pytest.param("model_list: [", "no YAML.*line", id="half-written"),
        pytest.param("a: b: c", "no YAML.*line 1", id="no YAML"),
        pytest.param("", "found nothing", id="empty"),
        pytest.param("- 1", "found list", id="a list"),
        pytest.param("include: x.yaml", "must be a list", id="include is no list"),
        pytest.param("include: [gone.yaml]", "gone.yaml cannot be read", id="include is gone"),
        pytest.param("a: !!python/object:os.system x", "no YAML", id="code"),
        pytest.param("[" * 1000, "cannot be parsed|no YAML", id="too deep"),
        pytest.param("when: 2026-13-45", "cannot be parsed", id="no date"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "proxy_config.yaml"
    path.write_text(text)
    found = read_config(path)
    assert found.values is None
    assert found.error is not None
    with pytest.raises(AssertionError, match=says):
        raise AssertionError(found.error)


def test_an_error_quotes_no_line_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "proxy_config.yaml"
    path.write_text("api_key: sk-secret: oops\n")
    found = read_config(path).error
    assert found is not None
    assert "sk-secret" not in found


@pytest.mark.parametrize("data", [b"\xff\xfe\x00", b"a: \xc3\x28"])
def test_a_file_that_is_no_text_is_said_to_be_none(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "proxy_config.yaml"
    path.write_bytes(data)
    assert "UTF-8" in str(read_config(path).error)


def test_a_missing_file_is_said_to_be_missing(tmp_path: Path) -> None:
    assert "cannot be read" in str(read_config(tmp_path / "none.yaml").error)


def test_a_stamp_changes_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "proxy_config.yaml"
    absent = stamp_of((path,))
    path.write_text("a: 1\n")
    written = stamp_of((path,))
    other = tmp_path / "other"
    other.write_text("a: 2\n")
    other.replace(path)
    assert len({absent, written, stamp_of((path,))}) == 3
