"""What the edge is given, and what the program makes of it: chart or Ingress objects, and certificates."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from pulumi.runtime import rpc

from livekit_platform.values import edge
from tests.unit.infra.conftest import ConfigMaker
from tests.unit.infra.program import SECRET, TRANSLATED, Deployment, certificates, minimal_config, run

INGRESS = "kubernetes:networking.k8s.io/v1:Ingress"
POLICY = "kubernetes:networking.k8s.io/v1:NetworkPolicy"
CERTIFICATE = "kubernetes:cert-manager.io/v1:Certificate"
BY_ISSUER = {"kind": "cert_manager", "issuer": {"name": "letsencrypt"}}
GIVEN = {"kind": "secret", "secret_name": "wildcard"}

NODE_A = "192.0.2.1"
NODE_B = "192.0.2.2"


def test_it_runs_on_its_nodes_with_the_ports_of_the_configuration(make_config: ConfigMaker) -> None:
    values = edge.chart_values(
        make_config(edge={"replicas": 1}, ports={"edge_https": 7443, "edge_http": 7080, "edge_metrics": 8405})
    )
    assert (values["replicas"], values["nodeNames"], values["expose"]) == (1, ["node-a"], "hostPort")
    assert values["publicPorts"] == {"https": 7443, "http": 7080}
    assert values["ports"] == {"metrics": 8405}


def test_behind_a_load_balancer_it_runs_anywhere_and_as_often_as_wanted(make_config: ConfigMaker) -> None:
    values = edge.chart_values(make_config(edge={"expose": "load_balancer", "replicas": 5}))
    assert (values["replicas"], values["nodeNames"], values["expose"]) == (5, [], "loadBalancer")


def test_turn_over_tls_is_coturn_s_own_or_ends_here_for_the_sfus(make_config: ConfigMaker) -> None:
    coturn = edge.chart_values(make_config(turn={"kind": "coturn", "replicas": 1}))["upstreams"]["turn"]
    namespace = make_config().namespace
    coturn_host, sfu_host = (f"{name}-nodes.{namespace}.svc" for name in ("coturn", "livekit-server"))
    assert coturn == {
        "host": coturn_host,
        "addresses": [NODE_A],
        "podLabels": {"app.kubernetes.io/name": "coturn"},
        "port": 5349,
        "terminateTls": False,
        "connectionsPerAddress": 200,
    }
    embedded = edge.chart_values(make_config(turn={"kind": "embedded"}))["upstreams"]["turn"]
    assert embedded == {
        "host": sfu_host,
        "addresses": [NODE_A, NODE_B],
        "port": 5349,
        "terminateTls": True,
        "connectionsPerAddress": 200,
    }


def test_requests_go_to_the_sfus_and_to_services(make_config: ConfigMaker) -> None:
    upstreams = edge.chart_values(make_config(namespace="calls", livekit={"replicas": 1}))["upstreams"]
    assert upstreams["sfu"] == {
        "host": "livekit-server-nodes.calls.svc",
        "addresses": [NODE_A],
        "port": 7880,
    }
    assert upstreams["api"]["host"] == "token-api.calls.svc"
    assert upstreams["s3"]["host"] == "object-store.calls.svc"


def test_a_store_of_somebody_else_s_is_not_behind_the_edge(make_config: ConfigMaker) -> None:
    external = {
        "kind": "external",
        "external": {"endpoint": "https://s3.example.com", "secret_name": "keys"},
    }
    config = make_config(object_store=external)
    assert "s3" not in edge.chart_values(config)["upstreams"]
    assert set(edge.ingress_hosts(config)) == {"edge-domain", "edge-sfu", "edge-api"}


def test_an_ingress_leads_to_nothing_of_token_api_but_its_api(make_config: ConfigMaker) -> None:
    """Its metrics and probes are not for everybody."""
    hosts = edge.ingress_hosts(make_config(edge={"kind": "ingress"}))
    paths = {route.path for host in hosts.values() for route in host.routes if route.service == "token-api"}
    assert paths == {"/v1"}


def test_sfus_and_turn_servers_are_reached_inside_the_cluster(make_config: ConfigMaker) -> None:
    values = edge.chart_values(make_config(nodes=TRANSLATED, network={"dns_cidrs": ["169.254.20.10/32"]}))
    inside = ["10.0.0.1", "192.0.2.2"]
    assert values["upstreams"]["sfu"]["addresses"] == inside
    assert values["upstreams"]["turn"]["addresses"] == inside
    assert values["networkPolicy"]["dnsCidrs"] == ["169.254.20.10/32"]


@pytest.mark.parametrize(
    ("changes", "opened"),
    [
        ({"kind": "ingress", "tls": BY_ISSUER}, True),
        # It has port 80 itself, and the issuer another way.
        ({"kind": "haproxy", "tls": BY_ISSUER}, False),
        ({"kind": "ingress", "tls": GIVEN}, False),
    ],
    ids=["ingress", "haproxy", "given"],
)
def test_the_pods_that_solve_a_challenge_by_http_are_reached(
    kubeconfig: Path, changes: dict[str, Any], opened: bool
) -> None:
    deployment = deployed(kubeconfig, edge=changes)
    policies = {policy.name: policy for policy in deployment.of_type(POLICY)}
    assert ("acme-solver" in policies) is opened
    if opened:
        assert policies["acme-solver"].inputs["spec"] == {
            "podSelector": {"matchLabels": {"acme.cert-manager.io/http01-solver": "true"}},
            "policyTypes": ["Ingress"],
            "ingress": [{"ports": [{"port": 8089, "protocol": "TCP"}]}],
        }
        [certificate] = deployment.of_type(CERTIFICATE)
        assert any(urn.endswith("::acme-solver") for urn in certificate.dependencies)


def test_the_certificate_is_for_every_name(make_config: ConfigMaker) -> None:
    assert edge.certificate_names(make_config(domain="example.org")) == [
        *("example.org", "sfu.example.org", "turn.example.org", "api.example.org", "s3.example.org")
    ]


def deployed(kubeconfig: Path, **changes: Any) -> Deployment:
    return run({**minimal_config(kubeconfig), "domain": "example.org", **changes})


def test_our_own_authority_signs_what_the_secret_holds(kubeconfig: Path) -> None:
    deployment = deployed(kubeconfig)
    [secret] = [made for made in deployment.of_type(SECRET) if made.name == "edge-tls"]
    assert secret.inputs["type"] == "kubernetes.io/tls"
    assert rpc.is_rpc_secret(secret.inputs["data"])
    data = {key: base64.b64decode(text) for key, text in rpc.unwrap_rpc_secret(secret.inputs["data"]).items()}
    assert set(data) == {"tls.crt", "tls.key", "ca.crt"}
    authority, leaf = (x509.load_pem_x509_certificate(data[key]) for key in ("ca.crt", "tls.crt"))
    leaf.verify_directly_issued_by(authority)
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == [
        *("example.org", "sfu.example.org", "turn.example.org", "api.example.org", "s3.example.org")
    ]
    assert deployment.outputs["ca_certificate"].encode() == data["ca.crt"]


def test_the_authority_s_key_is_nowhere_in_the_cluster(kubeconfig: Path) -> None:
    """The authority's key is not in the state, either; it is only in the configuration."""
    key = "".join(certificates("example.org")["ca_private_key"].splitlines()[1:-1])
    for resource in deployed(kubeconfig).resources.values():
        data = rpc.unwrap_rpc_secret(resource.inputs.get("data"))
        texts = [base64.b64decode(text).decode() for text in (data or {}).values()]
        assert key not in f"{resource.inputs}{texts}".replace("\\n", "").replace("\n", "")


