"""The Python SDK over standard input and output, with the bridge between it and the gateway."""

import asyncio
import os
import sys

from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client

URL, TOKEN, CANARY = (os.environ[name] for name in ("MCP_URL", "MCP_TOKEN", "MCP_CANARY"))


async def main(program: str, mode: str) -> None:
    bridge = StdioServerParameters(command=program, args=["mcp", "bridge", "--url", URL], env={"MCP_TOKEN": TOKEN})
    async with Client(stdio_client(bridge), mode=mode) as client:
        assert len((await client.list_tools()).tools) == 11
        created = await client.call_tool("todo.create", {"title": CANARY})
        assert created.structured_content["task"]["title"] == CANARY, created
        refused = await client.call_tool("todo.create", {})
        assert refused.is_error and "title" in refused.content[0].text, refused


asyncio.run(main(sys.argv[1], sys.argv[2]))
