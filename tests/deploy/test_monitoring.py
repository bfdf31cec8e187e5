"""Alerts, their tests and the dashboard use metrics that exist, with labels that they have."""

import json
import re
import urllib.request

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from tests.deploy.render import REPOSITORY

MONITORING = REPOSITORY / "monitoring"
ALERTS = yaml.safe_load((MONITORING / "holdfast.rules.yaml").read_text())
DASHBOARD = json.loads((MONITORING / "grafana/holdfast.json").read_text())
# Prometheus itself creates these.
OF_PROMETHEUS = {"up"}
LABELS_OF_PROMETHEUS = {"instance", "job"}
METRIC = re.compile(r"\b(?:holdfast|grpc|http|process|envoy)_[a-z0-9_]+\b(?!\")|\bup\b")
SELECTOR = re.compile(r"\b([a-z_]+)\{([^}]*)\}")


def expressions():
    for group in ALERTS["groups"]:
        for rule in group["rules"]:
            yield rule["alert"], rule["expr"]
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", []):
            yield panel["title"], target["expr"].replace("$__rate_interval", "1m")


def unlabelled(expression):
    """Without labels, whose names look like metrics: `by (grpc_method)`, `{grpc_type="unary"}`."""
    return re.sub(r"\b(?:by|on|ignoring|without) \([^)]*\)|\{[^}]*\}", "", expression)


@pytest.fixture(scope="module")
def scraped(stack):
    """The labels of each metric that the services and the edge serve; those that nothing has happened to have none."""
    labels = {}
    for url in stack.metrics.values():
        with urllib.request.urlopen(url, timeout=10) as answer:
            for family in text_string_to_metric_families(answer.read().decode()):
                suffixes = {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"]}.get(family.type, [""])
                for suffix in suffixes:
                    labels.setdefault(family.name + suffix, set())
                    # Envoy's counters have no suffix.
                    labels.setdefault(family.name, set())
                for sample in family.samples:
                    labels.setdefault(sample.name, set()).update(sample.labels)
    return labels


@pytest.fixture(scope="module", autouse=True)
def _traffic(stack):
    """One call of each kind, so that its metrics have labels."""
    request = urllib.request.Request(
        f"http://{stack.edge}/v1/sales?sale_id=measured",
        data=b'{"holdTime": "60s", "items": [{"item": "unit", "onHand": 1}]}',
        headers={"Content-Type": "application/json"},
    )
    urllib.request.urlopen(request, timeout=10).close()
    urllib.request.urlopen(f"http://{stack.edge}/v1/sales/measured", timeout=10).close()


@pytest.mark.parametrize(("title", "expression"), list(expressions()))
def test_every_metric_exists(title, expression, scraped):
    wanted = set(METRIC.findall(unlabelled(expression)))
    assert wanted, f"{title} names no metric"
    assert wanted <= scraped.keys() | OF_PROMETHEUS


@pytest.mark.parametrize(("title", "expression"), list(expressions()))
def test_every_label_that_is_asked_for_exists(title, expression, scraped):
    for metric, selector in SELECTOR.findall(expression):
        asked = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", selector)) - LABELS_OF_PROMETHEUS
        if scraped.get(metric):
            assert asked <= scraped[metric], title


def test_every_alert_has_a_test_in_which_it_fires():
    tests = yaml.safe_load((MONITORING / "holdfast.rules_test.yaml").read_text())["tests"]
    fired = {check["alertname"] for test in tests for check in test["alert_rule_test"] if check.get("exp_alerts")}
    assert fired == {rule["alert"] for group in ALERTS["groups"] for rule in group["rules"]}


def test_prometheus_scrapes_the_ports_that_the_services_have():
    configuration = yaml.safe_load((MONITORING / "prometheus.yml").read_text())
    ports = {job["job_name"]: job["dns_sd_configs"][0]["port"] for job in configuration["scrape_configs"]}
    assert ports == {"inventory": 9100, "gateway": 9101, "edge": 9102}


def test_panels_do_not_overlap():
    taken = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells
