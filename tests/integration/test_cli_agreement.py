"""`signalops agreement` against a sidecar process of its own."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path

from sidecar.store.database import create_engine
from tests.integration.test_cli_decisions import Desk, desk
from tests.people import People

__all__ = ["desk"]
ASKED = {"messages": [{"role": "user", "content": "Which of the two?"}]}


def choose(desk: Desk, folder: Path) -> None:
    """Let two people compare three pairs of drafts; they agree on two."""

    async def run() -> None:
        engine = create_engine(desk.database)
        people = People(engine, folder, datetime.now(UTC))
        for number in range(3):
            request = {"model": "reply", **ASKED, "seed": number}
            one = await people.draft("one", request=request)
            other = await people.draft("other", request=request, assigned_arm="canary")
            await people.say(one, "ann", over=other)
            last = {"tie_with": other} if number == 2 else {"over": other}
            await people.say(one, "bob", **last)
        await engine.dispose()

    asyncio.run(run())


def test_agreement_is_told_by_pair_and_for_all(desk: Desk, tmp_path: Path) -> None:
    assert "Nobody judged" in desk.ok("agreement", "--of", "choices")
    choose(desk, tmp_path)
    shown = desk.ok("agreement", "--of", "choices")
    [pair] = [line.split() for line in shown.splitlines() if "ann and bob" in line]
    assert pair[3:5] == ["3", "66.7%"]
    assert "all together" in shown
    assert '"n": 3' in desk.ok("agreement", "--of", "choices", "--json")
    desk.refused("agreement", "--of", "pears")
