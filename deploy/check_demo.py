#!/usr/bin/env python3
"""Holds what `dramatis demo --json` reported against the tables it left: check_demo.py REPORT.json DATA_DIR.

Every fault is printed, one a line; the exit code is 1 when there is any.
"""

import json
import pathlib
import sqlite3
import sys

PERSONAS = 10
CALLS_MIN = 3
# The line of the report that holds what personas say of their calls against what the gateway saw.
SEEN_ALIKE = "calls seen alike by personas and gateway"


def faults(report, tables):
    def rows(query):
        return tables.execute(query).fetchall()

    personas = {persona_id: email for persona_id, email in rows("SELECT id, email FROM personas")}
    if len(personas) != PERSONAS:
        yield f"{len(personas)} personas in the tables, {PERSONAS} expected"

    calls = dict(rows("SELECT persona_id, count(*) FROM persona_actions GROUP BY persona_id"))
    for persona_id, email in personas.items():
        if calls.get(persona_id, 0) < CALLS_MIN:
            yield f"{email} made {calls.get(persona_id, 0)} calls, at least {CALLS_MIN} expected"

    reported = {persona["persona_id"]: persona["calls"] for persona in report["report"]["personas"]}
    if reported != calls:
        yield f"calls by persona: the report says {reported}, the tables say {calls}"

    for result, count in rows("SELECT result, count(*) FROM persona_actions GROUP BY result"):
        if result not in ("ok", "error"):
            yield f"{count} calls are {result} after a day that ended"
    for outcome, count in rows("SELECT coalesce(outcome, 'running'), count(*) FROM ticks GROUP BY outcome"):
        if outcome in ("running", "interrupted", "failed"):
            yield f"{count} ticks are {outcome}"

    unrated = rows(
        "SELECT DISTINCT personas.email, actions.module FROM persona_actions AS actions"
        " JOIN personas ON personas.id = actions.persona_id"
        " WHERE NOT EXISTS (SELECT 1 FROM persona_feedback AS feedback"
        " WHERE feedback.tick_id = actions.tick_id AND feedback.module = actions.module AND feedback.state = 'rated')"
    )
    for email, module in unrated:
        yield f"{email} used {module} and did not rate it"

    at_the_gateway = rows("SELECT count(*) FROM gateway_calls WHERE outcome <> 'pending'")[0][0]
    seen_alike = {line["what"]: line["table"] for line in report["agreement"]}.get(SEEN_ALIKE)
    if not sum(calls.values()) == at_the_gateway == seen_alike:
        yield (
            f"{sum(calls.values())} calls of personas, {at_the_gateway} with an end at the gateway,"
            f" {seen_alike} that both tell alike in the report"
        )

    if not report["agreement"]:
        yield "the report compares nothing with the log"
    for line in report["agreement"]:
        if not line["agrees"]:
            yield f"the report says that tables and log disagree: {line}"


def main(report_file, data_dir):
    report = json.loads(pathlib.Path(report_file).read_text(encoding="utf-8"))
    database = pathlib.Path(data_dir, "dramatis.sqlite").resolve()
    tables = sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)
    found = list(faults(report, tables))
    for fault in found:
        print(fault)
    if not found:
        calls = sum(persona["calls"] for persona in report["report"]["personas"])
        print(f"{PERSONAS} personas made {calls} calls; report, tables and log agree")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
