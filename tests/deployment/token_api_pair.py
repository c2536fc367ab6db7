"""Two replicas of token-api on a PostgreSQL of a test's own, in a scratch namespace, and who calls them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from tests.deployment.kubectl import Kubectl
from tests.manifests.rendering import template
from tests.running import RunningStack

SERVICE_KEY = "only-for-this-test-0123456789abcdef"
_CALLER = "caller"
_DATABASE = "postgres"
_PROGRAMS = "/usr/lib/postgresql/15/bin"
# Only root may become another user; neither program runs as root. The directory goes with the pod.
_SERVE = f"""
set -eu
as="setpriv --reuid=postgres --regid=postgres --init-groups"
install -d -o postgres -g postgres -m 700 /data/cluster
install -d -o postgres -g postgres /var/run/postgresql
$as {_PROGRAMS}/initdb -D /data/cluster -U postgres -A trust -E UTF8
echo "host all all all trust" >> /data/cluster/pg_hba.conf
exec $as {_PROGRAMS}/postgres -D /data/cluster -c "listen_addresses=*" -c max_connections=100
"""
# Runs in a pod, by the service's own image: `threads` callers make streams until `seconds` are over. What
# they were answered is printed as JSON: an id, or null with the reason.
_LOAD = """
import concurrent.futures, json, sys, time, urllib.error, urllib.request
base, key, threads, seconds = sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
end = time.monotonic() + seconds
def caller(number):
    made = []
    while time.monotonic() < end:
        body = {"title": f"{number}", "space_id": "space", "owner_id": f"owner-{number}"}
        request = urllib.request.Request(
            f"{base}/v1/streams", json.dumps(body).encode(),
            {"Authorization": f"Bearer {key}", "Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                made.append([json.load(answer)["id"], None])
        except (OSError, ValueError) as error:
            made.append([None, str(error)])
            time.sleep(0.05)
    return made
with concurrent.futures.ThreadPoolExecutor(threads) as pool:
    print(json.dumps([entry for made in pool.map(caller, range(threads)) for entry in made]))
"""
# Prints which of the ids on stdin are not there.
_LOOK = """
import json, sys, urllib.error, urllib.request
base, key = sys.argv[1:]
def there(stream):
    bearer = {"Authorization": f"Bearer {key}"}
    request = urllib.request.Request(f"{base}/v1/streams/{stream}", headers=bearer)
    try:
        return urllib.request.urlopen(request, timeout=10).status == 200
    except urllib.error.HTTPError as error:
        if error.code == 404:
            return False
        raise
print(json.dumps([stream for stream in json.load(sys.stdin) if not there(stream)]))
"""


@dataclass(frozen=True)
class Pair:
    """The deployed replicas."""

    kubectl: Kubectl
    namespace: str

    def pods(self) -> list[str]:
        """The replicas that are not going away."""
        found = self.kubectl.get("pods", "-n", self.namespace, "-l", "app.kubernetes.io/name=token-api")
        return [pod["metadata"]["name"] for pod in found if "deletionTimestamp" not in pod["metadata"]]

    def kill(self, pod: str) -> None:
        """At once: it finishes nothing."""
        words = ("delete", "pod", pod, "--grace-period=0", "--force", "--wait=false")
        self.kubectl("-n", self.namespace, *words)

    def load(self, *, threads: int, seconds: float) -> list[tuple[str | None, str | None]]:
        """What `threads` callers were answered within `seconds`: an id, or why there was none."""
        printed = self._call(_LOAD, SERVICE_KEY, str(threads), str(seconds), timeout=seconds + 60)
        return [(made, reason) for made, reason in json.loads(printed)]

    def missing(self, streams: list[str]) -> list[str]:
        """Which of the streams the service does not know."""
        found: list[str] = json.loads(self._call(_LOOK, SERVICE_KEY, timeout=120, input=json.dumps(streams)))
        return found

    def wait_ready(self) -> None:
        words = ("rollout", "status", "deployment/token-api", "--timeout=150s")
        self.kubectl("-n", self.namespace, *words, timeout=160)

    def _call(self, script: str, *arguments: str, timeout: float, input: str | None = None) -> str:
        base = f"http://token-api.{self.namespace}.svc:8080"
        command = ("exec", "-i", _CALLER, "--", "python3", "-c", script, base, *arguments)
        return self.kubectl("-n", self.namespace, *command, timeout=timeout, input=input).stdout


def start(kubectl: Kubectl, stack: RunningStack, namespace: str, *, token_api: str, postgres: str) -> Pair:
    """PostgreSQL, two replicas and a caller, ready.

    Args:
        token_api: the service's image.
        postgres: PostgreSQL's, as `local.images.catalog.postgres` has it.
    """
    idle = "import signal; signal.pause()"
    kubectl.create_pod(
        namespace,
        _CALLER,
        container={
            "image": token_api,
            "command": ["python3", "-c", idle],
            "securityContext": {"runAsUser": 65532},
        },
    )
    # Without its database a replica exits, and Kubernetes waits longer before each restart.
    kubectl.start_pod(
        namespace,
        _DATABASE,
        container={
            "image": postgres,
            "command": ["bash", "-c", _SERVE],
            "readinessProbe": {
                "exec": {"command": [f"{_PROGRAMS}/pg_isready", "-h", "127.0.0.1"]},
                "periodSeconds": 1,
                "timeoutSeconds": 5,
            },
            "volumeMounts": [{"name": "data", "mountPath": "/data"}],
        },
        volumes=[{"name": "data", "emptyDir": {}}],
    )
    outputs = stack.outputs
    kubectl.apply(
        _service(namespace),
        _secret(
            namespace, "database", {"url": f"postgresql://postgres@{_DATABASE}.{namespace}.svc/postgres"}
        ),
        _secret(
            namespace,
            "environment",
            {
                "LIVEKIT_API_KEY": outputs.livekit_api_key,
                "LIVEKIT_API_SECRET": outputs.livekit_api_secret.get_secret_value(),
                "TOKEN_API_SERVICE_KEY": SERVICE_KEY,
            },
        ),
    )
    values: dict[str, Any] = {
        "image": token_api,
        "replicas": 2,
        "database": {"kind": "external", "secretName": "database"},
        "livekit": {"url": f"http://livekit-server.{outputs.namespace}.svc:7880"},
        "secretName": "environment",
        "shutdown": {"drainSeconds": 2, "requestSeconds": 5, "workerSeconds": 2},
        "networkPolicy": {
            "clientPodLabels": [{"app": _CALLER}],
            "livekitCidrs": [f"{node['address']}/32" for node in kubectl.nodes()],
        },
    }
    kubectl.apply(*template(kubectl.cluster.tools / "helm", "token-api", values, namespace))
    kubectl.wait_for_pods(namespace, _CALLER)
    pair = Pair(kubectl, namespace)
    pair.wait_ready()
    return pair


def _service(namespace: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": _DATABASE, "namespace": namespace},
        "spec": {"selector": {"app": _DATABASE}, "ports": [{"port": 5432}]},
    }


def _secret(namespace: str, name: str, data: dict[str, str]) -> dict[str, Any]:
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": data}
