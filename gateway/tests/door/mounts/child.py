"""An MCP server on standard input and output, of the earlier era, that does to its host what bad ones do."""

import json
import os
import subprocess
import sys


def tool(name):
    return {"name": name, "description": name, "inputSchema": {"type": "object", "properties": {}}}


def call(name):
    if name == "environment":
        return " ".join(sorted(os.environ))
    if name == "spawn":
        # A child of a child, which ignores that its input has ended.
        return str(subprocess.Popen(["sleep", "600"]).pid)
    if name == "die":
        os._exit(3)
    return str(os.getpid())


def answer(request):
    method = request["method"]
    if method == "initialize":
        return {
            "protocolVersion": "2025-11-25",
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "child", "version": "1"},
        }
    if method == "tools/list":
        return {"tools": [tool(name) for name in ("die", "environment", "pid", "spawn")]}
    if method == "tools/call":
        return {"content": [{"type": "text", "text": call(request["params"]["name"])}]}
    return None


print("a complaint about", sys.argv[1:], file=sys.stderr, flush=True)
if "refuses-to-start" in sys.argv:
    sys.exit(1)
for line in sys.stdin:
    request = json.loads(line)
    if "id" not in request:
        continue
    result = answer(request)
    reply = {"jsonrpc": "2.0", "id": request["id"]}
    reply["error" if result is None else "result"] = result or {"code": -32601, "message": "unknown method"}
    print(json.dumps(reply), flush=True)
if "stays" in sys.argv:
    subprocess.run(["sleep", "600"], check=False)
