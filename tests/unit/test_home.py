import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sidecar.core.errors import Invalid
from sidecar.up.files import MAX_LOG_BYTES, open_log, write_private
from sidecar.up.home import (
    ADMIN_KEY,
    MASTER_KEY,
    Home,
    HomeInUse,
    first_start_secrets,
    own,
    parse_env,
    read_env,
)

USER = Path("/home/ada")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def tokens() -> Callable[[], str]:
    numbers: Iterator[int] = iter(range(100))
    return lambda: f"token-{next(numbers)}"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path / "a home")
    home.prepare()
    return home


@pytest.mark.parametrize(
    ("environment", "root"),
    [
        pytest.param({}, USER / ".local/share/signalops", id="nothing said"),
        pytest.param({"SIGNALOPS_HOME": " "}, USER / ".local/share/signalops", id="blank"),
        pytest.param({"SIGNALOPS_HOME": "/srv/so"}, Path("/srv/so"), id="absolute"),
        pytest.param({"SIGNALOPS_HOME": "~/so"}, USER / "so", id="below the user's home"),
        pytest.param({"SIGNALOPS_HOME": "so"}, Path.cwd() / "so", id="relative"),
    ],
)
def test_the_home_is_where_the_environment_says(
    environment: dict[str, str], root: Path
) -> None:
    assert Home.locate(environment, USER).root == root


def test_directories_are_created_closed_to_others(home: Home) -> None:
    made = [home.root, home.handoff, home.logs, home.postgres]
    assert [oct(mode(path)) for path in made] == ["0o700"] * 4


