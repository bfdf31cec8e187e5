"""Every overlay is valid Kubernetes, and its pods are safe, drain, and can be scaled."""

import copy
import re
from ipaddress import ip_address, ip_network

import jsonschema
import kubernetes_validate
import pytest
import yaml

from holdfast_edge.settings import EdgeSettings
from holdfast_inventory.settings import InventorySettings
from tests.deploy.render import OVERLAYS, REPOSITORY, SERVICES, configuration, of_kind, pods, rendered, resource

DEPLOYED = [name for name in OVERLAYS if name in ("dev", "staging", "production")]
# Connections that are no inventory's, and not constant: migrations, a backup, a person, the operator's own.
OTHER_CONNECTIONS = 20


def definitions():
    """Return the schemas of custom resources, by API version and kind."""
    found = {}
    for path in (REPOSITORY / ".tools/crds").glob("*.yaml"):
        definition = yaml.safe_load(path.read_text())["spec"]
        for version in definition["versions"]:
            key = (f"{definition['group']}/{version['name']}", definition["names"]["kind"])
            found[key] = closed(version["schema"]["openAPIV3Schema"])
    return found


def closed(schema):
    """Return the schema, changed to refuse unknown fields, which the API server would drop."""
    schema = copy.deepcopy(schema)
    schema["properties"]["metadata"] = {"type": "object"}

    def close(node):
        if isinstance(node, dict):
            preserves = node.get("x-kubernetes-preserve-unknown-fields") or "additionalProperties" in node
            if node.get("type") == "object" and "properties" in node and not preserves:
                node["additionalProperties"] = False
            for each in node.values():
                close(each)
        elif isinstance(node, list):
            for each in node:
                close(each)

    close(schema)
    return schema


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_resource_is_valid(overlay):
    custom = definitions()
    for each in rendered(overlay):
        schema = custom.get((each["apiVersion"], each["kind"]))
        if schema is not None:
            jsonschema.validate(each, schema)
        else:
            kubernetes_validate.validate(each, kubernetes_validate.latest_version(), strict=True)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_pod_satisfies_the_restricted_standard(overlay):
    for name, pod in pods(overlay).items():
        assert pod["automountServiceAccountToken"] is False, name
        assert pod["securityContext"]["runAsNonRoot"] is True, name
        assert pod["securityContext"]["seccompProfile"]["type"] == "RuntimeDefault", name
        for container in pod["containers"]:
            context = container["securityContext"]
            assert context["allowPrivilegeEscalation"] is False, name
            assert context["readOnlyRootFilesystem"] is True, name
            assert context["capabilities"]["drop"] == ["ALL"], name
            assert container["resources"]["limits"]["memory"] == container["resources"]["requests"]["memory"], name


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_no_pod_gets_variables_from_service_links(overlay):
    assert {name: pod["enableServiceLinks"] for name, pod in pods(overlay).items()} == dict.fromkeys(
        pods(overlay), False
    )


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_a_rollout_never_has_fewer_replicas_than_before(overlay):
    for service in SERVICES:
        strategy = resource(overlay, "Deployment", service)["spec"]["strategy"]
        assert strategy == {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_liveness_asks_for_nothing_but_life(overlay):
    def asked(probe):
        if "grpc" in probe:
            return probe["grpc"]["service"]
        if "exec" in probe:
            return probe["exec"]["command"][-1].removeprefix("-service=")
        return probe["httpGet"]["path"]

    for service in SERVICES:
        container = pods(overlay)[f"Deployment {service}"]["containers"][0]
        assert asked(container["livenessProbe"]) in {"liveness", "/health/live"}
        assert asked(container["readinessProbe"]) not in {"liveness", "/health/live"}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_startup_is_waited_for_longer_than_database_and_migrations_are(overlay):
    probe = pods(overlay)["Deployment inventory"]["containers"][0]["startupProbe"]
    wait = InventorySettings.model_fields["database_wait_seconds"].default
    assert probe["periodSeconds"] * probe["failureThreshold"] > 2 * wait


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_selector_finds_its_pods(overlay):
    labels = [each["spec"]["template"]["metadata"]["labels"] for each in of_kind(overlay, "Deployment", "StatefulSet")]
    selectors = [each["spec"]["selector"] for each in of_kind(overlay, "Service")]
    selectors += [each["spec"]["selector"]["matchLabels"] for each in of_kind(overlay, "PodDisruptionBudget")]
    for selector in selectors:
        assert any(selector.items() <= each.items() for each in labels), selector


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_clients_get_every_replicas_own_address(overlay):
    variables = configuration(overlay)
    targets = [variables["HOLDFAST_INVENTORY_TARGET"].removeprefix("dns:///")]
    targets += [variables["HOLDFAST_EDGE_GATEWAYS"], variables["HOLDFAST_EDGE_INVENTORIES"]]
    for target in targets:
        host, port = target.split(":")
        service = resource(overlay, "Service", host)["spec"]
        assert service["clusterIP"] == "None"
        assert int(port) in [each["port"] for each in service["ports"]]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_namespaced_resource_is_in_one_namespace(overlay):
    cluster_wide = ("Namespace", "PriorityClass")
    namespaces = {each["metadata"].get("namespace") for each in rendered(overlay) if each["kind"] not in cluster_wide}
    assert namespaces == {resource(overlay, "Namespace", next(iter(namespaces)))["metadata"]["name"]}


def test_all_replicas_together_have_no_more_connections_than_postgresql_grants():
    writers, readers = (InventorySettings.model_fields[f"database_{each}"].default for each in ("writers", "readers"))
    replicas = resource("cloudnative-pg", "HorizontalPodAutoscaler", "inventory")["spec"]["maxReplicas"]
    surge = 1
    cluster = resource("cloudnative-pg", "Cluster", "holdfast-postgres")["spec"]
    granted = int(cluster["postgresql"]["parameters"]["max_connections"])
    assert (replicas + surge) * (writers + readers) + OTHER_CONNECTIONS <= granted


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_nothing_may_talk_to_anything_but_for_what_is_listed(overlay):
    deny = resource(overlay, "NetworkPolicy", "default-deny")["spec"]
    assert deny == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_images_have_no_host_and_are_pinned_or_are_ours(overlay):
    for name, pod in pods(overlay).items():
        for container in pod["containers"]:
            image = container["image"]
            ours = image.startswith("holdfast-")
            pinned = re.fullmatch(r"[a-z]+(/[a-z]+)?:[0-9][0-9.]*(-[a-z]+)?", image)
            assert ours or pinned, f"{name}: {image}"


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_public_routes_lead_to_the_shoppers_port_only(overlay):
    ports = {each["port"]: each for each in resource(overlay, "Service", "edge")["spec"]["ports"]}
    ports |= {each["name"]: each for each in ports.values()}
    routes = [backend["port"] for each in of_kind(overlay, "HTTPRoute", "GRPCRoute") for backend in _backends(each)]
    for ingress in of_kind(overlay, "Ingress"):
        for rule in ingress["spec"]["rules"]:
            routes += [path["backend"]["service"]["port"]["name"] for path in rule["http"]["paths"]]
    assert {ports[route]["targetPort"] for route in routes} <= {"shoppers"}


def _backends(route):
    return [backend for rule in route["spec"]["rules"] for backend in rule["backendRefs"]]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_anybody_reaches_the_shoppers_port_of_the_edge_only(overlay):
    container = pods(overlay)["Deployment edge"]["containers"][0]
    by_name = {each["name"]: each["containerPort"] for each in container["ports"]}
    assert by_name["shoppers"] == EdgeSettings.model_fields["edge_shoppers_port"].default
    rules = resource(overlay, "NetworkPolicy", "edge")["spec"]["ingress"]
    assert [port["port"] for rule in rules if "from" not in rule for port in rule["ports"]] == ["shoppers"]


def targets(overlay):
    """Return the addresses that clients use there, by the services' names."""
    variables = configuration(overlay)
    found = [variables["HOLDFAST_INVENTORY_TARGET"].removeprefix("dns:///")]
    return {*found, variables["HOLDFAST_EDGE_GATEWAYS"], variables["HOLDFAST_EDGE_INVENTORIES"]}


def served(overlay):
    """Return the addresses that are served there: a port of a service that is a port of its pods."""
    found = set()
    for name in ("inventory-headless", "gateway-headless"):
        container = pods(overlay)[f"Deployment {name.removesuffix('-headless')}"]["containers"][0]
        ports = {each["name"]: each["containerPort"] for each in container["ports"]}
        for each in resource(overlay, "Service", name)["spec"]["ports"]:
            assert ports[each["targetPort"]] == each["port"]
            found.add(f"{name}:{each['port']}")
    return found


def test_every_client_is_served_while_tls_is_turned_on():
    """Clients of the former rollout and of the next one are served by this one."""
    former, transition, final = "production", "workload-tls-transition", "workload-tls"
    assert targets(transition) == targets(final) == served(final)
    assert targets(former) | targets(final) == served(transition)


def allowed_ports(overlay, name, direction):
    rules = resource(overlay, "NetworkPolicy", name)["spec"][direction]
    return {port["port"] for rule in rules for port in rule["ports"]}


def test_the_network_lets_through_what_the_transition_serves():
    overlay = "workload-tls-transition"
    assert allowed_ports(overlay, "inventory", "ingress") == {"grpc", "grpc-plain"}
    assert allowed_ports(overlay, "gateway", "ingress") == {"http", "http-plain"}
    assert allowed_ports(overlay, "gateway", "egress") == {50051, 50052}
    assert allowed_ports(overlay, "edge", "egress") == {8080, 8443, 50051, 50052}


def volumes_of(overlay, service):
    return {each["name"]: each for each in pods(overlay)[f"Deployment {service}"]["volumes"]}


@pytest.mark.parametrize("overlay", ["workload-tls", "workload-tls-transition"])
def test_each_workload_has_its_certificate_and_gateways_accept_edges_only(overlay):
    certificates = {each["metadata"]["name"]: each["spec"] for each in of_kind(overlay, "Certificate")}
    names = {
        "inventory": EdgeSettings().edge_inventory_tls_name,
        "gateway": EdgeSettings().edge_gateway_tls_name,
        "edge": "edge",
    }
    for service, name in names.items():
        assert certificates[service]["dnsNames"] == [name]
        own = volumes_of(overlay, service)["certificate"]["secret"]["secretName"]
        assert own == certificates[service]["secretName"]
    for_edges = volumes_of(overlay, "gateway")["certificate-for-edges"]["projected"]["sources"]
    trusted = [each["secret"]["name"] for each in for_edges if each["secret"]["items"][-1]["path"] == "ca.crt"]
    assert trusted == [certificates["edges-authority"]["secretName"]]
    of_edges = [name for name, each in certificates.items() if each["issuerRef"]["name"] == "edges"]
    assert of_edges == ["edge"]


def test_inventories_that_send_webhooks_reach_public_addresses_and_no_private_ones():
    assert configuration("webhooks")["HOLDFAST_WEBHOOKS"] == "true"
    policy = resource("webhooks", "NetworkPolicy", "webhooks")["spec"]
    [rule] = policy["egress"]
    blocks = [each["ipBlock"] for each in rule["to"]]

    def reaches(address):
        address = ip_address(address)
        return any(
            address in ip_network(block["cidr"])
            and not any(address in ip_network(private) for private in block.get("except", ()))
            for block in blocks
        )

    assert policy["podSelector"]["matchLabels"] == {"app.kubernetes.io/component": "inventory"}
    assert all(map(reaches, ("8.8.8.8", "2606:2800:21f::1")))
    assert not any(map(reaches, ("10.1.2.3", "127.0.0.1", "169.254.169.254", "192.168.0.1", "fd00::1", "fe80::1")))
