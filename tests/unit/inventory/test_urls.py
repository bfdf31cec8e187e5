"""DATABASE_URL and REDIS_URL: what is accepted; refusals name the broken rule and never contain the URL."""

import re

import pytest
from redis.asyncio import Redis

from holdfast_chassis.redis_url import parse_redis_url
from holdfast_inventory.postgres.database_url import KeepAlive, parse_database_url
from tests.support.certificates import write_certificate

SECRET = "s3cr3t"
ESCAPED = "%40"


def refusal(parse, url):
    with pytest.raises(ValueError) as refused:  # noqa: PT011 -- the rule is what is looked at
        parse(url)
    assert SECRET not in str(refused.value)
    assert refused.value.__cause__ is None
    return str(refused.value)


# DATABASE_URL


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://shop:p%40ss%2Fw%23rd@db:5432/shop",
        "postgres://shop@db",
        "postgresql://shop:pass@[::1]:5432/shop",
        "postgresql://shop:pass@one:5432,two:5433/shop?target_session_attrs=read-write",
        "postgresql://shop:pass@db/shop?sslmode=verify-full&ssl_min_protocol_version=TLSv1.3",
        "postgresql:///shop?host=%2Frun%2Fpostgresql&user=shop&password=a%2Bb",
        "postgresql://shop:pa:ss@db/shop",
    ],
)
def test_what_the_driver_sees_to_is_left_to_it(url):
    assert parse_database_url(url).dsn.replace("postgres://", "postgresql://") == url.replace(
        "postgres:", "postgresql:"
    )


def test_a_plus_is_a_plus_as_libpq_has_it():
    assert parse_database_url("postgresql://db/shop?password=a+b").dsn.endswith("?password=a%2Bb")


def test_what_libpq_takes_and_the_driver_does_not_is_taken():
    url = parse_database_url(
        "postgresql://shop:pass@db/shop?connect_timeout=7&application_name=till&gssencmode=disable&sslmode=require"
        "&channel_binding=prefer&keepalives=1&keepalives_idle=30&keepalives_count=5&tcp_user_timeout=9000&sslsni="
        "&options=-csearch_path%3Dshop%20-c%20work_mem=64MB%20--enable-sort=off%20-cmy.note=a%5C%20b"
    )
    assert url.dsn == "postgresql://shop:pass@db/shop?sslmode=require"
    assert (url.connect_seconds, url.application_name, url.schema) == (7, "till", "shop")
    assert url.keep_alive == KeepAlive(30, 3, 5, 9000)
    assert url.options == {"work_mem": "64MB", "enable_sort": "off", "my.note": "a b"}


def test_without_parameters_it_is_as_ever():
    url = parse_database_url("postgresql://shop:pass@db/shop")
    assert (url.connect_seconds, url.application_name, url.schema, url.options) == (None, None, "public", {})
    assert url.keep_alive == KeepAlive(10, 3, 3, None)


def test_keepalives_can_be_done_without():
    assert parse_database_url("postgresql://db/shop?keepalives=0").keep_alive is None


@pytest.mark.parametrize(
    ("url", "rule"),
    [
        (f"postgresql://shop:a#{SECRET}@db/shop", ESCAPED),
        (f"postgresql://shop:a/{SECRET}@db/shop", ESCAPED),
        (f"postgresql://shop:a?{SECRET}@db/shop", ESCAPED),
        (f"postgresql://shop:a@{SECRET}@db/shop", ESCAPED),
        (f"postgresql://shop:a%{SECRET}%@db/shop", ESCAPED),
        (f"postgresql://shop:[{SECRET}@db/shop", ESCAPED),
        (f"postgresql://shop:a {SECRET}@db/shop", ESCAPED),
        (f"postgresql://shop:a\n{SECRET}@db/shop", ESCAPED),
        (f"postgresql://shop:{SECRET}@d\u2100b/shop", ESCAPED),
        (f"'postgresql://shop:{SECRET}@db/shop'", "quotes"),
        (f'"postgresql://shop:{SECRET}@db/shop"', "quotes"),
        (f"\ufeffpostgresql://shop:{SECRET}@db/shop", "must be a URL like postgresql://"),
        (f"postgresql+asyncpg://shop:{SECRET}@db/shop", "without . and what follows it"),
        (f"mysql://shop:{SECRET}@db/shop", "must be a URL like postgresql://"),
        (f"jdbc:postgresql://db/shop?user=shop&password={SECRET}", "without jdbc:"),
        (f"host=db dbname=shop password={SECRET}", "must be a URL like postgresql://"),
        (SECRET, "must be a URL like postgresql://"),
        (f"postgresql://shop:{SECRET}@db:70000/shop", "port of 1 to 65535"),
        (f"postgresql://shop:{SECRET}@db:port/shop", "each host must be"),
        (f"postgresql://shop:{SECRET}@::1/shop", "in brackets"),
        (f"postgresql://shop:{SECRET}@db/shop?sslmode=requir", "sslmode: must be disable, .* or verify-full"),
        (f"postgresql://shop:{SECRET}@db/shop?sslmode=require&sslmode=disable", "parameter 2 is given a second time"),
        (f"postgresql://shop:{SECRET}@db/shop?channel_binding=require", "channel_binding: must be disable or prefer"),
        (f"postgresql://shop:{SECRET}@db/shop?gssencmode=require", "gssencmode: "),
        (f"postgresql://shop:{SECRET}@db/shop?requirepeer=postgres", "requirepeer: not supported"),
        (f"postgresql://shop:{SECRET}@db/shop?target_session_attrs=standby", "target_session_attrs: .*Holdfast writes"),
        (f"postgresql://shop:{SECRET}@db/shop?connect_timeout=soon", "connect_timeout: must be 0 to 60 seconds"),
        (f"postgresql://shop:{SECRET}@db/shop?keepalives_idle=\u0661", "keepalives_idle: must be a whole number"),
        (f"postgresql://shop:{SECRET}@db/shop?ssl_mode=require", "parameter 1 is unknown.* did you mean sslmode"),
        (f"postgresql://shop:a@db/shop?password=b&{SECRET}=c", "parameter 2 is unknown"),
        (f"postgresql://shop:a@db/shop?{SECRET}", "parameter 1 has no value"),
        (f"postgresql://shop:{SECRET}@db/shop?ssl=true", "ssl: .*write sslmode=require"),
        (f"postgresql://shop:{SECRET}@db/shop?schema=shop", "schema: .*search_path"),
        (f"postgresql://shop:{SECRET}@db/shop?sslrootcert=/none", "sslrootcert: names no file"),
        (f"postgresql://shop:{SECRET}@db/shop?sslrootcert=system", "sslrootcert: must be a file"),
        (
            f"postgresql://shop:{SECRET}@db/shop?options=-cstatement_timeout%3D0",
            "statement_timeout: Holdfast sets that",
        ),
        (f"postgresql://shop:{SECRET}@db/shop?options=-csearch_path%3Da%2Cb", "search_path must be one schema"),
        (f"postgresql://shop:{SECRET}@db/shop?options=-d%205", "must be settings alone"),
    ],
)
def test_a_database_url_that_cannot_be_used_is_refused_by_its_rule(url, rule):
    assert re.search(rule, refusal(parse_database_url, url))