def test_directories_that_exist_keep_their_mode(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    Home(tmp_path).prepare()
    assert mode(tmp_path) == 0o755


def test_a_file_in_the_place_of_the_home_is_named(tmp_path: Path) -> None:
    (tmp_path / "taken").touch()
    with pytest.raises(Invalid, match="taken is a file"):
        Home(tmp_path / "taken").prepare()


def test_a_home_has_one_owner_and_the_second_is_told_who(home: Home) -> None:
    with own(home), pytest.raises(HomeInUse) as told, own(home):
        pytest.fail("owned twice")
    assert f"process {os.getpid()}" in str(told.value)
    assert str(home.root) in str(told.value)


def test_a_home_can_be_owned_again_after_its_owner_left(home: Home) -> None:
    with own(home):
        pass
    with own(home):
        assert home.lock_file.read_text() == f"{os.getpid()}\n"


def test_a_shorter_pid_overwrites_a_longer_one(home: Home) -> None:
    home.lock_file.write_text("123456789012\n")
    with own(home):
        assert home.lock_file.read_text() == f"{os.getpid()}\n"


def test_a_lock_file_that_cannot_be_opened_is_named(home: Home) -> None:
    home.lock_file.mkdir()
    with (
        pytest.raises(Invalid, match=r"cannot open the lock file .*/lock: Is a directory"),
        own(home),
    ):
        pytest.fail("owned without a lock")


def test_homes_do_not_hinder_each_other(tmp_path: Path) -> None:
    one, other = Home(tmp_path / "one"), Home(tmp_path / "other")
    one.prepare()
    other.prepare()
    with own(one), own(other):
        assert one.lock_file.exists()
        assert other.lock_file.exists()


def test_the_first_start_generates_both_keys_in_a_private_file(home: Home) -> None:
    previous = os.umask(0)
    try:
        assert first_start_secrets(home, token=tokens())
    finally:
        os.umask(previous)
    assert mode(home.env_file) == 0o600
    assert read_env(home.env_file) == {MASTER_KEY: "sk-token-0", ADMIN_KEY: "so-token-1"}


def test_generated_keys_differ_and_are_long(home: Home) -> None:
    first_start_secrets(home)
    keys = read_env(home.env_file)
    assert len(set(keys.values())) == 2
    assert all(len(key) >= 43 for key in keys.values())


def test_the_second_start_changes_nothing(home: Home) -> None:
    first_start_secrets(home, token=tokens())
    before = home.env_file.read_bytes()
    assert not first_start_secrets(home)
    assert home.env_file.read_bytes() == before


def test_what_the_user_wrote_stays_and_only_what_is_missing_is_added(home: Home) -> None:
    home.env_file.write_text(
        f"# mine\n\nOPENAI_API_KEY=k=1\n{ADMIN_KEY}=so-mine\n{MASTER_KEY}="
    )
    assert first_start_secrets(home, token=tokens())
    assert home.env_file.read_text() == (
        f"# mine\n\nOPENAI_API_KEY=k=1\n{ADMIN_KEY}=so-mine\n{MASTER_KEY}=sk-token-0\n"
    )


def test_an_env_file_open_to_others_is_closed(home: Home) -> None:
    home.env_file.write_text(f"{ADMIN_KEY}=a\n{MASTER_KEY}=b\n")
    home.env_file.chmod(0o644)
    assert not first_start_secrets(home)
    assert mode(home.env_file) == 0o600


def test_a_linked_env_file_stays_linked(home: Home, tmp_path: Path) -> None:
    real = tmp_path / "elsewhere.env"
    real.write_text("A=1\n")
    home.env_file.symlink_to(real)
    first_start_secrets(home, token=tokens())
    assert home.env_file.is_symlink()
    assert read_env(real)[MASTER_KEY] == "sk-token-0"


def test_a_missing_env_file_is_empty(tmp_path: Path) -> None:
    assert read_env(tmp_path / "none") == {}


def test_an_env_file_is_read_line_by_line() -> None:
    text = "# a comment\r\n\n A=1 \r\nB_2=x=y z\u2028w\nC=\n"
    assert parse_env(text) == {"A": "1", "B_2": "x=y z\u2028w", "C": ""}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        pytest.param("just words", "line 2 is no NAME=value", id="no equals sign"),
        pytest.param("KEY = s3cret", "line 2 is no NAME=value", id="blanks"),
        pytest.param("export KEY=s3cret", "line 2 is no NAME=value", id="export"),
        pytest.param("2KEY=s3cret", "line 2 is no NAME=value", id="begins with a digit"),
        pytest.param(
            'KEY="s3cret"', "line 2: the value of KEY begins with a quote", id="quote"
        ),
        pytest.param("KEY=s3cret # prod", "comment on another line", id="comment"),
        pytest.param("KEY=s3\0cret", "holds a NUL", id="NUL"),
        pytest.param("FIRST=s3cret", "line 2: FIRST stands twice", id="twice"),
    ],
)
def test_a_bad_line_is_refused_by_number_and_without_its_value(line: str, said: str) -> None:
    with pytest.raises(Invalid, match=said) as refused:
        parse_env(f"FIRST=1\n{line}\n")
    assert "cret" not in str(refused.value)


def test_a_bad_env_file_is_named_and_kept(home: Home) -> None:
    home.env_file.write_bytes(b"A=1\nB=\xff\n")
    with pytest.raises(Invalid, match=r"\.env is not UTF-8"):
        first_start_secrets(home)
    home.env_file.write_text("oops\n")
    with pytest.raises(Invalid, match=r"\.env, line 1 is no NAME=value"):
        first_start_secrets(home)
    assert home.env_file.read_text() == "oops\n"


def test_a_failed_write_leaves_the_old_content_and_no_debris(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    write_private(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_private(path, "\ud800")
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["secret"]


def test_a_log_is_private_and_appended_to(tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    for line in (b"one\n", b"two\n"):
        with open_log(path) as log:
            log.write(line)
    assert path.read_bytes() == b"one\ntwo\n"
    assert mode(path) == 0o600


def test_a_log_that_grew_too_big_is_set_aside_once(tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    path.touch()
    os.truncate(path, MAX_LOG_BYTES + 1)
    with open_log(path) as log:
        log.write(b"new\n")
    assert path.read_bytes() == b"new\n"
    assert (tmp_path / "x.log.1").stat().st_size == MAX_LOG_BYTES + 1
