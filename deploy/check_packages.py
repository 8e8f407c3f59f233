"""What of the packages can be compared without the programs they are for: names of metrics and settings, references between
Kubernetes objects, hardening, JSON and YAML that can be read at all.

    check_packages.py all
    check_packages.py nats-of-kubernetes      prints the nats-server configuration in the Kubernetes base
"""

import json
import pathlib
import re
import sys

try:
    import yaml
except ImportError:
    yaml = None

ROOT = pathlib.Path(__file__).resolve().parent.parent
DEPLOY = ROOT / "deploy"
FAULTS = []


def fault(what):
    FAULTS.append(what)


def documented(heading):
    """First cells of the table under a heading of docs/operations.md."""
    text = (ROOT / "docs/operations.md").read_text()
    section = text.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
    return set(re.findall(r"^\| `([a-z0-9_]+)`", section, re.M))


def metrics():
    known = documented("Metrics") | {"up"}
    name = re.compile(r"\b((?:dramatis|gateway|cast|projection|nats)_[a-z_]+)\b")
    texts = {"rules": (DEPLOY / "prometheus/rules.yml").read_text()}
    boards = sorted((DEPLOY / "grafana/dashboards").glob("*.json"))
    if len(boards) < 2:
        fault("grafana: boards are missing")
    for board in boards:
        value = json.loads(board.read_text())
        if not value["uid"] or not value["panels"]:
            fault(f"{board.name}: no uid or no panels")
        ids = [panel["id"] for panel in value["panels"]]
        if len(ids) != len(set(ids)):
            fault(f"{board.name}: two panels of one id")
        texts[board.name] = "\n".join(t["expr"] for panel in value["panels"] for t in panel["targets"])
    for where, text in texts.items():
        expressions = re.findall(r"expr: (.*)", text) if where == "rules" else [text]
        used = set(name.findall("\n".join(expressions)))
        if not used:
            fault(f"{where}: asks for no metric")
        for metric in sorted(used):
            if re.sub(r"_(bucket|sum|count)$", "", metric) not in known:
                fault(f"{where}: {metric} is not among the metrics of docs/operations.md")


def alerts():
    """Every alert has a line in docs/operations.md that says what to do, and every such line an alert."""
    raised = set(re.findall(r"- alert: (\w+)", (DEPLOY / "prometheus/rules.yml").read_text()))
    text = (ROOT / "docs/operations.md").read_text().split("\n## Alarms\n", 1)[1].split("\n## ", 1)[0]
    rows = re.findall(r"^\| `(Dramatis\w+)` \|[^|]+\|([^|]+)\|$", text, re.M)
    for alert in sorted(raised ^ {name for name, _ in rows}):
        fault(f"{alert} is in rules.yml or under Alarms in docs/operations.md, and not in the other")
    for name, what in rows:
        if len(what.strip()) < 10:
            fault(f"docs/operations.md: what is to be done about {name}?")


def settings():
    """Every DRAMATIS_… that a package sets is a setting, or belongs to the package itself."""
    known = documented("Settings")
    own = {"IMAGE", "NATS_PASSWORD", "ROUTE_PASSWORD", "ROUTE_1", "ROUTE_2", "ROUTE_3", "SERVER_NAME", "ENV"}
    for path in sorted(DEPLOY.rglob("*")):
        if path.parent.name not in {"compose", "kubernetes", "systemd", "docker", "nats"} or not path.is_file():
            continue
        for name in sorted(set(re.findall(r"\bDRAMATIS_([A-Z0-9_]+)\b", path.read_text()))):
            if name not in own and name.lower() not in known:
                fault(f"{path.relative_to(ROOT)}: DRAMATIS_{name} is no setting")


def objects():
    for path in sorted((DEPLOY / "kubernetes").glob("*.yaml")):
        for value in yaml.safe_load_all(path.read_text()):
            if not isinstance(value, dict) or "kind" not in value:
                fault(f"{path.name}: not an object of Kubernetes")
            else:
                yield path, value


