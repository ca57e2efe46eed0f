"""What no schema knows of deploy/: every metric exists, the scaler aims at something, a worker has time for its proof, keys get into
their volume, an image is not asked for where it is, no secret is in plain text.

Prints every expression of dashboard and scaler as recording rules, for promtool. Its argument is the folder with the built overlays.
"""

import json
import pathlib
import re
import sys

import ruamel.yaml

root = pathlib.Path(__file__).parent.parent
built = pathlib.Path(sys.argv[1])
yaml = ruamel.yaml.YAML(typ="safe")
wrong = []


def check(holds, what):
    if not holds:
        wrong.append(what)


def documents(path):
    return [document for document in yaml.load_all(path.read_text()) if document]


def check_image(where, pod):
    for container in pod["containers"]:
        check(container.get("imagePullPolicy") == "IfNotPresent", f"{where}: {container['name']} asks a registry for an image that the node may hold")


def panels(dashboard):
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


dashboard = json.loads((root / "deploy/grafana/dashboard.json").read_text())
check(len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"]), "dashboard: two panels of one id")
expressions = [target["expr"] for panel in panels(dashboard) for target in panel["targets"]]

loader = documents(root / "deploy/kubernetes/keys-loader.yaml")[0]["spec"]
check_image("keys-loader", loader)
claim = loader["volumes"][0]["persistentVolumeClaim"]
check(not claim.get("readOnly") and not loader["containers"][0]["volumeMounts"][0].get("readOnly"), "keys-loader: it cannot write to the volume")

scalers = 0
for path in sorted((root / "deploy/kubernetes/overlays").iterdir()):
    objects = documents(built / f"{path.name}.yaml")
    named = {(o["kind"], o["metadata"]["name"]): o for o in objects}
    for scaler in (o for o in objects if o["kind"] == "ScaledObject"):
        scalers += 1
        target = scaler["spec"]["scaleTargetRef"]
        check((target["kind"], target["name"]) in named, f"{path.name}: the scaler aims at {target}, which does not exist")
        check("replicas" not in named[target["kind"], target["name"]]["spec"], f"{path.name}: replicas of {target['name']} are set twice")
        expressions += [trigger["metadata"]["query"] for trigger in scaler["spec"]["triggers"]]
    pod = named["Deployment", "prover"]["spec"]["template"]["spec"]
    check(pod["terminationGracePeriodSeconds"] > 600, f"{path.name}: a worker is killed before its --grace-s is over")
    modes = named["PersistentVolumeClaim", claim["claimName"]]["spec"]["accessModes"]
    check({"ReadWriteOnce", "ReadWriteMany"} & set(modes), f"{path.name}: nothing can be put into the volume {claim['claimName']}")
    for o in objects:
        if o["kind"] == "Deployment":
            check_image(path.name, o["spec"]["template"]["spec"])
        check(o["kind"] != "Secret", f"{path.name}: a secret in plain text")
        if o["kind"] == "Service":
            wanted = o["spec"]["selector"].items()
            pods = [d["spec"]["template"]["metadata"]["labels"] for d in objects if d["kind"] == "Deployment"]
            check(any(wanted <= labels.items() for labels in pods), f"{path.name}: service {o['metadata']['name']} leads nowhere")
check(scalers == 1, f"{scalers} scalers")

alerts = [rule for group in documents(root / "deploy/prometheus/alerts.yaml")[0]["groups"] for rule in group["rules"]]
for alert in alerts:
    check(set(alert["annotations"]) == {"summary", "remedy"}, f"alert {alert['alert']}: summary or remedy is missing")

sources = "".join(path.read_text() for folder in ("sequencer", "prover", "settlement") for path in (root / folder / "src").rglob("*.rs"))
exported = set(re.findall(r'"(sheaf_[a-z0-9_]+)"', sources))
for expression in expressions + [alert["expr"] for alert in alerts]:
    for metric in re.findall(r"\bsheaf_[a-z0-9_]+", expression):
        check(metric in exported, f"no role exports {metric}: {expression}")

if wrong:
    sys.exit("\n".join(wrong))
rules = [{"record": f"checked:{number}", "expr": expression} for number, expression in enumerate(expressions)]
json.dump({"groups": [{"name": "expressions", "rules": rules}]}, sys.stdout)
