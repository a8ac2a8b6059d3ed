"""Does a worker know what is published from its first request on?"""

from dataclasses import replace
from pathlib import Path

from callbacks.worker import EMPTY, Worker
from sidecar.core.routing import Caller
from sidecar.handoff.routes import FILE_NAME, write_routes

KEY = Caller("key-1", "default", frozenset({"infer"}))


def test_a_worker_that_has_just_begun_knows_the_keys_that_are_published(tmp_path: Path) -> None:
    write_routes(tmp_path / FILE_NAME, replace(EMPTY, generation=3, keys={"digest": KEY}))
    assert Worker(tmp_path).newest().keys == {"digest": KEY}


def test_what_waits_to_be_used_counts_already_so_that_a_revoked_key_is_refused_at_once(
    tmp_path: Path,
) -> None:
    worker = Worker(tmp_path)
    worker.use(replace(EMPTY, generation=3, keys={"digest": KEY}))
    write_routes(tmp_path / FILE_NAME, replace(EMPTY, generation=4))
    worker.look()
    assert worker.newest().keys == {}
    assert worker.table.generation == 3


def test_without_a_publication_there_is_no_key(tmp_path: Path) -> None:
    assert Worker(tmp_path).newest().generation == 0