def kubernetes():
    found = list(objects())
    listed = set()
    for _, value in found:
        if value["kind"] == "Kustomization":
            listed = set(value["resources"])
    files = {path.name for path, _ in found}
    for missing in sorted(listed - files):
        fault(f"kustomization.yaml names {missing}, which is not there")
    for stray in sorted(files - listed - {"kustomization.yaml", "secret.example.yaml"}):
        fault(f"kustomization.yaml does not name {stray}")
    secrets = next(v for _, v in found if v["kind"] == "Secret")["stringData"]
    kinds = {}
    for path, value in found:
        kinds.setdefault(value["kind"], []).append(value)
        if value["kind"] not in {"StatefulSet", "Deployment"}:
            continue
        name, template = value["metadata"]["name"], value["spec"]["template"]
        labels, selector = template["metadata"]["labels"], value["spec"]["selector"]["matchLabels"]
        if not selector.items() <= labels.items():
            fault(f"{name}: its selector does not fit its pods")
        pod = template["spec"]
        if not pod["securityContext"].get("runAsNonRoot"):
            fault(f"{name}: may run as root")
        if pod.get("automountServiceAccountToken") is not False:
            fault(f"{name}: has a token of the cluster")
        volumes = {volume["name"] for volume in pod["volumes"]}
        volumes |= {claim["metadata"]["name"] for claim in value["spec"].get("volumeClaimTemplates", [])}
        for container in pod["containers"]:
            security = container["securityContext"]
            if not (
                security.get("readOnlyRootFilesystem")
                and security.get("allowPrivilegeEscalation") is False
                and security.get("capabilities") == {"drop": ["ALL"]}
            ):
                fault(f"{name}: {container['name']} is not hardened")
            for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
                if probe not in container:
                    fault(f"{name}: {container['name']} has no {probe}")
            for mount in container["volumeMounts"]:
                if mount["name"] not in volumes:
                    fault(f"{name}: volume {mount['name']} is not there")
            for variable in container["env"]:
                reference = variable.get("valueFrom", {}).get("secretKeyRef")
                if reference and reference["key"] not in secrets:
                    fault(f"{name}: secret.example.yaml has no {reference['key']}")
    if not any(v["spec"]["podSelector"] == {} and len(v["spec"]["policyTypes"]) == 2 for v in kinds["NetworkPolicy"]):
        fault("network.yaml: nothing closes what is not named")


def plain(text):
    """A configuration of nats-server without its remarks and its layout."""
    return re.sub(r"[\s,]+", " ", re.sub(r"(?m)^\s*#.*$", "", text)).strip()


def nats_of_kubernetes():
    for _, value in objects():
        if value["kind"] == "ConfigMap" and "three.conf" in value["data"]:
            return value["data"]["three.conf"]
    raise SystemExit("there is no nats-server configuration in the Kubernetes base")


def compose():
    value = yaml.safe_load((DEPLOY / "compose/compose.yaml").read_text())
    services = value["services"]
    for name, service in services.items():
        if name != "postgres" and not (service.get("read_only") and service.get("cap_drop") == ["ALL"]):
            fault(f"compose: {name} is not hardened")
        for port in service.get("ports", []):
            if not port.startswith("127.0.0.1:"):
                fault(f"compose: {name} listens on every address")
        for network in service.get("networks", []):
            if network not in value["networks"]:
                fault(f"compose: network {network} is not there")
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            there = (DEPLOY / "compose" / source).exists() if source.startswith(".") else source in value["volumes"]
            if not there:
                fault(f"compose: {name} mounts {source}, which is not there")
        for wanted in service.get("depends_on", {}):
            if "healthcheck" not in services[wanted]:
                fault(f"compose: {name} waits for {wanted}, which has no health check")


def dockerfile():
    text = (DEPLOY / "docker/Dockerfile").read_text()
    final = text.rsplit("\nFROM ", 1)[1]
    for wanted in ("USER 65532", "HEALTHCHECK", "ENTRYPOINT", "nonroot"):
        if wanted not in final:
            fault(f"Dockerfile: {wanted} is missing from the last stage")
    floor = re.search(r'rust-version = "([0-9]+)\.([0-9]+)"', (ROOT / "Cargo.toml").read_text()).groups()
    used = re.search(r"FROM rust:([0-9]+)\.([0-9]+)", text).groups()
    if tuple(map(int, used)) < tuple(map(int, floor)):
        fault("Dockerfile: its Rust is older than Cargo.toml asks for")


def registry():
    value = json.loads((DEPLOY / "mcp/server.json").read_text())
    version = re.search(r'\[workspace\.package\]\nversion = "([^"]+)"', (ROOT / "Cargo.toml").read_text()).group(1)
    if value["version"] != version:
        fault("server.json: another version than Cargo.toml")
    if not re.fullmatch(r"[a-zA-Z0-9.-]+/[a-zA-Z0-9._-]+", value["name"]) or not 1 <= len(value["description"]) <= 100:
        fault("server.json: name or description is not as the registry takes them")
    for remote in value["remotes"]:
        for variable in re.findall(r"\{(\w+)\}", remote["url"]):
            if variable not in remote["variables"]:
                fault(f"server.json: {variable} of the address is not described")


def main():
    if sys.argv[1:] == ["nats-of-kubernetes"]:
        if yaml is None:
            print((DEPLOY / "nats/three.conf").read_text())
        else:
            print(nats_of_kubernetes())
        return
    checks = [metrics, alerts, settings, dockerfile, registry]
    if yaml is None:
        print("SKIPPED: PyYAML is not here (Debian's python3-yaml), so compose and Kubernetes files went unread")
    else:
        checks += [kubernetes, compose]
        if plain(nats_of_kubernetes()) != plain((DEPLOY / "nats/three.conf").read_text()):
            fault("kubernetes/nats.yaml: its nats-server configuration is not that of nats/three.conf")
        for path in sorted(DEPLOY.rglob("*.y*ml")):
            list(yaml.safe_load_all(path.read_text()))
    for check in checks:
        check()
    if FAULTS:
        sys.exit("\n".join(FAULTS))
    print(f"{len(checks)} kinds of package hold together")


main()
