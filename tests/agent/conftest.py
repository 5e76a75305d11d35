"""The scripted model server for the tests of this folder."""

from tests.servers.fixtures import chat_server

__all__ = ["chat_server"]
