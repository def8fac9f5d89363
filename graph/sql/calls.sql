-- One row per remote interaction, seen from both sides where both were recorded.
with server_sides as (
    select v.*, p.kind as effective_parent_kind, p.pod as caller_pod, p.parent_operation as caller_operation,
           p.status as parent_status
    from visits v left join visits p on v.trace_id = p.trace_id and v.parent_span_id = p.span_id
    -- A foreign parent makes a server side whatever the kind says; a client span of its own service does not.
    where v.kind in (2, 5) or (v.has_parent and v.service is distinct from v.parent_service)
),
with_server as (
    select trace_id, case when effective_parent_kind in (3, 4) then parent_span_id end as client_span_id,
           span_id as server_span_id,
           case when has_parent then parent_service else 'external' end as caller, service as callee,
           'service' as callee_kind,
           case when effective_parent_kind in (3, 4) then parent_operation end as client_operation, operation,
           caller_pod, pod as callee_pod,
           case when effective_parent_kind in (3, 4) then parent_start_ns else start_ns end as start_ns,
           case when effective_parent_kind in (3, 4) then parent_start_ns end as client_start_ns,
           case when effective_parent_kind in (3, 4) then parent_duration_ns end as client_duration_ns,
           start_ns as server_start_ns, duration_ns as server_duration_ns,
           case when effective_parent_kind in (3, 4) then parent_status end as client_status,
           status as server_status, adjusted_milli,
           case when not has_parent then 'server-only'
                when effective_parent_kind in (3, 4) then 'pair'
                else 'no-client-span' end as matched
    from server_sides
),
without_server as (
    select trace_id, span_id as client_span_id, null as server_span_id, service as caller, peer as callee,
           case when db_system in ('redis', 'memcached') then 'cache'
                when db_system is not null then 'database'
                when messaging_system is not null then 'messaging'
                else 'external' end as callee_kind,
           operation as client_operation, operation, pod as caller_pod, null as callee_pod,
           start_ns, start_ns as client_start_ns, duration_ns as client_duration_ns,
           null as server_start_ns, null as server_duration_ns,
           status as client_status, null as server_status, adjusted_milli, 'client-only' as matched
    from visits
    where kind in (3, 4) and not has_server_child and peer is not null
      and not (has_parent and service is distinct from parent_service)
)
select *, coalesce(client_status = 2, false) as client_error, coalesce(server_status = 2, false) as server_error,
       case when caller = 'external' then 'external' else 'service' end as caller_kind, cast(null as bigint) as queue_ns
from (select * from with_server union all by name select * from without_server)
order by trace_id, start_ns, client_span_id, server_span_id