def test_cert_manager_is_asked_for_every_name(kubeconfig: Path) -> None:
    deployment = deployed(kubeconfig, edge={"tls": BY_ISSUER})
    [certificate] = deployment.of_type(CERTIFICATE)
    spec = certificate.inputs["spec"]
    assert spec["secretName"] == "edge-tls"
    assert spec["issuerRef"] == {"group": "cert-manager.io", "kind": "ClusterIssuer", "name": "letsencrypt"}
    assert len(spec["dnsNames"]) == 5
    assert deployment.outputs["ca_certificate"] == ""
    assert deployment.chart("edge").inputs["values"]["tlsSecretName"] == "edge-tls"


def test_a_given_secret_is_used_and_nothing_made(kubeconfig: Path) -> None:
    deployment = deployed(kubeconfig, edge={"tls": GIVEN})
    assert deployment.chart("edge").inputs["values"]["tlsSecretName"] == "wildcard"
    assert not deployment.of_type(CERTIFICATE)
    assert "edge-tls" not in {secret.name for secret in deployment.of_type(SECRET)}
    assert deployment.outputs["ca_certificate"] == ""


def test_the_edge_comes_after_what_it_looks_up(kubeconfig: Path) -> None:
    deployment = deployed(kubeconfig)
    chart = deployment.chart("edge")
    [component] = [urn for urn in deployment.resources if urn == chart.parent]
    behind = {urn.rpartition("::")[2] for urn in deployment.resources[component].dependencies}
    assert {"edge-tls", "livekit-server", "token-api", "object-store"} <= behind


def test_with_an_ingress_controller_there_is_no_haproxy(kubeconfig: Path) -> None:
    deployment = deployed(
        kubeconfig,
        edge={
            "kind": "ingress",
            "ingress_class": "nginx",
            "ingress_annotations": {"example.org/timeout": "3600"},
            "tls": GIVEN,
        },
    )
    assert "edge" not in {chart.name for chart in deployment.resources.values() if "Chart" in chart.type}
    ingresses = {
        ingress.inputs["metadata"]["name"]: ingress.inputs for ingress in deployment.of_type(INGRESS)
    }
    assert set(ingresses) == {"edge-domain", "edge-sfu", "edge-api", "edge-s3"}
    for ingress in ingresses.values():
        assert ingress["metadata"]["annotations"]["example.org/timeout"] == "3600"
        assert ingress["spec"]["ingressClassName"] == "nginx"
        [tls] = ingress["spec"]["tls"]
        [rule] = ingress["spec"]["rules"]
        assert tls == {"hosts": [rule["host"]], "secretName": "wildcard"}
    paths = ingresses["edge-domain"]["spec"]["rules"][0]["http"]["paths"]
    assert [(path["path"], path["backend"]["service"]["name"]) for path in paths] == [
        ("/rtc", "livekit-server"),
        ("/twirp", "livekit-server"),
        ("/v1", "token-api"),
    ]


@pytest.mark.parametrize(
    ("service", "path"), [("livekit-server", "/"), ("token-api", "/v1"), ("object-store", "/")]
)
def test_each_part_has_an_ingress_of_its_own(make_config: ConfigMaker, service: str, path: str) -> None:
    hosts = edge.ingress_hosts(make_config(edge={"kind": "ingress"}))
    alone = [host.routes for host in hosts.values() if len(host.routes) == 1]
    assert (path, service) in {(route.path, route.service) for routes in alone for route in routes}
