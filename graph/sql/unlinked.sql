-- Every span that is no side of a call, under the reason; with the calls' sides it sums to the input.
select trace_id, span_id, service, start_ns,
       case when kind in (3, 4) and not has_server_child then 'client-without-peer' else 'in-process' end as reason
from visits
where not (kind in (2, 5) or (has_parent and service is distinct from parent_service))
  and not (kind in (3, 4) and (has_server_child or peer is not null))
union all
select trace_id, span_id, service, start_ns, 'duplicate' as reason
from (select trace_id, span_id, service, start_ns,
             row_number() over (partition by trace_id, span_id order by start_ns, duration_ns, service, name) as copy
      from spans)
where copy > 1
order by trace_id, span_id, reason
