"""Which series of a Prometheus are worth pulling, told by their names; nobody has to list them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

# What the names of useful series begin with, by what they tell.
FAMILIES: Final[dict[str, str]] = {
    "calls": r"traces_service_graph_|istio_(requests|request_duration|tcp_)|envoy_cluster_upstream_rq(_|$)",
    "operations": r"traces_span_?metrics_|traces_span_metrics_|(span_metrics_)?calls(_total)?$"
    r"|duration_(milliseconds|seconds)(_|$)|latency(_|$)",
    "servers": r"http_(server|requests?|request_duration|client)_|grpc_(server|client)_|rpc_(server|client)_"
    r"|nginx_|haproxy_|traefik_service_|caddy_http_|apache_",
    "containers": r"container_(cpu_(usage|cfs|user|system)|memory_(working_set|usage|rss|cache|failcnt)|network_"
    r"|fs_(reads|writes|usage|limit)|oom_events|spec_|threads|sockets|file_descriptors|start_time)"
    r"|kubelet_(volume_stats|running|pleg|node_name|runtime_operations)",
    "platform": r"kube_(pod|deployment|replicaset|statefulset|daemonset|job|cronjob|node|service_info|endpoint"
    r"|endpointslice|ingress|persistentvolumeclaim|persistentvolume_status|storageclass|horizontalpodautoscaler|resourcequota"
    r"|configmap|secret_metadata|namespace_status)",
    "nodes": r"node_(cpu|load|memory_(Mem|Cached|Buffers|Swap)|vmstat_(oom|pg|psw)|disk|filesystem_(avail|size|free"
    r"|files)|network_(receive|transmit)|netstat_Tcp|nf_conntrack|sockstat_(TCP|sockets)|pressure|filefd|procs"
    r"|uname_info|boot_time|time_seconds)",
    "control plane": r"apiserver_(request(_|s_)|flowcontrol_rejected)|etcd_(server_(has_leader|leader|proposals|slow)"
    r"|disk_(wal|backend)|mvcc_db|network_peer|request_duration)|scheduler_(pending|schedule_attempts|scheduling_attempt)"
    r"|workqueue_depth|coredns_(dns_requests|dns_responses|dns_request_duration)",
    "databases": r"(redis|pg|postgres|mysql|mongodb|memcached|elasticsearch|cassandra|oracledb|clickhouse)_",
    "brokers": r"(rabbitmq|kafka|nats|pulsar|activemq)_",
    "processes": r"process_(cpu|resident|open_fds|max_fds|start_time|virtual_memory|network|runtime)"
    r"|jvm_(memory|gc|threads|buffer)|go_(goroutines|memstats_(alloc_bytes$|heap)|gc_duration|threads)"
    r"|nodejs_(eventloop|heap|active)|python_gc|dotnet_|hikaricp_|db_client_|(thread|connection)_?pool_"
    r"|queue_|system_(cpu|memory|disk|network|filesystem)|k8s_|target_info$",
    "scrapes": r"(up|probe_success|probe_duration_seconds|ALERTS)$",
}
# What would swell the store and tells nothing: constants, a series per task state, sizes of objects of the API.
_USELESS: Final = re.compile(
    r"container_(tasks_state|memory_failures)|kube_\w+_(labels|annotations|created)$|kube_pod_tolerations"
    r"|(pg|mysql|redis)_\w*(exporter|scrape)_|pg_settings_|pg_stat_user_indexes_|mysql_global_variables_"
    r"|mongodb_\w*(histogram|oplog_stats)|apiserver_request_(body|sli|slo|total_aborted)|node_cpu_guest|\w+_created$"
)
_USEFUL: Final = re.compile("|".join(f"(?:{pattern})" for pattern in FAMILIES.values()))
_SUFFIX: Final = re.compile(r"_(?:bucket|sum|count)$")
# Parts of one family must come in one answer; an expression this long is still taken by every server in a GET.
_NAME_BYTES: Final = 3_000


def useful(names: Iterable[str]) -> list[str]:
    """Return the names that tell of calls, resources, the platform, databases or brokers, sorted.

    >>> useful(["container_cpu_usage_seconds_total", "prometheus_tsdb_head_chunks", "kube_pod_labels", "up"])
    ['container_cpu_usage_seconds_total', 'up']
    """
    return sorted(name for name in set(names) if _USEFUL.match(name) and not _USELESS.match(name))


def selectors(names: Iterable[str], series: Mapping[str, int], at_most: int) -> list[str]:
    """Return selectors that cover ``names``, each of about ``at_most`` series; parts of a family stay together.

    >>> selectors(["up", "rt_sum", "rt_bucket"], {"rt_bucket": 9, "up": 1}, 10)
    ['{__name__=~"rt_bucket|rt_sum"}', '{__name__="up"}']
    """
    families: dict[str, list[str]] = {}
    for name in sorted(set(names)):
        families.setdefault(_SUFFIX.sub("", name), []).append(name)
    groups: list[list[str]] = []
    held = at_most + 1
    for members in families.values():
        count = sum(max(series.get(name, 1), 1) for name in members)
        if held + count > at_most or sum(map(len, groups[-1])) > _NAME_BYTES:
            groups.append([])
            held = 0
        groups[-1] += members
        held += count
    return [_selector(group) for group in groups]


def _selector(names: list[str]) -> str:
    if len(names) == 1:
        return f'{{__name__="{names[0]}"}}'
    return f'{{__name__=~"{"|".join(names)}"}}'
