"""The Python SDK, in the era its first argument names: legacy (sessions) or auto (newest)."""

import asyncio
import os
import sys

from mcp import Client
from mcp.client.streamable_http import create_mcp_http_client, streamable_http_client

URL, TOKEN, CANARY = (os.environ[name] for name in ("MCP_URL", "MCP_TOKEN", "MCP_CANARY"))


async def patience(client: Client) -> None:
    """Cancelling and coming back, against the fixtures of deploy/conformance."""
    back = await client.call_tool("test_reconnection", {})
    assert "another connection" in back.content[0].text, back

    async def slow_calls() -> int:
        return int((await client.call_tool("test_slow_count", {})).content[0].text)

    async def until(count: int) -> None:
        async with asyncio.timeout(10):
            while await slow_calls() != count:
                await asyncio.sleep(0.05)

    slow = asyncio.create_task(client.call_tool("test_slow", {}))
    await until(1)
    slow.cancel()
    await asyncio.gather(slow, return_exceptions=True)
    assert slow.cancelled() or slow.exception(), slow
    await until(0)


async def main(mode: str) -> None:
    http = create_mcp_http_client(headers={"Authorization": f"Bearer {TOKEN}"})
    async with http, Client(streamable_http_client(URL, http_client=http), mode=mode) as client:
        if os.environ.get("MCP_TRIAL") == "patience":
            await patience(client)
            return
        tools = (await client.list_tools()).tools
        assert len(tools) == 11, [tool.name for tool in tools]
        created = await client.call_tool("todo.create", {"title": CANARY})
        assert not created.is_error, created
        assert created.structured_content["task"]["title"] == CANARY, created
        listed = await client.call_tool("todo.list", {})
        titles = [task["title"] for task in listed.structured_content["tasks"]]
        assert titles == [CANARY], titles
        refused = await client.call_tool("todo.create", {})
        assert refused.is_error and "title" in refused.content[0].text, refused


asyncio.run(main(sys.argv[1]))
