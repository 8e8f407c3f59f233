"""Writes hostile text wherever text can come from, and asks the tables in plain SQL what the heat-map must show."""

import json
import os
import sqlite3
import sys
import time
import urllib.request

API, TOKEN = os.environ["DASHBOARD_API"], os.environ["DASHBOARD_TOKEN"]
SERVICE_KEY = "dev-service-key-rotate-in-prod"
# Nobody acts as these personas, so their password need not be the derived one.
PASSWORD = "the password of this test"


def ask(method, path, body=None, **headers):
    data = None if body is None else json.dumps(body).encode()
    headers = {"content-type": "application/json", **headers}
    request = urllib.request.Request(API + path, data, headers, method=method)
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


def admin(method, path, body=None):
    return ask(method, path, body, authorization=f"Bearer {TOKEN}")


def runner(path, body):
    return ask("POST", path, body, **{"x-service-key": SERVICE_KEY})


def enrol(email, name, archetype):
    return admin("POST", "/api/v1/admin/personas", {
        "email": email, "name": name, "password": PASSWORD, "archetype": archetype,
        "systemPrompt": name, "moduleMix": {"todo": 1},
    })["userId"]


def write_hostile(lines):
    """Every line is a name, a tool's name and error, a module, and a note once; some stay as the names of personas."""
    ids = [enrol(f"persona.hostile{number}@mana.test", line, line) for number, line in enumerate(lines[::25])]
    for line in lines:
        enrol("persona.hostile0@mana.test", line, lines[0])
    actions = [
        {"tickId": f"hostile-{number // 50}", "toolName": line, "result": "error", "errorMessage": line}
        for number, line in enumerate(lines)
    ]
    runner(f"/api/v1/internal/personas/{ids[1]}/actions", {"actions": actions})
    feedback = [
        {"tickId": f"hostile-{number // 50}", "module": line, "rating": number % 5 + 1, "notes": line}
        for number, line in enumerate(lines)
    ]
    for begin in range(0, len(feedback), 75):
        runner(f"/api/v1/internal/personas/{ids[1]}/feedback", {"feedback": feedback[begin:begin + 75]})
    return ids


def wait_until_folded():
    for _ in range(600):
        status = admin("GET", "/api/v1/queries/projections.status")
        if status["lag_events"] == 0:
            return
        time.sleep(0.1)
    sys.exit("the tables do not catch up with the log")


def main():
    tables, hostile, scratch = sys.argv[1:]
    lines = open(hostile, encoding="utf-8").read().split("\n")[:-1]
    assert len(lines) >= 150, len(lines)
    ids = [] if os.environ.get("PICTURES") else write_hostile(lines)
    wait_until_folded()
    db = sqlite3.connect(f"file:{tables}?mode=ro", uri=True)
    cells = {
        source: [[module, archetype, count, mean] for module, archetype, count, mean in db.execute(
            "SELECT f.module, p.archetype, COUNT(f.rating), AVG(f.rating) FROM persona_feedback f"
            " JOIN personas p ON p.id = f.persona_id WHERE f.rating IS NOT NULL AND f.source = ?"
            " GROUP BY f.module, p.archetype", (source,))]
        for (source,) in db.execute("SELECT DISTINCT source FROM persona_feedback WHERE rating IS NOT NULL")
    }
    persona, tick = db.execute("SELECT persona_id, id FROM ticks WHERE brain = 'simulated' LIMIT 1").fetchone()
    facts = {"lines": lines, "hostile": ids, "cells": cells, "persona": persona, "tick": tick}
    json.dump(facts, open(os.path.join(scratch, "facts.json"), "w"))


main()
