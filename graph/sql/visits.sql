-- One row per distinct span: whom it works for, its effective kind, and the time that is its own.
with distinct_spans as (
    -- Exports are retried: the earliest copy of (trace_id, span_id) stays.
    select * exclude (copy) from (
        select trace_id, span_id, parent_span_id, name as operation, kind, status, start_ns, duration_ns,
               start_ns + duration_ns as end_ns, service, service_namespace as namespace, pod, instance, node, adjusted_milli,
               coalesce(peer_service, peer_address, db_name, db_system, messaging_destination) as peer,
               db_system, messaging_system,
               row_number() over (
                   partition by trace_id, span_id order by start_ns, duration_ns, service, name) as copy
        from spans)
    where copy = 1
),
with_parent as (
    select s.*, p.span_id is not null as has_parent, p.service as parent_service, p.operation as parent_operation,
           p.start_ns as parent_start_ns, p.end_ns as parent_end_ns, p.kind as parent_kind
    from distinct_spans s left join distinct_spans p
      on s.trace_id = p.trace_id and s.parent_span_id = p.span_id and s.span_id <> p.span_id
),
child_intervals as (
    select trace_id, parent_span_id as span_id,
           greatest(start_ns, parent_start_ns) as start_ns, least(end_ns, parent_end_ns) as end_ns
    from with_parent where has_parent
),
uncovered_starts as (
    -- The union of intervals in one pass: what begins before the furthest end so far adds only its rest.
    select *, max(end_ns) over (
        partition by trace_id, span_id order by start_ns, end_ns
        rows between unbounded preceding and 1 preceding) as reached_ns
    from child_intervals
),
covered as (
    select trace_id, span_id,
           sum(greatest(0, end_ns - greatest(start_ns, coalesce(reached_ns, start_ns)))) as covered_ns
    from uncovered_starts group by trace_id, span_id
),
remote_parents as (
    select trace_id, parent_span_id as span_id,
           bool_or(service is distinct from parent_service) as has_remote_child,
           bool_or(kind in (2, 5) or service is distinct from parent_service) as has_server_child
    from with_parent where has_parent group by trace_id, parent_span_id
)
select v.trace_id, v.span_id, v.parent_span_id, v.service, v.namespace, v.pod, v.instance, v.node, v.operation, v.parent_operation, v.parent_service,
       -- Data without kinds: crossing into another service tells the server from the client.
       cast(case when v.kind <> 0 then v.kind
                 when not v.has_parent or v.service is distinct from v.parent_service then 2
                 when r.has_remote_child then 3
                 else 1 end as tinyint) as kind,
       v.kind as given_kind, v.parent_kind, v.status, v.status = 2 as is_error, v.start_ns, v.duration_ns,
       v.parent_start_ns, v.parent_end_ns - v.parent_start_ns as parent_duration_ns,
       cast(v.duration_ns - coalesce(c.covered_ns, 0) as bigint) as exclusive_ns,
       v.has_parent, not v.has_parent or v.service is distinct from v.parent_service as is_entry,
       coalesce(r.has_remote_child, false) as has_remote_child,
       coalesce(r.has_server_child, false) as has_server_child,
       v.adjusted_milli, v.peer, v.db_system, v.messaging_system
from with_parent v
left join covered c using (trace_id, span_id)
left join remote_parents r using (trace_id, span_id)
order by v.trace_id, v.start_ns, v.span_id
