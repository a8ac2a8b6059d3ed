"""A database that goes away and comes back, without harm to the server."""

import asyncio

from sqlalchemy.engine import make_url


class Gate:
    """A door before the database that can be shut: connections break, new ones are refused."""

    def __init__(self, target: tuple[str, int]) -> None:
        self._target = target
        self._server: asyncio.Server | None = None
        self._passing: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0
        self.url = ""

    @classmethod
    async def open(cls, url: str) -> "Gate":
        """Put a gate before a database."""
        behind = make_url(url)
        gate = cls((behind.host or "127.0.0.1", behind.port or 5432))
        await gate.reopen()
        front = behind.set(host="127.0.0.1", port=gate.port)
        gate.url = front.render_as_string(hide_password=False)
        return gate

    async def reopen(self) -> None:
        """Let connections pass, on the same port as before."""
        self._server = await asyncio.start_server(self._pass, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def shut(self) -> None:
        """Break every connection and refuse new ones."""
        if self._server is not None:
            self._server.close()
            for writer in list(self._passing):
                writer.transport.abort()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            self._server = None

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        behind_reader, behind_writer = await asyncio.open_connection(*self._target)
        both = {writer, behind_writer}
        self._passing |= both
        try:
            await asyncio.gather(
                self._copy(reader, behind_writer), self._copy(behind_reader, writer)
            )
        finally:
            self._passing -= both
            for end in both:
                end.close()
            self._tasks.discard(task)

    @staticmethod
    async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65_536):
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()