def test_all_faults_of_its_parameters_are_reported():
    told = refusal(parse_database_url, "postgresql://db/shop?sslmode=on&gssencmode=require&hostaddr=1")
    assert re.fullmatch("sslmode: .*; gssencmode: .*; hostaddr: not supported", told)


def test_tls_files_are_read(tmp_path):
    write_certificate(tmp_path)
    certificate, key = tmp_path / "tls.crt", tmp_path / "tls.key"
    good = f"postgresql://db/shop?sslcert={certificate}&sslkey={key}&sslrootcert={certificate}"
    assert parse_database_url(good).dsn
    (tmp_path / "empty").write_text("")
    assert "sslrootcert" in refusal(parse_database_url, f"postgresql://db/shop?sslrootcert={tmp_path / 'empty'}")
    assert "sslkey" in refusal(parse_database_url, f"postgresql://db/shop?sslcert={certificate}&sslkey={certificate}")


# REDIS_URL


@pytest.mark.parametrize(
    ("url", "taken"),
    [
        ("redis://cache", "redis://cache"),
        ("redis://:pass@cache:6379/3", "redis://:pass@cache:6379/3"),
        ("valkey://cache:6379/0", "redis://cache:6379/0"),
        ("valkeys://cache", "rediss://cache"),
        ("rediss://cache?ssl_cert_reqs=none", "rediss://cache?ssl_cert_reqs=none"),
        ("unix:///run/redis.sock?db=2", "unix:///run/redis.sock?db=2"),
        ("redis://sentinel-like.name/0?client_name=till", "redis://sentinel-like.name/0?client_name=till"),
    ],
)
def test_a_redis_url_is_taken_as_the_client_takes_it(url, taken):
    assert parse_redis_url(url) == taken
    assert Redis.from_url(taken).connection_pool.make_connection()


@pytest.mark.parametrize(
    ("url", "rule"),
    [
        (f"redis://:a#{SECRET}@cache:6379/0", ESCAPED),
        (f"redis://:a/{SECRET}@cache:6379/0", ESCAPED),
        (f"redis://:a@{SECRET}@cache", ESCAPED),
        (f"'redis://:{SECRET}@cache'", "quotes"),
        (f"http://:{SECRET}@cache", "must be a URL like redis://"),
        (f"cache:6379?{SECRET}", "must be a URL like redis://"),
        (f"redis+sentinel://:{SECRET}@a,b/main", "Sentinel and Cluster"),
        (f"rediss+sentinel://:{SECRET}@a", "Sentinel and Cluster"),
        (f"redis-sentinel://:{SECRET}@a", "Sentinel and Cluster"),
        (f"sentinel://:{SECRET}@a", "Sentinel and Cluster"),
        (f"redis+cluster://:{SECRET}@a", "Sentinel and Cluster"),
        (f"redis-cluster://:{SECRET}@a", "Sentinel and Cluster"),
        (f"valkey-sentinel://:{SECRET}@a", "Sentinel and Cluster"),
        (f"redis://:{SECRET}@a:1,b:2/0", "Sentinel and Cluster"),
        (f"redis://:{SECRET}@cache/main", "must be a number"),
        (f"redis://:{SECRET}@cache:x/0", "each host must be"),
        (f"unix://:{SECRET}@", "needs a path"),
        (f"redis://cache?{SECRET}=1", "parameter 1 is none of"),
        (f"redis://:{SECRET}@cache?socket_timeout=1", "parameter 1 is none of"),
        (f"redis://:{SECRET}@cache?ssl_cert_reqs=none", "ssl_cert_reqs: only with rediss"),
        (f"rediss://:{SECRET}@cache?ssl_cert_reqs=maybe", "ssl_cert_reqs: must be one of"),
        (f"rediss://:{SECRET}@cache?ssl_ca_certs=/none", "ssl_ca_certs: names no file"),
    ],
)
def test_a_redis_url_that_cannot_be_used_is_refused_by_its_rule(url, rule):
    assert re.search(rule, refusal(parse_redis_url, url))
